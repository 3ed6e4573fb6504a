// Package awserr classifies the errors of AWS calls by the reaction that they need.
package awserr

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func hasCode(err error, codes ...string) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		// SQS prefixes its codes with "AWS.SimpleQueueService.".
		if apiErr.ErrorCode() == code || strings.HasSuffix(apiErr.ErrorCode(), "."+code) {
			return true
		}
	}
	return false
}

// NotFound reports whether a call failed because its resource does not exist.
func NotFound(err error) bool {
	return hasCode(err, "ResourceNotFoundException", "NotFoundException")
}

// Denied reports whether IAM refused a call.
func Denied(err error) bool { return hasCode(err, "AccessDeniedException") }

// AlreadyExists reports whether a call failed because the resource that it creates exists.
func AlreadyExists(err error) bool {
	return hasCode(err, "ConflictException", "ResourceConflictException", "ResourceAlreadyExistsException")
}

// Throttled reports whether AWS refused a call because there were too many in a short time.
func Throttled(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err).Bool()
}

// Reason returns the service's message for a call that it refused, without the details of
// the request. It returns the text of any other error.
func Reason(err error) string {
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		return apiErr.ErrorMessage()
	}
	return err.Error()
}

// Transient reports whether the same call may succeed later. It does so if the call was
// throttled, timed out, or conflicted with another write, or if the service or the network
// failed. AWS would refuse a call again if it refused it for any other reason.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	if Throttled(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	if hasCode(err, "TransactionConflictException", "TransactionInProgressException", "TransactionCanceledException", "ConflictException", "InternalServerException", "InternalException") {
		return true
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && response.HTTPStatusCode() >= http.StatusInternalServerError {
		return true
	}
	if _, ok := errors.AsType[smithy.APIError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return true // the connection broke before the answer was complete
	}
	_, network := errors.AsType[net.Error](err)
	return network
}
