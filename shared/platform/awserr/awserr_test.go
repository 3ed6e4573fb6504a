package awserr_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"containertriggers/shared/platform/awserr"
)

// api returns an error as an AWS service answers it, wrapped as a caller does.
func api(code string) error {
	return fmt.Errorf("describing: %w", &smithy.OperationError{
		ServiceID: "S", OperationName: "O", Err: answered(http.StatusBadRequest, &smithy.GenericAPIError{Code: code, Message: "said " + code}),
	})
}

func answered(status int, err error) error {
	return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}
}

func TestErrors_AreClassified(t *testing.T) {
	t.Parallel()
	type sorted struct{ notFound, alreadyExists, throttled, transient bool }
	for name, test := range map[string]struct {
		err  error
		want sorted
	}{
		"none":    {nil, sorted{}},
		"another": {errors.New("x"), sorted{}},

		"ResourceNotFoundException of most services": {api("ResourceNotFoundException"), sorted{notFound: true}},
		"NotFoundException of KMS":                   {api("NotFoundException"), sorted{notFound: true}},
		"a code with SQS's prefix":                   {api("AWS.SimpleQueueService.NotFoundException"), sorted{notFound: true}},
		"a code that only ends alike":                {api("XNotFoundException"), sorted{}},

		"ResourceConflictException of Lambda":                  {api("ResourceConflictException"), sorted{alreadyExists: true}},
		"ResourceAlreadyExistsException of EventBridge":        {api("ResourceAlreadyExistsException"), sorted{alreadyExists: true}},
		"ConflictException, of Scheduler for what also passes": {api("ConflictException"), sorted{alreadyExists: true, transient: true}},

		"ThrottlingException":                    {api("ThrottlingException"), sorted{throttled: true, transient: true}},
		"ProvisionedThroughputExceededException": {api("ProvisionedThroughputExceededException"), sorted{throttled: true, transient: true}},
		"TooManyRequestsException":               {api("TooManyRequestsException"), sorted{throttled: true, transient: true}},

		"TransactionConflictException":   {api("TransactionConflictException"), sorted{transient: true}},
		"TransactionInProgressException": {api("TransactionInProgressException"), sorted{throttled: true, transient: true}},
		"TransactionCanceledException":   {api("TransactionCanceledException"), sorted{transient: true}},
		"InternalServerException":        {api("InternalServerException"), sorted{transient: true}},
		"InternalException":              {api("InternalException"), sorted{transient: true}},
		"a 500 with a code of its own":   {answered(http.StatusInternalServerError, &smithy.GenericAPIError{Code: "Odd"}), sorted{transient: true}},
		"a 503 without a code":           {answered(http.StatusServiceUnavailable, errors.New("no JSON")), sorted{transient: true}},
		"a 400 with a code of its own":   {api("Odd"), sorted{}},
		"AccessDeniedException":          {api("AccessDeniedException"), sorted{}},
		"ValidationException":            {api("ValidationException"), sorted{}},

		"the end of the time":      {fmt.Errorf("reading: %w", context.DeadlineExceeded), sorted{transient: true}},
		"a canceled call":          {fmt.Errorf("reading: %w", context.Canceled), sorted{transient: true}},
		"a request that broke off": {&smithyhttp.RequestSendError{Err: errors.New("broken pipe")}, sorted{transient: true}},
		"a raw network error": {fmt.Errorf("reading: %w", &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errors.New("reset"))}),
			sorted{transient: true}},
		"a name that does not resolve": {fmt.Errorf("reading: %w", &net.DNSError{Err: "no such host", Name: "e", IsNotFound: true}), sorted{transient: true}},
	} {
		got := sorted{awserr.NotFound(test.err), awserr.AlreadyExists(test.err), awserr.Throttled(test.err), awserr.Transient(test.err)}
		if got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

// What the SDK makes of a connection that breaks differs by the moment: before the
// request is sent, before an answer comes, within the answer.
func TestTransient_IncludesBrokenConnections(t *testing.T) {
	t.Parallel()
	hijacked := func(answer string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, answer)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, endpoint := range map[string]string{
		"nobody listens":        "http://127.0.0.1:1",
		"no answer comes":       hijacked(""),
		"the headers break off": hijacked("HTTP/1.1 200 OK\r\nContent-"),
		"the body breaks off":   hijacked("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"TableNames\":["),
		"no body comes":         hijacked("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
		"a piece breaks off":    hijacked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"),
	} {
		client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}})
		_, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
		if !awserr.Transient(err) {
			t.Errorf("%s: %v is not transient", name, err)
		}
	}
}

func TestReason_IsTheMessageOfTheService(t *testing.T) {
	t.Parallel()
	if got := awserr.Reason(api("AccessDeniedException")); got != "said AccessDeniedException" {
		t.Errorf("got %s", got)
	}
	if got := awserr.Reason(errors.New("no answer")); got != "no answer" {
		t.Errorf("got %s", got)
	}
}
