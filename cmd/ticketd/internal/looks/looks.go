// Package looks reads the folder with the texts and logos of the pages where people enter:
//
//	texts/it.yaml         texts in a language, by the BCP 47 tag in the file's name
//	logos/commbox.svg     logo of the brand in the file's name: .svg, .png, .webp or .jpg
//
// A file of texts is one YAML mapping. Its keys are the fields of web.Texts with a small first
// letter. A key that is unknown, or missing, is an error. A file may leave keys out if its
// language has built-in texts, or if it is a variant of a language with texts: pt-BR of pt.
//
// How pages choose a language belongs to package web.
package looks

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/spelling"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

const (
	maxTexts = 64 << 10 // bytes of a file of texts
	maxText  = 1000     // bytes of a text
	maxLogo  = 32 << 10 // bytes of a logo: each page has it
)

// A Folder has the texts and logos of a folder. The zero Folder has none.
type Folder struct {
	Texts map[string]web.Texts // by BCP 47 tag, as web.Config.Texts
	Logos map[string]string    // by brand, as web.Page.Logo
}

// Folders returns the folders of a folder of Open in which all its files are.
func Folders(dir string) []string {
	return []string{filepath.Join(dir, "texts"), filepath.Join(dir, "logos")}
}

// Open reads a folder; "" stands for an empty one. The error is a *token.ConfigError that names
// all mistakes in texts and logos.
func Open(dir string) (Folder, error) {
	f := Folder{Texts: make(map[string]web.Texts), Logos: make(map[string]string)}
	if dir == "" {
		return f, nil
	}
	if _, err := os.ReadDir(dir); err != nil {
		return f, mistake("cannot be read", err)
	}
	folders := Folders(dir)
	err := errors.Join(each(folders[0], f.addTexts), each(folders[1], f.addLogo))
	if err = errors.Join(err, f.complete()); err != nil {
		return Folder{}, mistake("has mistakes", err)
	}
	return f, nil
}

func mistake(reason string, cause error) error {
	return &token.ConfigError{Field: "service.Config.Pages", Reason: reason, Cause: cause}
}

// CheckLanguage returns an error if the pages have no texts in the language of a BCP 47 tag.
func (f Folder) CheckLanguage(tag string) error { return web.CheckLanguage(tag, f.Texts) }

// each calls add for the files of a folder, which may be missing.
func each(dir string, add func(path, name, ext string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // of Kubernetes' mounts, and of editors
			continue
		}
		path, ext := filepath.Join(dir, e.Name()), filepath.Ext(e.Name())
		err := add(path, strings.TrimSuffix(e.Name(), ext), ext)
		all := []error{err}
		if several, ok := err.(interface{ Unwrap() []error }); ok { // of errors.Join
			all = several.Unwrap()
		}
		for _, err := range all {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
			}
		}
	}
	return errors.Join(errs...)
}

// keys are the names of the texts in a file, in the order of web.Texts.
var keys = func() (names []string) {
	for f := range reflect.TypeFor[web.Texts]().Fields() {
		names = append(names, strings.ToLower(f.Name[:1])+f.Name[1:])
	}
	return names
}()

// field returns the text with a key.
func field(t *web.Texts, key string) reflect.Value {
	return reflect.ValueOf(t).Elem().Field(slices.Index(keys, key))
}

// placeholder matches the parts of a text that stand for something else.
var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

// addTexts reads a file of texts.
func (f *Folder) addTexts(path, name, ext string) error {
	if ext != ".yaml" {
		return errors.New("is no file of texts; name it like it.yaml")
	}
	tag, err := language.Parse(name)
	if err != nil || tag == language.Und {
		return errors.New("is not called after a language; name it as in BCP 47, like it.yaml or pt-BR.yaml")
	}
	data, _, err := durable.ReadFile(path, maxTexts)
	if err != nil {
		return err
	}
	if _, ok := f.Texts[tag.String()]; ok {
		return fmt.Errorf("is a second file for the language %s; leave one", tag)
	}
	texts := make(map[string]string)
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&texts); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("has a second YAML document; put all texts into the first"), err)
	}
	var t web.Texts
	var errs []error
	for key, text := range texts {
		if !slices.Contains(keys, key) {
			hint := ""
			if near := spelling.Nearest(key, keys); near != "" {
				hint = "; did you mean " + near + "?"
			}
			errs = append(errs, fmt.Errorf("unknown key %q%s", spelling.Printable(key), hint))
			continue
		}
		if err := checkText(key, text); err != nil {
			errs = append(errs, err)
		}
		field(&t, key).SetString(text)
	}
	f.Texts[tag.String()] = t
	return errors.Join(errs...)
}

// checkText refuses a text that a page could not show as it was meant.
func checkText(key, text string) error {
	english, _ := web.BuiltIn("en")
	known := placeholder.FindAllString(field(&english, key).String(), -1)
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("%s is empty", key)
	case len(text) > maxText:
		return fmt.Errorf("%s has more than %d bytes", key, maxText)
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) }):
		return fmt.Errorf("%s has a control character or a second line", key)
	}
	for _, found := range placeholder.FindAllString(text, -1) {
		if !slices.Contains(known, found) {
			return fmt.Errorf("%s has %s; what may stand in braces here: %s", key, spelling.Printable(found),
				cmp.Or(strings.Join(slices.Compact(known), ", "), "nothing"))
		}
	}
	return nil
}

// complete completes texts with those of the same language, and refuses texts that lack keys
// nevertheless.
func (f *Folder) complete() error {
	var errs []error
	for name, t := range f.Texts {
		base, _ := language.Make(name).Base()
		built, _ := web.BuiltIn(base.String())
		of := f.Texts[base.String()]
		var missing []string
		for _, key := range keys {
			for _, other := range []*web.Texts{&of, &built} {
				if field(&t, key).String() == "" {
					field(&t, key).SetString(field(other, key).String())
				}
			}
			if field(&t, key).String() == "" {
				missing = append(missing, key)
			}
		}
		f.Texts[name] = t
		if len(missing) > 0 {
			errs = append(errs, fmt.Errorf("the texts in %q lack %s", name, strings.Join(missing, ", ")))
		}
	}
	return errors.Join(errs...)
}

var imageTypes = map[string]string{
	".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg",
}

// addLogo reads a logo.
func (f *Folder) addLogo(path, brand, ext string) error {
	kind := imageTypes[ext]
	if kind == "" {
		return errors.New("is no image of a known kind; give .svg, .png, .webp or .jpg")
	}
	if f.Logos[brand] != "" {
		return errors.New("is a second logo of the same brand; leave one")
	}
	data, _, err := durable.ReadFile(path, maxLogo)
	switch {
	case errors.Is(err, durable.ErrTooLarge):
		return fmt.Errorf("has more than %d KiB, and each page has the logo: make it smaller", maxLogo>>10)
	case err != nil:
		return err
	case len(data) == 0:
		return errors.New("is empty")
	}
	f.Logos[brand] = "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
	return nil
}
