package invoke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"containertriggers/shared/domain/run"
)

// Failure is the error of a call without a 2xx. Its message is for the trigger's owner. It
// contains no secret and no text of the container.
type Failure struct {
	Message string
	// Reason is the kind of failure. It is empty if the service is the cause.
	Reason run.Reason
	// StatusCode is the status code of the answer. It is 0 if there was no answer.
	StatusCode int
	// RetryAfter is how long the container wants the caller to wait. It is 0 if the answer
	// has no Retry-After.
	RetryAfter time.Duration
}

func (f *Failure) Error() string { return f.Message }

// RetryAfter returns how long the container wants the caller to wait after the error of a
// call. It returns 0 if the container did not say.
func RetryAfter(err error) time.Duration {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure.RetryAfter
	}
	return 0
}

// ReasonOf returns the kind of failure of the error of a call. It is empty if the service is
// the cause.
func ReasonOf(err error) run.Reason {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure.Reason
	}
	return ""
}

// timeoutError is the cause of a context that ends after the container's timeout. It
// distinguishes the timeout from the end of the run.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string {
	return "the container did not answer within " + strconv.FormatFloat(e.after.Seconds(), 'f', -1, 64) + "s"
}

// DeadlineCause is the cause of a context that ends before the container's timeout. Its
// text tells the trigger's owner the reason.
type DeadlineCause string

func (o DeadlineCause) Error() string { return string(o) }

// refusal returns the failure of an answer that is not a 2xx.
func refusal(response *http.Response) *Failure {
	message := fmt.Sprintf("the container answered %d", response.StatusCode)
	if text := http.StatusText(response.StatusCode); text != "" {
		message += " " + text
	}
	switch code := response.StatusCode; {
	case code < 200:
		message += ", which is not a final answer"
	case code == http.StatusMovedPermanently, code == http.StatusFound, code == http.StatusSeeOther,
		code == http.StatusTemporaryRedirect, code == http.StatusPermanentRedirect:
		message += ", and redirects are not followed"
	case code < 400:
		message += ", and only a 2xx is success"
	}
	return &Failure{
		Message: message, Reason: run.HTTPStatus, StatusCode: response.StatusCode,
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
	}
}

// longestRetryAfter limits Retry-After. Callers have lower limits of their own.
const longestRetryAfter = 365 * 24 * time.Hour

// decimal matches a number of seconds. The standard has no fractions, but servers send
// them.
var decimal = regexp.MustCompile(`^[0-9]+(\.[0-9]*)?$`)

// retryAfter returns the time that a Retry-After header requests, in either of its forms
// (RFC 9110, section 10.2.3). It returns 0 if the header is missing or malformed.
func retryAfter(value string, now time.Time) time.Duration {
	if decimal.MatchString(value) {
		seconds, _ := strconv.ParseFloat(value, 64) // +Inf if it is out of range
		return time.Duration(min(seconds, longestRetryAfter.Seconds()) * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil && date.After(now) {
		return min(date.Sub(now), longestRetryAfter)
	}
	return 0
}

// failureOf returns the failure of a call without an answer. Its message does not quote
// Go's error, which may contain addresses and names that the owner did not write.
func failureOf(ctx context.Context, err error) *Failure {
	if timeout, ok := errors.AsType[timeoutError](context.Cause(ctx)); ok {
		return &Failure{Message: timeout.Error(), Reason: run.Timeout}
	}
	if over, ok := errors.AsType[DeadlineCause](context.Cause(ctx)); ok {
		return &Failure{Message: over.Error()}
	}
	kind, message := reason(ctx, err)
	return &Failure{Message: message, Reason: kind}
}

// reason returns the kind of a failure of a call that ended without an answer, and a message
// about it for the owner.
func reason(ctx context.Context, err error) (run.Reason, string) {
	if private, ok := errors.AsType[*PrivateError](err); ok {
		return run.AddressRefused, "the container's address " + private.Address.String() + " is not public"
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return run.Connection, "the name of the container's endpoint does not resolve"
		}
		return run.Connection, "the name of the container's endpoint could not be looked up"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return run.TLS, certificate(err)
	}
	var network net.Error
	switch {
	case speaksHTTP(err):
		return run.TLS, "the container does not speak TLS"
	case ctx.Err() != nil:
		return "", "the call was cut off because the function had no time left"
	case errors.Is(err, syscall.ECONNREFUSED):
		return run.Connection, "the container refuses connections"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return run.Connection, "the container closed the connection without an answer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return run.Connection, "the container cannot be reached"
	case errors.As(err, &network) && network.Timeout():
		return run.Connection, "connecting to the container took too long"
	}
	return run.Connection, "the container did not give a valid HTTP answer"
}

// speaksHTTP reports whether the server answered a TLS handshake in plain HTTP.
func speaksHTTP(err error) bool {
	record, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(record.RecordHeader[:]) == "HTTP/"
}

// certificate returns a message about a certificate that cannot be verified.
func certificate(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the container's certificate is for another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the container's certificate has expired or is not valid yet"
	}
	return "the container's certificate is not trusted"
}
