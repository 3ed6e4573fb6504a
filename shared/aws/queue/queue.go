// Package queue describes SQS queues, and verifies that a trigger's key may use a queue.
//
// It reads a queue with the trigger's own key at the endpoint that the trigger names, so
// that no trigger reaches a queue that its owner cannot read. It trusts an answer only if
// AWS itself, or the deployment's emulator, answers under that endpoint.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awsclient"
	"containertriggers/shared/platform/awserr"
)

// Queue describes a queue.
type Queue struct {
	// ARN is empty if the queue is neither on AWS nor on the emulator.
	ARN string
	URL string
	// VisibilityTimeout is how long a received message stays hidden.
	VisibilityTimeout time.Duration
	// MaxReceives is how often a message is received before SQS moves it to the
	// dead-letter queue. It is 0 if the queue has no redrive policy.
	MaxReceives int
	FIFO        bool
}

// The timeouts of the two functions in template.yaml that dispatch mapped queues. Lambda
// refuses a mapping if the queue's visibility timeout is shorter than the function's.
const (
	ShortRun = 30 * time.Second
	LongRun  = 900 * time.Second
)

// Problem says why a queue cannot be used, in terms of the trigger's config. Only the
// trigger's owner can repair it. It holds no secret.
type Problem struct{ Message string }

func (p *Problem) Error() string { return p.Message }

func problemf(format string, args ...any) error {
	return &Problem{fmt.Sprintf(format, args...)}
}

// ErrForeign is the error for a queue outside the deployment's account and region, or
// under an endpoint that is neither AWS's nor the emulator's. It is joined with a
// *[Problem] that says which.
var ErrForeign = errors.New("the queue is not in the deployment's account and region")

func foreign(format string, args ...any) error {
	return errors.Join(ErrForeign, problemf(format, args...))
}

// attemptTimeout limits one attempt at reading a queue.
const attemptTimeout = 5 * time.Second

// Describe reads a trigger's queue with the trigger's key, which must be allowed to read
// the queue's attributes and to delete its messages. It returns ErrForeign if the queue is
// not in the home, and sends nothing to a foreign endpoint. It returns a *[Problem] if the
// owner must repair something. Any other error may not recur.
func (h Home) Describe(ctx context.Context, config trigger.SQS, key secret.Text) (Queue, error) {
	region, err := h.region(config)
	if err != nil {
		return Queue{}, err
	}
	client := NewClient(config, key, region, awshttp.NewBuildableClient().WithTimeout(attemptTimeout))
	answer, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &config.QueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return Queue{}, Explain(err, config, "sqs:GetQueueAttributes")
	}
	found, err := read(config.QueueURL, answer.Attributes)
	if err != nil {
		return Queue{}, err
	}
	place, err := arn.Parse(found.ARN)
	switch {
	case err != nil || place.Resource != name(config.QueueURL):
		return Queue{}, problemf("sqs_config.endpoint answers for another queue than the one in sqs_config.queue_url")
	case place.AccountID != h.Account:
		return found, foreign("the queue is in another AWS account (%s)", place.AccountID)
	case place.Region != h.Region:
		return found, foreign("the queue is in another AWS region (%s)", place.Region)
	}
	return found, mayDelete(ctx, client, config)
}

// mayDelete returns nil if the key may delete the queue's messages. The service receives
// and deletes messages with rights of its own, so a key that may only read attributes
// must not be enough. No message has the receipt handle that mayDelete sends; AWS checks
// permissions first.
func mayDelete(ctx context.Context, client *sqs.Client, config trigger.SQS) error {
	_, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &config.QueueURL, ReceiptHandle: aws.String("may-I")})
	if refusal, ok := errors.AsType[smithy.APIError](err); ok {
		switch code := refusal.ErrorCode(); code[strings.LastIndex(code, ".")+1:] {
		case "ReceiptHandleIsInvalid", "InvalidParameterValue", "InvalidParameterValueException":
			return nil
		}
	}
	if err != nil {
		return Explain(err, config, "sqs:DeleteMessage")
	}
	return nil
}

// NewClient returns an SQS client for a trigger's endpoint and key.
func NewClient(config trigger.SQS, key secret.Text, region string, client sqs.HTTPClient) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: &config.Endpoint, HTTPClient: awsclient.WholeAnswers(client),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: config.AccessKeyID, SecretAccessKey: string(key)}, nil
		}),
	})
}

// SigningRegion returns the region for which requests to a trigger's queue are signed.
// It is AWS's region if the endpoint is AWS's, and the config's otherwise.
func (h Home) SigningRegion(config trigger.SQS) string {
	endpoint, err := url.Parse(config.Endpoint)
	if err != nil {
		return config.Region
	}
	if h.emulated(endpoint) {
		return h.Region
	}
	if region, ok := awsRegion(endpoint); ok {
		return region
	}
	return config.Region
}

