package main

// fault is what is wrong with a line of a file.
type fault struct {
	Line   int    `json:"line"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

func (f fault) String() string {
	if f.Column == "" {
		return f.Reason
	}
	return f.Column + ": " + f.Reason
}
