package relay

import (
	"fmt"
	"io"
	"net/http"
)

// maxReceived bounds an answer of an SQS endpoint, in bytes: ten messages of 1 MiB
// (SQS's quota), encoded.
const maxReceived = 16 << 20

// bounded ends what comes from an endpoint where no answer of SQS would go on.
type bounded struct{ http.RoundTripper }

// RoundTrip makes a request whose answer is an error beyond its bounds.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{response.Body, maxReceived}
	return response, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("%w: an answer of more than %d bytes", errAbsurd, maxReceived)
	}
	return n, err
}
