// Package awserr sorts the errors of AWS calls by what a caller can do about
// them.
package awserr

import (
	"context"
	"errors"
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

// NotFound says that what the call was about does not exist.
func NotFound(err error) bool {
	return hasCode(err, "ResourceNotFoundException", "NotFoundException")
}

// AlreadyExists says that what the call was to make is there.
func AlreadyExists(err error) bool {
	return hasCode(err, "ConflictException", "ResourceConflictException", "ResourceAlreadyExistsException")
}

// Throttled says that the call came too fast after others.
func Throttled(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err).Bool()
}

// Reason is what a service said of a refused call, without the request's
// particulars; for any other error it is the error's text.
func Reason(err error) string {
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		return apiErr.ErrorMessage()
	}
	return err.Error()
}

// Transient says that the same call may well succeed later: it was throttled,
// timed out, met another write, or the service failed. What AWS refuses for any
// other reason it will refuse again.
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
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	return network
}
