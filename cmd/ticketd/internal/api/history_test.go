//go:build unix

package api

import (
	"fmt"
	"time"
)

// A step is a thing that happens in a history. The numbers choose among a few brands,
// people, browsers and so on, so that steps meet. A step that refers to a ticket names the
// step that issued it, and does nothing without that step.
type step struct {
	id      int
	op      string
	brand   int
	who     int // an agent's name, or one of the brand's customers
	detail  int // version of the details of a person
	value   int // what is set
	channel int // 0: none
	key     int
	browser int
	ticket  int // ID of the step that issued it
	binding int // 0: none
	odd     bool
	on      bool
	wait    time.Duration
}

var (
	historyBrands   = []string{"alpha", "beta"}
	historyNames    = []string{"ann", "bob"}
	historyChannels = []string{"", "web", "shop"}
	historySettings = []string{"confirm", "otherUser", "ticketLogin", "apiAddresses", "loginAddresses", "maxLifetime"}

	historyWaits = []time.Duration{
		time.Millisecond, time.Second, 4 * time.Second, 5*time.Second + time.Millisecond, 6 * time.Second,
		10*time.Second - time.Millisecond, 10 * time.Second, 10*time.Second + time.Millisecond, 25 * time.Second,
		54 * time.Second, time.Minute, 66 * time.Second, 5 * time.Minute, 31 * time.Minute, time.Hour, 11 * time.Hour,
	}
)

// historyOps are the weights of the steps.
var historyOps = map[string]int{
	"add brand": 2, "remove brand": 1, "set brand": 7, "end sessions of brand": 1,
	"add channel": 2, "remove channel": 1, "set channel": 4,
	"add agent": 5, "remove agent": 3, "edit agent": 4, "activate agent": 5, "import agent": 5, "end sessions of agent": 1,
	"add customer": 4, "edit customer": 3, "remove customer": 1, "end sessions of customer": 1,
	"add key": 2, "revoke key": 1,
	"issue to agent": 16, "issue to customer": 18, "revoke ticket": 3, "redeem": 10, "inspect": 4, "enter": 12, "press": 3,
	"check": 20, "look": 3, "sign out": 1, "wait": 14, "directory silent": 3,
}

// String describes a step for people.
func (s step) String() string {
	text := fmt.Sprintf("%2d %s", s.id, s.op)
	add := func(format string, args ...any) { text += fmt.Sprintf(" "+format, args...) }
	brand, name := historyBrands[s.brand], historyNames[s.who%len(historyNames)]
	switch s.op {
	case "wait":
		add("%v", s.wait)
	case "add brand", "remove brand", "end sessions of brand":
		add("%s", brand)
	case "set brand":
		add("%s: %s to choice %d", brand, historySettings[s.detail], s.value)
	case "add channel", "remove channel":
		add("%s of %s", historyChannels[s.channel], brand)
	case "set channel":
		add("%s of %s: %s to choice %d", historyChannels[s.channel], brand, historySettings[s.detail], s.value)
	case "add agent", "edit agent":
		add("%s of %s, details %d, groups %d, active %v, in capitals %v", name, brand, s.detail, s.value, s.on, s.odd)
	case "import agent":
		add("%s of %s, details %d, groups %d, active %v, in capitals %v, without columns %v", name, brand, s.detail,
			s.value, s.on, s.odd, columnsLeftOut(s))
	case "activate agent":
		add("%s of %s: %v", name, brand, s.on)
	case "remove agent", "end sessions of agent":
		add("%s of %s", name, brand)
	case "add customer", "edit customer":
		add("number %d of %s: %s", s.who, brand, describeCustomerOf(s))
	case "remove customer", "end sessions of customer":
		add("number %d of %s", s.who, brand)
	case "add key":
		add("%d for brands %d, for 10 minutes %v", s.key, s.value, s.odd)
	case "revoke key":
		add("%d", s.key)
	case "issue to agent":
		add("%s of %s, details %d (3: the present ones), once %v, lifetime %d, key %d", name, brand, s.detail, s.on,
			s.value, s.key)
	case "issue to customer":
		add("of %s: %s, once %v, override %v, lifetime %d, channel %q, key %d", brand, describeCustomerOf(s), s.on, s.odd,
			s.value, historyChannels[s.channel], s.key)
	case "revoke ticket":
		add("of step %d, way %d, key %d", s.ticket, s.value, s.key)
	case "redeem", "inspect":
		add("the ticket of step %d, key %d, channel %q, binding %d, wrong audience %v, address %d", s.ticket, s.key,
			historyChannels[s.channel], s.binding, s.odd, s.value)
	case "enter":
		add("with the ticket of step %d, browser %d, channel %q (\"\": the ticket's, or web)", s.ticket, s.browser,
			historyChannels[s.channel])
	case "check":
		add("browser %d, agents %v, brand %q", s.browser, s.on, append(historyBrands, "any")[s.value])
	case "press", "look", "sign out":
		add("browser %d", s.browser)
	}
	return text
}

func describeCustomerOf(s step) string {
	c := customerOfStep(s)
	return fmt.Sprintf("%q %q %q %s", c.UniqueID, c.Email, c.Phone1, c.FirstName)
}

// historyPrologue makes brands, channels, agents and API keys.
var historyPrologue = []step{
	{op: "add brand"}, {op: "add brand", brand: 1},
	{op: "add channel", channel: 1}, {op: "add channel", channel: 2}, {op: "add channel", channel: 1, brand: 1},
	{op: "add agent", on: true}, {op: "add agent", who: 1, value: 1, on: true}, {op: "add agent", brand: 1, on: true},
	{op: "add key", value: 3}, {op: "add key", key: 1, value: 2},
}
