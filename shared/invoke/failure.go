package invoke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Failure is a call that did not end in a 2xx, in the words of the trigger's
// owner. It holds neither a secret nor anything that the container said.
type Failure struct {
	Message string
	// StatusCode is the answer's, 0 where there was none.
	StatusCode int
	// RetryAfter is how long the container asks to be left alone, 0 where it does
	// not say.
	RetryAfter time.Duration
}

func (f *Failure) Error() string { return f.Message }

// timeoutError tells the container's own timeout from the end of the run.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string {
	return "the container did not answer within " + strconv.FormatFloat(e.after.Seconds(), 'f', -1, 64) + "s"
}

// TimeOver is the cause of a context that ends before the container's timeout: why
// it does, in the owner's words.
type TimeOver string

func (o TimeOver) Error() string { return string(o) }

// refusal is the failure of an answer that is not a 2xx.
func refusal(response *http.Response) *Failure {
	message := fmt.Sprintf("the container answered %d", response.StatusCode)
	if text := http.StatusText(response.StatusCode); text != "" {
		message += " " + text
	}
	if 300 <= response.StatusCode && response.StatusCode < 400 {
		message += ", and redirects are not followed"
	}
	return &Failure{
		Message: message, StatusCode: response.StatusCode,
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
	}
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}

// failureOf puts the reasons for which there was no answer into the owner's
// words. What is none of them is told in general terms: Go's texts hold
// addresses and names that the owner did not write.
func failureOf(ctx context.Context, err error) *Failure {
	if timeout, ok := errors.AsType[timeoutError](context.Cause(ctx)); ok {
		return &Failure{Message: timeout.Error()}
	}
	if over, ok := errors.AsType[TimeOver](context.Cause(ctx)); ok {
		return &Failure{Message: over.Error()}
	}
	return &Failure{Message: reason(ctx, err)}
}

func reason(ctx context.Context, err error) string {
	if private, ok := errors.AsType[*PrivateError](err); ok {
		return "the container's address " + private.Address.String() + " is not public"
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return "the name of the container's endpoint does not resolve"
		}
		return "the name of the container's endpoint could not be looked up"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate(err)
	}
	var network net.Error
	switch {
	case speaksHTTP(err):
		return "the container does not speak TLS"
	case ctx.Err() != nil:
		return "the call was cut off: the function's time was over"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the container refuses connections"
	case errors.Is(err, syscall.ECONNRESET):
		return "the container closed the connection without an answer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the container cannot be reached"
	case errors.As(err, &network) && network.Timeout():
		return "connecting to the container took too long"
	}
	return "the container did not give a valid HTTP answer"
}

// speaksHTTP says whether the answer to a TLS handshake was an HTTP one.
func speaksHTTP(err error) bool {
	record, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(record.RecordHeader[:]) == "HTTP/"
}

func certificate(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the container's certificate is for another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the container's certificate has expired or is not valid yet"
	}
	return "the container's certificate is not trusted"
}
