package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"containertriggers/shared/trigger"
)

// userAgent is how containers know the service.
const userAgent = "container-triggers/1"

// notSent are the headers that belong to the connection (RFC 9110, section
// 7.6.1) or that follow from the request itself.
var notSent = []string{
	"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headers are those of the call: the event's, as far as HTTP can carry them, and
// the service's own, which win.
func headers(ctx context.Context, t trigger.Trigger, event Event) http.Header {
	header := http.Header{}
	for name, values := range event.Header {
		for _, value := range values {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value) {
				header.Add(name, value)
			}
		}
	}
	for _, named := range strings.Split(header.Get("Connection"), ",") {
		header.Del(textproto.TrimString(named))
	}
	for _, name := range notSent {
		header.Del(name)
	}

	if header.Get("Content-Type") == "" && len(event.Body) > 0 {
		header.Set("Content-Type", contentType(event.Body))
	}
	// CloudEvents 1.0, HTTP protocol binding, binary mode.
	header.Set("Ce-Specversion", "1.0")
	header.Set("Ce-Id", escapeAttribute(event.ID))
	header.Set("Ce-Source", t.Path())
	header.Set("Ce-Type", event.Type)
	header.Set("Ce-Time", event.Time.UTC().Format(time.RFC3339Nano))
	header.Del("Ce-Subject")
	if event.Subject != "" {
		header.Set("Ce-Subject", escapeAttribute(event.Subject))
	}
	header.Set("User-Agent", userAgent)
	if parent := traceparent(ctx); parent != "" {
		header.Set("Traceparent", parent)
	}
	return header
}

func contentType(body []byte) string {
	switch {
	case json.Valid(body):
		return "application/json"
	case utf8.Valid(body):
		return "text/plain; charset=utf-8"
	default:
		return "application/octet-stream"
	}
}

// escapeAttribute percent-encodes what a CloudEvents attribute may not hold as a
// header: all but printable ASCII, and space, quote and percent (HTTP protocol
// binding 1.0, section 3.1.3.2).
func escapeAttribute(value string) string {
	var escaped strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String()
}

// traceHeader is the key under which Lambda's Go runtime keeps X-Ray's trace
// header in the context.
const traceHeader = "x-amzn-trace-id"

// traceparent turns X-Ray's header (Root=1-5759e988-bd862e3fe1be46a994272793;
// Parent=53995c3f42cd8ad8;Sampled=1) into that of W3C's Trace Context; empty
// where no trace is on, which X-Ray says by not sampling it.
func traceparent(ctx context.Context) string {
	text, _ := ctx.Value(traceHeader).(string)
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if name, value, found := strings.Cut(part, "="); found {
			parts[name] = value
		}
	}
	version, id, _ := strings.Cut(parts["Root"], "-")
	trace, parent := strings.ReplaceAll(id, "-", ""), parts["Parent"]
	if parts["Sampled"] != "1" || version != "1" || !lowerHex(trace, 32) || !lowerHex(parent, 16) {
		return ""
	}
	return "00-" + trace + "-" + parent + "-01"
}

func lowerHex(text string, length int) bool {
	return len(text) == length && strings.Trim(text, "0123456789abcdef") == ""
}
