package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

const defaultColour = "1d4ed8"

var colourForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// colourDigits returns the six digits of a colour, or those of the default colour.
func colourDigits(colour string) string {
	if !colourForm.MatchString(colour) {
		return defaultColour
	}
	return strings.ToLower(colour[1:])
}

// textOn returns the colour of text, black or white, with the greater contrast on a colour
// of six digits: 4.58:1 or more on any colour (WCAG 2.2 asks for 4.5:1).
func textOn(digits string) string {
	if l := luminance(digits); (l+0.05)/0.05 >= 1.05/(l+0.05) {
		return "000000"
	}
	return "ffffff"
}

// luminance returns the relative luminance of WCAG 2.2, from 0 to 1.
func luminance(digits string) float64 {
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		return 0
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}
