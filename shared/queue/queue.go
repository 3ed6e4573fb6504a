// Package queue knows SQS queues: where one is, what it is like, and how to put
// its messages off or delete them.
//
// A queue is looked at with its trigger's own key, at the endpoint that the
// trigger names, so that nobody gets at a queue that he cannot read. What is
// learnt of a queue counts only where AWS itself, or the deployment's emulator,
// answers under that endpoint.
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

	"containertriggers/shared/awserr"
	"containertriggers/shared/secret"
	"containertriggers/shared/trigger"
)

// Queue is what there is to know of a queue before its messages are taken.
type Queue struct {
	// ARN is empty for a queue that neither AWS nor the emulator holds.
	ARN string
	URL string
	// VisibilityTimeout is for how long a message that was received stays hidden.
	VisibilityTimeout time.Duration
	// MaxReceives is how often a message is received before it goes to the
	// queue's dead-letter queue, 0 where there is none.
	MaxReceives int
	FIFO        bool
}

// How long a dispatcher of mapped queues runs at most: the Timeout of the two
// functions in template.yaml. Lambda refuses a mapping on a queue whose visibility
// timeout is shorter than that.
const (
	ShortRun = 30 * time.Second
	LongRun  = 900 * time.Second
)

// Problem is why a queue cannot be used, in the words of the trigger's owner, who
// alone can repair it. It holds no secret.
type Problem struct{ Message string }

func (p *Problem) Error() string { return p.Message }

func problemf(format string, args ...any) error {
	return &Problem{fmt.Sprintf(format, args...)}
}

// ErrElsewhere says that a queue is not one of the deployment's own account and
// region, or that its endpoint is neither AWS's nor the emulator's. With it comes
// the *[Problem] that says which.
var ErrElsewhere = errors.New("the queue is elsewhere")

func elsewhere(format string, args ...any) error {
	return errors.Join(ErrElsewhere, problemf(format, args...))
}

// attemptTimeout bounds one try of a look at a queue.
const attemptTimeout = 5 * time.Second

// Describe looks at a trigger's queue with the trigger's key. [ErrElsewhere]
// where it is not the home's; of a queue under a foreign endpoint nothing is
// asked. The key must be able to read the queue's attributes and to delete its
// messages. A *[Problem] where the owner has to repair something; any other error
// may not come again.
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
		return Queue{}, problemf("sqs_config.endpoint answers for another queue than sqs_config.queue_url names")
	case place.AccountID != h.Account:
		return found, elsewhere("the queue is in another AWS account (%s)", place.AccountID)
	case place.Region != h.Region:
		return found, elsewhere("the queue is in another AWS region (%s)", place.Region)
	}
	return found, mayDelete(ctx, client, config)
}

// mayDelete is nil where the key may delete messages of the queue. The service is
// about to receive and delete them with rights of its own, which somebody who may
// only look at the queue's attributes must not bring about. No message has the
// receipt that is asked about: AWS looks at permissions first.
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

// NewClient makes an SQS client that asks at a trigger's endpoint with its key.
func NewClient(config trigger.SQS, key secret.Text, region string, client sqs.HTTPClient) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: &config.Endpoint, HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: config.AccessKeyID, SecretAccessKey: string(key)}, nil
		}),
	})
}

// SigningRegion is the region that requests to a trigger's queue are signed for:
// AWS's where it is one of AWS, else that of the config.
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

// FIFO says whether the queue of a URL is a FIFO queue.
func FIFO(queueURL string) bool { return strings.HasSuffix(queueURL, ".fifo") }

// region is the AWS region of a trigger's queue that may be the home's.
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
		return "", elsewhere("sqs_config.endpoint (%s) is not one of AWS", endpoint.Host)
	}
	if endpoint.Scheme != "https" {
		return "", problemf("sqs_config.endpoint must be https:// on AWS")
	}
	of, ok := awsRegion(queueURL)
	switch {
	case !ok:
		return "", problemf("sqs_config.queue_url is not a queue of AWS, as sqs_config.endpoint is: take the URL that SQS shows for the queue")
	case of != region:
		return "", problemf("sqs_config.queue_url is in the AWS region %s and sqs_config.endpoint in %s: both must be the queue's", of, region)
	}
	return region, nil
}

// name is the queue's name, which its URL ends with.
func name(queueURL string) string { return path.Base(queueURL) }

// read takes from a queue's attributes what matters here.
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
			MaxReceiveCount json.Number `json:"maxReceiveCount"` // AWS takes and gives it with or without quotes
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

// Explain puts what a queue's endpoint refused into the owner's words, as a
// *[Problem]. What may not come again stays as it is. The actions are those that
// the key needs.
func Explain(err error, config trigger.SQS, actions string) error {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		return problemf("the host of sqs_config.endpoint does not exist: check the region in it")
	}
	if awserr.Transient(err) {
		return fmt.Errorf("asking for %s: %w", config.QueueURL, err)
	}
	refusal, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("asking for %s: %w", config.QueueURL, err)
	}
	code := refusal.ErrorCode()
	switch code = code[strings.LastIndex(code, ".")+1:]; code {
	case "NonExistentQueue", "QueueDoesNotExist":
		return problemf("there is no queue %q in the region and account of sqs_config.queue_url: create it, or correct the URL (the name of a FIFO queue ends in .fifo)",
			name(config.QueueURL))
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId":
		return problemf("SQS does not know sqs_config.access_key_id: correct it, or activate the key; keys that need a session token do not work here")
	case "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature":
		if strings.Contains(refusal.ErrorMessage(), "scoped to") {
			return problemf("sqs_config.endpoint and sqs_config.queue_url are not of the queue's AWS region")
		}
		return problemf("sqs_config.secret_access_key does not belong to sqs_config.access_key_id: give both anew")
	case "AccessDenied", "AccessDeniedException", "AuthorizationError":
		return problemf("the key in sqs_config may not read the queue %q, or there is none of that name: allow its user %s on the queue", name(config.QueueURL), actions)
	case "InvalidAddress", "InvalidParameterValue", "InvalidParameterValueException", "ValidationError":
		return problemf("sqs_config.queue_url is not the URL of a queue: take the one that SQS shows for it")
	}
	if code == unnamed {
		return problemf("sqs_config.endpoint does not answer as SQS does")
	}
	return problemf("SQS refuses to read the queue: %s", refusal.ErrorMessage())
}

// unnamed is the SDK's code for a refusal that comes without one.
const unnamed = "UnknownError"
