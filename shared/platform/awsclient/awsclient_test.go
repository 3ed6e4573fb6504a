package awsclient_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"containertriggers/shared/platform/awsclient"
)

// closing closes a body as the SDK does when it has an answer's head: before net/http looks
// whether the body has more to send.
type closing struct {
	io.ReadCloser
	sent int64
	all  int64
}

func (b *closing) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.sent += int64(n); b.sent == b.all {
		_ = b.Close() // a body in memory has no error to tell
	}
	return n, err
}

func (b *closing) WriteTo(w io.Writer) (int64, error) {
	return b.ReadCloser.(io.WriterTo).WriteTo(w)
}

func TestWholeAnswers_AreReadThoughTheSDKHasClosedTheBody(t *testing.T) {
	t.Parallel()
	const content = "a message"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // the client looks at the answer
	}))
	t.Cleanup(server.Close)
	send := func(client aws.HTTPClient) (string, error) {
		request := smithyhttp.NewStackRequest().(*smithyhttp.Request)
		request, err := request.SetStream(bytes.NewReader([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		built := request.Build(t.Context())
		built.Method, built.ContentLength = http.MethodPost, int64(len(content))
		built.URL.Scheme, built.URL.Host = "http", strings.TrimPrefix(server.URL, "http://")
		built.Body = &closing{ReadCloser: built.Body, all: built.ContentLength}
		response, err := client.Do(built)
		if err != nil {
			return "", err
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close() // it is read
		return string(answer), err
	}
	if answer, err := send(awsclient.WholeAnswers(server.Client())); answer != content || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	// The wrapper can go when a release of the SDK makes this loop end at its deadline.
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := send(server.Client()); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error("the SDK's body no longer fails net/http: WholeAnswers has nothing to do")
			break
		}
	}
}
