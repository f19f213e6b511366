package token

// ConfigError tells which field of a Config is at fault. Every constructor in
// this module returns it for a Config that cannot work: match it with errors.As
// to map the Go field to a flag, a variable or a form of your own. Its text holds
// no part of a secret value.
type ConfigError struct {
	Field  string // the Go field with its package and type, such as "verify.Config.Opener"
	Reason string // what is wrong and what to do, such as "is nil; give a keyring.Ring"
	Cause  error  // the error behind the reason, where there is one
}

// Error returns the field and the reason, then the cause.
func (e *ConfigError) Error() string {
	text := e.Field + " " + e.Reason
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the Cause.
func (e *ConfigError) Unwrap() error { return e.Cause }