// FIFO reports whether the queue of a URL is a FIFO queue.
func FIFO(queueURL string) bool { return strings.HasSuffix(queueURL, ".fifo") }

// region returns the AWS region of a trigger's queue. It returns ErrForeign if the
// endpoint is not AWS's.
func (h Home) region(config trigger.SQS) (string, error) {
	endpoint, err := url.Parse(config.Endpoint)
	if err != nil {
		return "", problemf("sqs_config.endpoint is not a URL")
	}
	queueURL, err := url.Parse(config.QueueURL)
	if err != nil {
		return "", problemf("sqs_config.queue_url is not a URL")
	}
	if h.emulated(endpoint) {
		return h.Region, nil
	}
	region, ok := awsRegion(endpoint)
	if !ok {
		return "", foreign("sqs_config.endpoint (%s) is not an endpoint of AWS", endpoint.Host)
	}
	if endpoint.Scheme != "https" {
		return "", problemf("sqs_config.endpoint must be https:// on AWS")
	}
	of, ok := awsRegion(queueURL)
	switch {
	case !ok:
		return "", problemf("sqs_config.endpoint is an endpoint of AWS, but sqs_config.queue_url is not the URL of a queue on AWS: copy the URL from the SQS console")
	case of != region:
		return "", problemf("sqs_config.queue_url is in the AWS region %s, but sqs_config.endpoint is in %s: both must be in the queue's region", of, region)
	}
	return region, nil
}

// name returns the queue's name, which is the end of its URL.
func name(queueURL string) string { return path.Base(queueURL) }

// read returns the queue that the attributes describe.
func read(queueURL string, attributes map[string]string) (Queue, error) {
	found := Queue{
		ARN: attributes[string(types.QueueAttributeNameQueueArn)], URL: queueURL,
		FIFO: attributes[string(types.QueueAttributeNameFifoQueue)] == "true",
	}
	seconds, err := strconv.Atoi(attributes[string(types.QueueAttributeNameVisibilityTimeout)])
	if err != nil {
		return Queue{}, fmt.Errorf("reading the visibility timeout of %s: %w", found.ARN, err)
	}
	found.VisibilityTimeout = time.Duration(seconds) * time.Second
	if policy := attributes[string(types.QueueAttributeNameRedrivePolicy)]; policy != "" {
		var redrive struct {
			MaxReceiveCount json.Number `json:"maxReceiveCount"` // AWS writes it with or without quotes
		}
		if err := json.Unmarshal([]byte(policy), &redrive); err != nil {
			return Queue{}, fmt.Errorf("reading the redrive policy of %s: %w", found.ARN, err)
		}
		count, err := redrive.MaxReceiveCount.Int64()
		if err != nil {
			return Queue{}, fmt.Errorf("reading the redrive policy of %s: %w", found.ARN, err)
		}
		found.MaxReceives = int(count)
	}
	return found, nil
}

// Explain returns a *[Problem] if the owner must repair the cause of an endpoint's
// refusal. It wraps any other error, which may not recur. The actions are the permissions
// that the key needs.
func Explain(err error, config trigger.SQS, actions string) error {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		return problemf("the host of sqs_config.endpoint does not exist: check its region")
	}
	if awserr.Transient(err) {
		return fmt.Errorf("reading queue %s: %w", config.QueueURL, err)
	}
	refusal, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("reading queue %s: %w", config.QueueURL, err)
	}
	code := refusal.ErrorCode()
	switch code = code[strings.LastIndex(code, ".")+1:]; code {
	case "NonExistentQueue", "QueueDoesNotExist":
		return problemf("there is no queue %q in the region and account of sqs_config.queue_url: create it, or correct the URL (the name of a FIFO queue ends in .fifo)",
			name(config.QueueURL))
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId":
		return problemf("SQS does not know sqs_config.access_key_id: correct it, or activate the key; keys that need a session token do not work")
	case "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature":
		if strings.Contains(refusal.ErrorMessage(), "scoped to") {
			return problemf("sqs_config.endpoint and sqs_config.queue_url are not in the queue's AWS region")
		}
		return problemf("sqs_config.secret_access_key does not belong to sqs_config.access_key_id: set both again")
	case "AccessDenied", "AccessDeniedException", "AuthorizationError":
		return problemf("the key in sqs_config may not use the queue %q, or the queue does not exist: allow the key's user %s on the queue", name(config.QueueURL), actions)
	case "InvalidAddress", "InvalidParameterValue", "InvalidParameterValueException", "ValidationError":
		return problemf("sqs_config.queue_url is not the URL of a queue: copy the URL from the SQS console")
	}
	if code == unnamed {
		return problemf("sqs_config.endpoint does not answer like SQS")
	}
	return problemf("SQS refuses a request for the queue: %s", refusal.ErrorMessage())
}

// unnamed is the SDK's code for a refusal without a code.
const unnamed = "UnknownError"
