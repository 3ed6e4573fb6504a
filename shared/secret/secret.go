// Package secret holds the type of what must never be answered, logged or told
// in an error.
package secret

import "log/slog"

// Text is a secret in the clear. Printing, logging or marshalling one gives
// "[secret]"; convert it to a string to use it.
type Text string

const redacted = "[secret]"

// String hides the secret from fmt.
func (Text) String() string { return redacted }

// GoString hides the secret from fmt's %#v.
func (Text) GoString() string { return redacted }

// LogValue hides the secret from slog.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from encoders.
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
