package run

import (
	"encoding/base64"
	"maps"
	"net/http"
	"unicode/utf8"
)

// Request is what a container got, without its token and the headers of the CloudEvent.
type Request struct {
	HTTPMethod string            `json:"http_method"`
	HTTPPath   string            `json:"http_path"`
	Headers    map[string]string `json:"headers"`
	// Body is the body if it is text in UTF-8. BodyBase64 is the body in base64 otherwise.
	Body       string `json:"body"`
	BodyBase64 string `json:"body_base64"`
	// Truncated is true if the body was longer, so that the request cannot be repeated.
	Truncated bool `json:"truncated"`
	// Subject is the subject of a NATS message, and empty for other events.
	Subject string `json:"subject,omitempty"`
}

// WithBody returns the request with at most that many bytes of a body.
func (r Request) WithBody(body []byte, most int) Request {
	r.Body, r.BodyBase64, r.Truncated = "", "", len(body) > most
	if text := Cut(string(body[:min(len(body), most+1)]), most); utf8.ValidString(text) {
		r.Body = text
	} else {
		r.BodyBase64 = base64.StdEncoding.EncodeToString(body[:min(len(body), most)])
	}
	return r
}

// Bytes returns the body.
func (r Request) Bytes() []byte {
	if r.BodyBase64 == "" {
		return []byte(r.Body)
	}
	body, err := base64.StdEncoding.DecodeString(r.BodyBase64)
	if err != nil {
		panic(err) // WithBody has encoded it
	}
	return body
}

// hidden replaces the value of a header that is a credential.
const hidden = "[hidden]"

// credentials are the headers that usually hold a credential or a signature.
var credentials = map[string]bool{
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Auth-Token": true, "X-Api-Key": true,
	"X-Amz-Security-Token": true, "Webhook-Signature": true, "X-Hub-Signature-256": true,
}

// shown returns the request as the API answers it, without the values of credentials.
func (r *Request) shown() *Request {
	if r == nil {
		return nil
	}
	shown := *r
	shown.Headers = maps.Clone(r.Headers)
	for name := range shown.Headers {
		if credentials[http.CanonicalHeaderKey(name)] {
			shown.Headers[name] = hidden
		}
	}
	return &shown
}
