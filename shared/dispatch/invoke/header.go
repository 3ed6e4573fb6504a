package invoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// userAgent identifies the service to containers.
const userAgent = "container-triggers/1"

// connectionHeaders are the headers that an event cannot set. They belong to the
// connection (RFC 9110, section 7.6.1), follow from the request itself, or change how the
// server answers (Expect).
var connectionHeaders = map[string]bool{
	"Connection": true, "Content-Length": true, "Expect": true, "Host": true, "Keep-Alive": true, "Proxy-Authenticate": true,
	"Proxy-Authorization": true, "Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// OfConnection reports whether a header belongs to the connection. A cron trigger keeps
// such a header, but a call never has it.
func OfConnection(name string) bool { return connectionHeaders[http.CanonicalHeaderKey(name)] }

// ownHeaders returns the headers that all calls of a route have.
func (r *Route) ownHeaders() http.Header {
	header := http.Header{}
	header.Set("Ce-Specversion", "1.0")
	header.Set("Ce-Source", r.source)
	header.Set("User-Agent", userAgent)
	if r.token != "" {
		header.Set("X-Auth-Token", r.token)
	}
	return header
}

// eventHeaders is the largest number of headers of the service that differ between the events
// of a route.
const eventHeaders = 6

// headers returns the headers of a call, which are the service's own and the event's.
func (r *Route) headers(ctx context.Context, event Event) http.Header {
	header := maps.Clone(r.own) // cheaper than setting each of them
	// One slice holds all values, to save allocations.
	values := make([]string, 0, eventHeaders)
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	// CloudEvents 1.0, HTTP protocol binding, binary mode.
	set("Ce-Id", escapeAttribute(event.ID))
	set("Ce-Type", event.Type)
	set("Ce-Time", event.Time.UTC().Format(time.RFC3339Nano))
	if event.Subject != "" {
		set("Ce-Subject", escapeAttribute(event.Subject))
	}
	if parent := traceparent(ctx); parent != "" {
		set("Traceparent", parent)
	}
	if len(event.Header) > 0 {
		addHeaders(event.Header, header)
	}
	if len(event.Body) > 0 && header.Get("Content-Type") == "" {
		set("Content-Type", contentType(event.Body))
	}
	return header
}

// remappedPrefix is the prefix for the name of a header that cannot be sent under its own
// name.
const remappedPrefix = "X-Remapped-"

// addHeaders adds all of an event's headers to those of the service. It remaps a name that
// is not valid in HTTP, belongs to the connection, or is one of the service's own. It
// encodes a value that is not valid in HTTP. Names that differ only in case become one
// header with several values.
func addHeaders(event, header http.Header) {
	// Sorted, so that each attempt sends the same headers.
	names := slices.Sorted(maps.Keys(event))
	var options []string // the headers that Connection names
	for _, name := range names {
		if http.CanonicalHeaderKey(name) == "Connection" {
			for option := range strings.SplitSeq(strings.Join(event[name], ","), ",") {
				options = append(options, http.CanonicalHeaderKey(textproto.TrimString(option)))
			}
		}
	}
	passed := make(http.Header, len(event))
	for _, name := range names {
		sent := http.CanonicalHeaderKey(name)
		_, own := header[sent]
		switch {
		case own, sent == "Ce-Subject", connectionHeaders[sent], slices.Contains(options, sent),
			strings.HasPrefix(sent, remappedPrefix), !httpguts.ValidHeaderFieldName(name):
			sent = http.CanonicalHeaderKey(remappedPrefix + percentEncode(name, notToken))
		}
		for _, value := range event[name] {
			passed[sent] = append(passed[sent], encodeValue(value))
		}
	}
	maps.Copy(header, passed)
}

// encodedPrefix is the prefix of an encoded value (RFC 8187, section 3.2).
const encodedPrefix = "UTF-8''"

// encodeValue returns a value in a form that HTTP transmits unchanged. It encodes a value
// with a control character, a value that is not UTF-8, and a value that begins or ends with
// white space, which HTTP removes. It also encodes a value that looks encoded, so that a
// container can decode every value in one way.
func encodeValue(value string) string {
	looksEncoded := len(value) >= len(encodedPrefix) && strings.EqualFold(value[:len(encodedPrefix)], encodedPrefix)
	if httpguts.ValidHeaderFieldValue(value) && utf8.ValidString(value) && textproto.TrimString(value) == value && !looksEncoded {
		return value
	}
	return encodedPrefix + percentEncode(value, notAttrChar)
}

// notAttrChar reports whether RFC 8187 (section 3.2.1, attr-char) requires a byte to be
// encoded.
func notAttrChar(c byte) bool { return notToken(c) || c == '*' || c == '\'' }

// notToken reports whether a byte must be encoded in the name of a header. It must be if
// the name cannot contain it (RFC 9110, section 5.6.2), or if it is a percent sign, which
// begins an encoded byte.
func notToken(c byte) bool { return c == '%' || !httpguts.IsTokenRune(rune(c)) }

// percentEncode encodes the special bytes. All bytes beyond ASCII must be special.
func percentEncode(text string, special func(byte) bool) string {
	plain := 0
	for plain < len(text) && !special(text[plain]) {
		plain++
	}
	if plain == len(text) {
		return text
	}
	var encoded strings.Builder
	encoded.WriteString(text[:plain])
	for i := plain; i < len(text); i++ {
		if c := text[i]; special(c) {
			fmt.Fprintf(&encoded, "%%%02X", c)
		} else {
			encoded.WriteByte(c)
		}
	}
	return encoded.String()
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

// jsonStarts are the bytes that a JSON text can begin with. Most other texts differ in
// their first byte, and checking it is cheaper than json.Valid.
var jsonStarts = []byte("{[\"-0123456789tfn \t\r\n")

// escapeAttribute percent-encodes the characters that a CloudEvents attribute must not
// contain in a header. These are space, quote, percent, and all that are not printable ASCII
// (HTTP protocol binding 1.0, section 3.1.3.2).
func escapeAttribute(value string) string {
	return percentEncode(value, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' })
}

// traceHeader is the context key under which Lambda's Go runtime stores X-Ray's trace
// header.
const traceHeader = "x-amzn-trace-id"

// traceparent converts X-Ray's header (Root=1-5759e988-bd862e3fe1be46a994272793;
// Parent=53995c3f42cd8ad8;Sampled=1) to the header of W3C's Trace Context. It returns "" if
// X-Ray does not sample the trace.
func traceparent(ctx context.Context) string {
	text, _ := ctx.Value(traceHeader).(string)
	if !strings.Contains(text, "Sampled=1") { // most often, and without a map
		return ""
	}
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
