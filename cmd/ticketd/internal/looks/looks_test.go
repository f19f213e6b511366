package looks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/web"
)

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// whole is a file with all texts.
func whole() string { return strings.Join(keys, ": Testo\n") + ": Testo\n" }

func TestOpen(t *testing.T) {
	t.Parallel()
	f, err := Open(folder(t, map[string]string{
		"texts/it.yaml":     whole(),
		"texts/it-CH.yaml":  "name: Nome {}",
		"logos/a b.svg":     "<svg/>",
		"logos/.hidden.txt": "x",
	}))
	require.ErrorContains(t, err, "it-CH.yaml: name has {}; what may stand in braces here: nothing")
	f, err = Open(folder(t, map[string]string{
		"texts/it.yaml":    whole(),
		"texts/it-CH.yaml": "confirmTitle: 'Continuare come {name}?'",
		"texts/de.yaml":    "confirmButton: Los",
		"logos/a b.svg":    "<svg/>",
	}))
	require.NoError(t, err)
	assert.Equal(t, "Continuare come {name}?", f.Texts["it-CH"].ConfirmTitle)
	assert.Equal(t, "Testo", f.Texts["it-CH"].ConfirmButton, "a variant has the texts of its language")
	german, _ := web.BuiltIn("de")
	german.ConfirmButton = "Los"
	assert.Equal(t, german, f.Texts["de"], "built-in texts are changed one by one")
	assert.Equal(t, map[string]string{"a b": "data:image/svg+xml;base64,PHN2Zy8+"}, f.Logos)
	assert.NoError(t, f.CheckLanguage("it"))
	assert.ErrorContains(t, f.CheckLanguage("ja"), "en, de, es, fr, he, it, it-CH")
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ file, text, want string }{
		"unknown key":  {"texts/it.yaml", whole() + "confrimText: x\n", `unknown key "confrimText"; did you mean confirmText?`},
		"missing key":  {"texts/it.yaml", strings.Replace(whole(), "laterText: Testo\n", "", 1), `the texts in "it" lack laterText`},
		"empty text":   {"texts/de.yaml", "name: ' '", "name is empty"},
		"two lines":    {"texts/de.yaml", `name: "a\nb"`, "name has a control character or a second line"},
		"long text":    {"texts/de.yaml", "name: " + strings.Repeat("x", maxText+1), "name has more than 1000 bytes"},
		"placeholder":  {"texts/de.yaml", "replaceText: '{nome}'", "{nome}; what may stand in braces here: {current}"},
		"unended":      {"texts/de.yaml", "confirmTitle: '{name'", "confirmTitle has {name;"},
		"no mapping":   {"texts/de.yaml", "- x", "cannot unmarshal"},
		"twice":        {"texts/de.yaml", "name: x\nname: y", "already defined"},
		"documents":    {"texts/de.yaml", "name: x\n---\nname: y", "has a second YAML document"},
		"no language":  {"texts/english.txt.yaml", "", "is not called after a language"},
		"another type": {"texts/it.json", "{}", "is no file of texts"},
		"large texts":  {"texts/it.yaml", strings.Repeat("#", maxTexts+1), "too large"},
		"large logo":   {"logos/a.png", strings.Repeat("x", maxLogo+1), "has more than 32 KiB"},
		"empty logo":   {"logos/a.png", "", "is empty"},
		"no image":     {"logos/a.html", "x", "is no image of a known kind"},
	} {
		_, err := Open(folder(t, map[string]string{row.file: row.text}))
		assert.ErrorContains(t, err, row.want, name)
	}
	_, err := Open(folder(t, map[string]string{"logos/a.png": "x", "logos/a.svg": "x"}))
	assert.ErrorContains(t, err, "second logo of the same brand")
	_, err = Open(folder(t, map[string]string{"texts/fr-CA.yaml": "name: x", "texts/fr-ca.yaml": "name: y"}))
	assert.ErrorContains(t, err, "fr-ca.yaml: is a second file for the language fr-CA")
	_, err = Open(folder(t, map[string]string{"texts/he.yaml": "name: x", "texts/iw.yaml": "name: y"}))
	assert.ErrorContains(t, err, "iw.yaml: is a second file for the language he")
	_, err = Open(filepath.Join(t.TempDir(), "missing"))
	assert.ErrorContains(t, err, "cannot be read")
	_, err = Open("")
	assert.NoError(t, err)
}

// The built-in texts have all that English has, and say each placeholder.
func TestBuiltInTexts(t *testing.T) {
	t.Parallel()
	english, _ := web.BuiltIn("en")
	for _, language := range []string{"de", "es", "fr", "he"} {
		t.Run(language, func(t *testing.T) {
			texts, ok := web.BuiltIn(language)
			require.True(t, ok)
			for _, key := range keys {
				text := field(&texts, key).String()
				assert.NotEmpty(t, text, key)
				want := placeholder.FindAllString(field(&english, key).String(), -1)
				assert.ElementsMatch(t, want, placeholder.FindAllString(text, -1), key)
			}
		})
	}
}

// FuzzTexts: a file of texts is refused with words, or each of its texts can be shown.
func FuzzTexts(f *testing.F) {
	for _, text := range []string{
		whole(), "confirmTitle: 'Continuare come {name}?'\n", "name: \"a\\nb\"\n", "- x\n", "name: x\n---\nname: y\n",
	} {
		f.Add(text)
	}
	f.Add("")
	path := filepath.Join(f.TempDir(), "it.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		folder := Folder{Texts: make(map[string]web.Texts)}
		if err := folder.addTexts(path, "it", ".yaml"); err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		texts := folder.Texts["it"]
		for _, key := range keys {
			if shown := field(&texts, key).String(); shown != "" {
				require.NoError(t, checkText(key, shown))
			}
		}
	})
}
