package invoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// userAgent is how containers know the service.
const userAgent = "container-triggers/1"

// notSent are the headers that belong to the connection (RFC 9110, section
// 7.6.1) or that follow from the request itself.
var notSent = []string{
	"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headers are those of a call: the event's, as far as HTTP can carry them, and the
// service's own, which win.
func (r *Route) headers(ctx context.Context, event Event) http.Header {
	header := make(http.Header, len(event.Header)+ownHeaders)
	if len(event.Header) > 0 {
		pass(event.Header, header)
	}
	// One allocation for all values.
	values := make([]string, 0, ownHeaders)
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if len(event.Body) > 0 && header.Get("Content-Type") == "" {
		set("Content-Type", contentType(event.Body))
	}
	// CloudEvents 1.0, HTTP protocol binding, binary mode.
	set("Ce-Specversion", "1.0")
	set("Ce-Id", escapeAttribute(event.ID))
	set("Ce-Source", r.source)
	set("Ce-Type", event.Type)
	set("Ce-Time", event.Time.UTC().Format(time.RFC3339Nano))
	delete(header, "Ce-Subject")
	if event.Subject != "" {
		set("Ce-Subject", escapeAttribute(event.Subject))
	}
	set("User-Agent", userAgent)
	if parent := traceparent(ctx); parent != "" {
		set("Traceparent", parent)
	}
	if r.token != "" {
		set("X-Auth-Token", r.token)
	}
	return header
}

// ownHeaders is how many headers the service sets at most.
const ownHeaders = 10

// pass hands over what a trigger or a message wants to be sent.
func pass(wanted, header http.Header) {
	for name, values := range wanted {
		for _, value := range values {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value) {
				header.Add(name, value)
			}
		}
	}
	for _, named := range strings.Split(strings.Join(header["Connection"], ","), ",") {
		header.Del(textproto.TrimString(named))
	}
	for _, name := range notSent {
		header.Del(name)
	}
}

func contentType(body []byte) string {
	switch {
	case bytes.IndexByte(jsonStarts, body[0]) >= 0 && json.Valid(body):
		return "application/json"
	case utf8.Valid(body):
		return "text/plain; charset=utf-8"
	default:
		return "application/octet-stream"
	}
}

// jsonStarts are the bytes that a JSON text can begin with: most that is none is
// told by that, without an error being made of it.
var jsonStarts = []byte("{[\"-0123456789tfn \t\r\n")

// escapeAttribute percent-encodes what a CloudEvents attribute may not hold as a
// header: all but printable ASCII, and space, quote and percent (HTTP protocol
// binding 1.0, section 3.1.3.2).
func escapeAttribute(value string) string {
	if strings.IndexFunc(value, special) < 0 {
		return value
	}
	var escaped strings.Builder
	for i := range len(value) {
		if c := value[i]; special(rune(c)) {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String()
}

func special(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

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
