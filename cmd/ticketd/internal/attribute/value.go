package attribute

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Parse reads a text, such as that of a flag, into the field at p.
func Parse(p any, text string) (err error) {
	switch p := p.(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = ParseBool(text)
	case **bool:
		if *p = nil; text == "default" {
			return nil
		}
		b, err := ParseBool(text)
		*p = &b
		if err != nil {
			return errors.New("write true, false or default")
		}
	case *time.Duration:
		if *p = 0; text == "default" {
			return nil
		}
		if *p, err = time.ParseDuration(text); err != nil || *p <= 0 {
			return errors.New("write a duration such as 90s or 5m, or default")
		}
	case *time.Time:
		*p, err = parseTime(text, time.Now())
	case *float64:
		if *p, err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
			return errors.New("write a number")
		}
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			return errors.New("write a whole number")
		}
	case *[]string:
		*p = SplitList(text)
	case *[]directory.Scope:
		*p = nil
		for _, s := range SplitList(text) {
			*p = append(*p, directory.Scope(s))
		}
	case *directory.Role:
		*p = directory.Role(text)
	case *directory.Addresses:
		*p, err = directory.ParseAddresses(text)
	default:
		panic(fmt.Sprintf("a field is a %T", p))
	}
	return err
}

// ParseBool reads true or false, and no other form.
func ParseBool(text string) (bool, error) {
	switch text {
	case "true", "false":
		return text == "true", nil
	}
	return false, errors.New("write true or false")
}

// parseTime reads a date, a time of RFC 3339, a time from now such as 90d or 12h, or
// never, which is the zero time.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "never" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			if t = t.UTC(); !isYear(t.Year()) {
				return time.Time{}, fmt.Errorf("write a time from the years %d to %d", minYear, maxYear)
			}
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return now.AddDate(0, 0, int(n)).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d).UTC(), nil
	}
	return time.Time{}, errors.New(
		"write a date such as 2030-01-31, a time of RFC 3339, a time from now such as 90d or 12h, or never")
}

// The years of times that people set. The zero time means never, and JSON has no year beyond
// the last.
const minYear, maxYear = 1970, 9999

func isYear(year int) bool { return minYear <= year && year <= maxYear }

// Shown returns the field at p for people; "" for a field that is not set.
func Shown(p any) string {
	switch p := p.(type) {
	case *string:
		return *p
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *bool:
		return strconv.FormatBool(*p)
	case **bool:
		if *p != nil {
			return strconv.FormatBool(**p)
		}
	case *time.Duration:
		if *p != 0 {
			return p.String()
		}
	case *time.Time:
		if !p.IsZero() {
			return p.Format(time.RFC3339)
		}
	case *float64:
		if *p != 0 {
			return strconv.FormatFloat(*p, 'f', -1, 64)
		}
	case *int:
		if *p != 0 {
			return strconv.Itoa(*p)
		}
	case *[]string:
		return strings.Join(*p, ",")
	case *[]directory.Scope:
		var all []string
		for _, s := range *p {
			all = append(all, string(s))
		}
		return strings.Join(all, ",")
	case *directory.Role:
		return string(*p)
	case *directory.Addresses:
		return p.String()
	case *[]directory.KeyUse:
		var all []string
		for _, u := range *p {
			all = append(all, u.ID+" "+u.LastUsed.Format(time.RFC3339))
		}
		return strings.Join(all, ", ")
	default:
		panic(fmt.Sprintf("a field is a %T", p))
	}
	return ""
}

// Assign copies a field from one record to another. Both arguments point to the field.
func Assign(to, from any) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) }

// SplitList returns the parts of a text between commas, without spaces around them and
// without empty ones.
func SplitList(text string) (list []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
