package token

// ConfigError is the error of every constructor in this module for a Config that cannot
// work. Match a ConfigError with errors.As to map the Go field to a flag, a variable or a
// form of your own. The text holds no part of a secret value.
type ConfigError struct {
	Field  string // the Go field with its package and type, such as "verify.Config.Opener"
	Reason string // the fault and the remedy, such as "is nil; give a keyring.Ring"
	Cause  error  // the error behind the reason, or nil
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
