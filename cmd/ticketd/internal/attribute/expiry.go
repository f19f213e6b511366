package attribute

import (
	"fmt"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Reminder returns a sentence for people about an API key that expires soon, and "" for
// another key.
func Reminder(k directory.APIKey, now time.Time) string {
	if !k.ExpiresSoon(now) {
		return ""
	}
	name := strings.TrimSpace(k.ID + " " + k.Note)
	return fmt.Sprintf("API key %s expires %s; give its holder another key before.", name, within(k.Expires, now))
}

// within returns how long it is until a time, and the time.
func within(end, now time.Time) string {
	left := "in less than a day"
	switch days := int(end.Sub(now).Hours() / 24); days {
	case 0:
	case 1:
		left = "in 1 day"
	default:
		left = fmt.Sprintf("in %d days", days)
	}
	return left + ", at " + end.UTC().Format("2006-01-02 15:04 UTC")
}

// bundleNotice is how long before the end of a bundle people are reminded. Bundles are good for
// a week by default, and are taken again each hour.
const bundleNotice = 48 * time.Hour

// IssuerReminders returns what people should know of an issuer: that the issuer is denied, was
// never used, or may issue for a short time only.
func IssuerReminders(i directory.Issuer, now time.Time) (all []string) {
	if i.Denied {
		return []string{"Issuer " + i.Name + " is denied: none of its tickets is good."}
	}
	for _, end := range []struct {
		at        time.Time
		what, was string
		notice    time.Duration
	}{
		{i.Until, "The grant of issuer %s ends %s; agree on another one.", "The grant of issuer %s ended at %s.",
			directory.ExpiryNotice},
		{i.BundleUntil, "The bundle with the keys of issuer %s ends %s; take a newer one with keyring trust.",
			"The bundle with the keys of issuer %s ended at %s: none of its tickets is good.", bundleNotice},
	} {
		switch left := end.at.Sub(now); {
		case end.at.IsZero():
		case left <= 0:
			all = append(all, fmt.Sprintf(end.was, i.Name, end.at.UTC().Format("2006-01-02 15:04 UTC")))
		case left <= end.notice:
			all = append(all, fmt.Sprintf(end.what, i.Name, within(end.at, now)))
		}
	}
	if i.LastUsed.IsZero() {
		all = append(all, "Issuer "+i.Name+" was never used: nobody has entered with a ticket of it.")
	}
	return all
}
