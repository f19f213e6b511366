package web

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

func TestStylesheet(t *testing.T) {
	w := confirmWorld(t, func(w *world) {
		w.looks(Page{Brand: "Commbox", Colour: "#FFCC00"})
	})
	page := w.browser().get("/login?ta=" + w.issue(nil))
	href := regexp.MustCompile(`href="(\?admitone-css=ffcc00\.[0-9a-f]{8})"`).FindStringSubmatch(page.body)
	require.NotNil(t, href, page.body)
	assert.Contains(t, page.body, "Commbox")
	css := w.browser().get("/login" + href[1])
	assert.Equal(t, "text/css; charset=utf-8", css.Header.Get("Content-Type"))
	assert.Equal(t, "private, max-age=86400, immutable", css.Header.Get("Cache-Control"))
	assert.Contains(t, css.body, "--brand: #ffcc00; --on-brand: #000000;")
	for _, bad := range []string{
		"", "ffcc00", "FFCC00.00000000", "ffcc00.0000000g", "red;}.00000000", "ffcc00.00000000&ta=x",
	} {
		assert.Equal(t, http.StatusNotFound, w.browser().get("/login?admitone-css="+bad).StatusCode, bad)
	}
	// No page has script or style of its own.
	for _, p := range []answer{page, w.browser().get("/login"), w.browser().get("/login?ta=x")} {
		assert.NotRegexp(t, `(?i)<script|<style|style=|\son[a-z]+=|javascript:`, p.body)
		assert.Contains(t, p.body, `<html lang="en" dir="ltr">`)
		assert.Contains(t, p.body, "<h1>")
		assert.Contains(t, p.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'")
	}
}

// The text on any brand's colour is readable: WCAG 2.2 AA wants 4.5:1.
func TestContrast(t *testing.T) {
	for n := 0; n < 1<<24; n += 4099 {
		digits := fmt.Sprintf("%06x", n)
		a, b := luminance(digits), luminance(textOn(digits))
		require.GreaterOrEqual(t, (max(a, b)+0.05)/(min(a, b)+0.05), 4.5, digits)
	}
	assert.Equal(t, "ffffff", textOn("000000"))
	assert.Equal(t, "000000", textOn("ffffff"))
	for colour, want := range map[string]string{
		"#A0b1C2": "a0b1c2", "": defaultColour, "a0b1c2": defaultColour, "#a0b1c": defaultColour,
		"#a0b1c2\n": defaultColour,
	} {
		assert.Equal(t, want, colourDigits(colour))
	}
}

func TestLanguages(t *testing.T) {
	w := confirmWorld(t, func(w *world) {
		w.Texts = map[string]Texts{"fr": {ConfirmButton: "Continuer"}, "de": {ConfirmButton: "Los"}}
	})
	for accept, want := range map[string][]string{
		"":                                    {`lang="en" dir="ltr"`, ">Continue<"},
		"he-IL,he;q=0.9,en;q=0.8":             {`lang="he" dir="rtl"`, ">המשך<"},
		"de-AT":                               {`lang="de" dir="ltr"`, ">Los<", "fortfahren"},
		"fr-CA;q=0.9, ja":                     {`lang="fr" dir="ltr"`, ">Continuer<"},
		"ja":                                  {`lang="en" dir="ltr"`},
		"*":                                   {`lang="en" dir="ltr"`},
		"<script>, ;;;":                       {`lang="en" dir="ltr"`},
		strings.Repeat("de,", 300):            {`lang="en" dir="ltr"`},
		"en-GB,en-US;q=0.9,de;q=0.8,fr;q=0.7": {`lang="en" dir="ltr"`},
	} {
		page := w.browser().get("/login?ta="+w.issue(nil), "Accept-Language", accept)
		for _, s := range want {
			assert.Contains(t, page.body, s, accept)
		}
	}
}

// A language without texts is refused, with the languages that have texts.
func TestCheckLanguage(t *testing.T) {
	require.NoError(t, CheckLanguage("fr-CA", nil))
	require.NoError(t, CheckLanguage("ja-JP", map[string]Texts{"ja": {}}))
	var wrong *token.ConfigError
	require.ErrorAs(t, CheckLanguage("ja", nil), &wrong)
	assert.Contains(t, wrong.Reason, "en, de, es, fr, he")
}

// Every text is there in every language, with the same placeholders.
func TestTexts(t *testing.T) {
	english := reflect.ValueOf(builtIn["en"])
	for name, texts := range builtIn {
		v := reflect.ValueOf(texts)
		for i := range v.NumField() {
			field := name + "." + v.Type().Field(i).Name
			assert.NotEmpty(t, v.Field(i).String(), field)
			for _, p := range []string{"{name}", "{current}"} {
				assert.Equal(t, strings.Contains(english.Field(i).String(), p), strings.Contains(v.Field(i).String(), p), field)
			}
		}
	}
}

// A logo stands on the pages as an image, and nothing but a data: URL of an image does.
func TestLogo(t *testing.T) {
	for logo, want := range map[string]bool{
		"data:image/png;base64,AA==": true, "": false, "data:text/html,<b>": false, "https://example.com/logo.png": false,
		"javascript:alert(1)": false,
	} {
		w := newWorld(t)
		w.looks(Page{Logo: logo})
		w.start()
		body := w.browser().get("/login").body
		assert.Equal(t, want, strings.Contains(body, `<img class="logo" src="data:image/png;base64,AA==" alt="">`), logo)
		assert.Equal(t, want, strings.Contains(body, "<img"), logo)
	}
}
