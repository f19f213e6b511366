package cli

import "regexp"

// packages finds the names of Go packages, which some libraries still put in front of
// their errors. After a digit the word may be a key of a file in which a line is at fault.
var packages = regexp.MustCompile(`(^|[^0-9]: )(?:directory|durable|keyring|kms|pgstore|ratelimit|redisstore|replay|token|verify|web): `)

func withoutPackages(text string) string {
	for packages.MatchString(text) {
		text = packages.ReplaceAllString(text, "$1")
	}
	return text
}
