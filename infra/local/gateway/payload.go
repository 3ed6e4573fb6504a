package gateway

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxEvent is the maximum size of an event in bytes (Lambda Developer Guide, "Lambda
// quotas": 6 MB for synchronous invocations). API Gateway accepts larger bodies.
const maxEvent = 6 << 20

// route returns the path without stage and base path, for matching, and the event's raw
// path. Both are percent-encoded. It returns false if the request is for another stage or
// API mapping.
// The raw path holds the stage but not the mapping's base path (API Gateway
// Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs").
func (g Gateway) route(path string) (matched, raw string, ok bool) {
	if g.BasePath != "" {
		matched, ok = cutSegment(path, g.BasePath)
		return matched, matched, ok
	}
	if g.Stage != "" {
		matched, ok = cutSegment(path, g.Stage)
		return matched, path, ok
	}
	return path, path, true
}

func cutSegment(path, segment string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, "/"+segment)
	return rest, ok && strings.HasPrefix(rest, "/")
}

// unescape decodes a path. It returns a path with a malformed encoding unchanged.
func unescape(path string) string {
	if decoded, err := url.PathUnescape(path); err == nil {
		return decoded
	}
	return path
}

// headers returns a request's headers in the form of an event, and its cookies, which an
// event holds apart. Names are in lower case, and several values are joined by commas.
func headers(r *http.Request) (headers map[string]string, cookies []string) {
	headers = map[string]string{"host": r.Host}
	for name, values := range r.Header {
		if name == "Cookie" {
			cookies = strings.Split(strings.Join(values, "; "), "; ")
			continue
		}
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	return headers, cookies
}

// content returns a body in the form of an event: unchanged if its type is text, otherwise
// in base64. AWS does not document which types are text. ministack's pull request 766
// found these by trying. A body that is not UTF-8 would not survive in JSON.
func content(contentType string, body []byte) (text string, isBase64 bool) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = "" // which is not text
	}
	switch {
	case len(body) == 0:
		return "", false
	case !utf8.Valid(body):
	case strings.HasPrefix(media, "text/"), media == "application/json", media == "application/xml", media == "application/javascript":
		return string(body), false
	}
	return base64.StdEncoding.EncodeToString(body), true
}
