// Package secret has the type of secrets in the clear. A secret must never appear in an
// answer, a log line or an error.
package secret

import "log/slog"

// Text is a secret in the clear. If it is printed, logged or marshaled, the output is
// "[secret]". Convert it to a string to use it.
type Text string

const redacted = "[secret]"

// String returns "[secret]" to fmt.
func (Text) String() string { return redacted }

// GoString returns "[secret]" to the verb %#v of fmt.
func (Text) GoString() string { return redacted }

// LogValue returns "[secret]" to slog.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]" to encoders.
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
