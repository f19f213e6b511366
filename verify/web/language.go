package web

import (
	"fmt"
	"strings"

	xlanguage "golang.org/x/text/language"

	"github.com/admitone/admitone/token"
)

// BuiltIn returns the built-in texts of a language, such as "en" or "fr", if there are any.
func BuiltIn(language string) (t Texts, ok bool) {
	t, ok = builtIn[language]
	return t, ok
}

// CheckLanguage returns an error that names the languages of the texts, if none of the built-in
// texts and of more, as in Config.Texts, is in the language of a BCP 47 tag. The error is a
// *token.ConfigError.
func CheckLanguage(tag string, more map[string]Texts) error {
	l, err := newLanguages(more)
	if err != nil {
		return err
	}
	if _, _, confidence := l.matcher.Match(xlanguage.Make(tag)); confidence != xlanguage.No {
		return nil
	}
	var names []string
	for _, one := range l.all {
		names = append(names, one.tag)
	}
	return &token.ConfigError{
		Field:  "web.Page.Language",
		Reason: fmt.Sprintf("is %q, and the pages have no texts in it; there are %s", tag, strings.Join(names, ", ")),
	}
}
