package settings

import (
	"errors"
	"strings"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes, as a flag such as 64MiB.
type Size int64

// String returns the size with a unit; "" for 0.
func (s *Size) String() string {
	if *s == 0 {
		return ""
	}
	return strings.Replace(strings.Replace(humanize.IBytes(uint64(*s)), ".0", "", 1), " ", "", 1)
}

// Set reads a number and a unit, up to 1 PiB.
func (s *Size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<50 {
		return errors.New("write a number and a unit, such as 64MiB or 2GiB")
	}
	*s = Size(n)
	return nil
}

// Type returns the name of the kind of value in help.
func (*Size) Type() string { return "size" }
