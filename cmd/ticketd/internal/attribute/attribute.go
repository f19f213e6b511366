// Package attribute has the fields of the directory's records as everybody outside names them:
// flags and lists of the commands, members of JSON, and fields of forms. The rules for values
// belong to package directory.
//
// In JSON, a duration is a number of seconds and its member ends in Seconds, a time is a text
// of RFC 3339, and a field that is not set is null, or an empty text or list.
package attribute

import (
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Field is a part of a record. Each field has a flag of the commands add and set, a line of
// show, a column of list, and a member of JSON.
type Field[T any] struct {
	Name  string       // name of the flag, such as unique-id
	Usage string       // help of the flag; "" for a field that nobody sets
	List  bool         // list has a column for the field
	At    func(*T) any // pointer to the field in a record
}

// Member returns the name of the field in JSON: uniqueId for unique-id.
func (f Field[T]) Member() string {
	words := strings.Split(f.Name, "-")
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	name := strings.Join(words, "")
	if _, ok := f.At(new(T)).(*time.Duration); ok {
		name += "Seconds"
	}
	return name
}

// Members returns a record as a JSON object.
func Members[T any](fields []Field[T], record *T) map[string]any {
	object := make(map[string]any, len(fields))
	for _, f := range fields {
		object[f.Member()] = value(f.At(record))
	}
	return object
}

// value returns the field at p for JSON.
func value(p any) any {
	switch p := p.(type) {
	case *time.Duration:
		if *p == 0 {
			return nil
		}
		return p.Seconds()
	case *time.Time:
		if p.IsZero() {
			return nil
		}
	case *float64:
		if *p == 0 {
			return nil
		}
	case *int:
		if *p == 0 {
			return nil
		}
	case *[]string:
		return append([]string{}, *p...)
	case *[]directory.KeyUse:
		return append([]directory.KeyUse{}, *p...)
	case *directory.Addresses:
		return append([]string{}, SplitList(p.String())...)
	}
	return p
}
