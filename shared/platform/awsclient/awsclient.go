// Package awsclient mends the HTTP client of the AWS SDK.
package awsclient

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeAnswers returns a client that never loses the rest of an answer whose head has come.
//
// The SDK closes a request's body when it has the head. If net/http still looks whether the
// body has more to send, it calls WriteTo of the SDK's body, which then returns io.EOF.
// net/http takes that for a failed write and closes the connection before the answer is
// read. The SDK sends the request again, so that a change happens twice. Read has no such
// fault, so the client hides WriteTo. A busy machine shows the fault most often; users
// report its message, "use of closed network connection":
// https://github.com/aws/aws-sdk-go-v2/issues/2737.
func WholeAnswers(client aws.HTTPClient) aws.HTTPClient { return wholeAnswers{client} }

type wholeAnswers struct{ aws.HTTPClient }

func (c wholeAnswers) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil && request.Body != http.NoBody {
		request.Body = struct{ io.ReadCloser }{request.Body}
	}
	return c.HTTPClient.Do(request)
}
