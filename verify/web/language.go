package web

import (
	"fmt"
	"strings"

	xlanguage "golang.org/x/text/language"

	"github.com/admitone/admitone/token"
)

// CheckLanguage returns an error that names the languages of the built-in texts, if none
// of the texts is in the language of a BCP 47 tag. The error is a *token.ConfigError.
func CheckLanguage(tag string) error {
	l, err := newLanguages(nil)
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
