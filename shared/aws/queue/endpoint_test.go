package queue

import (
	"errors"
	"net/url"
	"testing"

	"containertriggers/shared/domain/trigger"
)

func TestAWSRegion_RecognizesOnlyEndpointsOfAWS(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://sqs.eu-west-3.amazonaws.com":               "eu-west-3",
		"https://SQS.EU-West-3.amazonaws.com:443/":          "eu-west-3",
		"https://sqs-fips.us-gov-west-1.amazonaws.com":      "us-gov-west-1",
		"https://sqs.cn-north-1.amazonaws.com.cn":           "cn-north-1",
		"https://sqs.ap-southeast-2.api.aws":                "ap-southeast-2",
		"https://eu-central-1.queue.amazonaws.com/1/q":      "eu-central-1",
		"https://queue.amazonaws.com/123456789012/q":        "us-east-1",
		"https://sqs.eu-west-3.amazonaws.com.evil.example":  "",
		"https://evil-sqs.eu-west-3.amazonaws.com":          "",
		"https://x.sqs.eu-west-3.amazonaws.com":             "",
		"https://sqs.eu-west-3.amazonaws.com@evil.example":  "",
		"https://evil.example/sqs.eu-west-3.amazonaws.com":  "",
		"https://evil.example#sqs.eu-west-3.amazonaws.com":  "",
		"https://sqs.eu-west-3.amazonaws.com:8443":          "",
		"https://sqs.eu-west-3.amazonaws.com.":              "",
		"https://sqs.eu-west-3.amazonaws.co":                "",
		"https://sqs.eu-west-3xamazonaws.com":               "",
		"https://bucket.s3.eu-west-3.amazonaws.com":         "",
		"https://sqs.example.com":                           "",
		"https://vpce-1.sqs.eu-west-3.vpce.amazonaws.com/q": "",
	} {
		parsed, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := awsRegion(parsed); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t", address, got, ok)
		}
	}
}

func TestEmulated_RecognizesEveryNameOfThisMachine(t *testing.T) {
	t.Parallel()
	home := Home{Region: "us-east-1", Account: "123456789012", Emulator: "http://127.0.0.1:4566"}
	for address, want := range map[string]bool{
		"http://127.0.0.1:4566":                                      true,
		"http://localhost:4566/123456789012/q":                       true,
		"http://[::1]:4566":                                          true,
		"http://sqs.us-east-1.localhost.localstack.cloud:4566/000/q": true,
		"http://127.0.0.1:4567":                                      false,
		"http://127.0.0.1":                                           false,
		"http://192.168.1.1:4566":                                    false,
		"http://localhost.example.com:4566":                          false,
	} {
		parsed, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := home.emulated(parsed); got != want {
			t.Errorf("%s: got %t", address, got)
		}
		if (Home{}).emulated(parsed) {
			t.Errorf("%s counts as the emulator's on AWS", address)
		}
	}
}

func TestRegion_EndpointAndQueueURLMustAgree(t *testing.T) {
	t.Parallel()
	const queueURL = "https://sqs.eu-west-3.amazonaws.com/123456789012/q"
	home := Home{Region: "eu-west-3", Account: "123456789012"}
	for name, test := range map[string]struct {
		endpoint, queueURL, region, problem string
		elsewhere                           bool
	}{
		"they do":               {"https://sqs.eu-west-3.amazonaws.com", queueURL, "eu-west-3", "", false},
		"a legacy queue URL":    {"https://sqs.eu-west-3.amazonaws.com", "https://eu-west-3.queue.amazonaws.com/1/q", "eu-west-3", "", false},
		"other regions":         {"https://sqs.eu-west-1.amazonaws.com", queueURL, "", "sqs_config.queue_url is in the AWS region eu-west-3, but sqs_config.endpoint is in eu-west-1: both must be in the queue's region", false},
		"in the clear":          {"http://sqs.eu-west-3.amazonaws.com", queueURL, "", "sqs_config.endpoint must be https:// on AWS", false},
		"a queue of no AWS":     {"https://sqs.eu-west-3.amazonaws.com", "https://q.example/1/q", "", "sqs_config.endpoint is an endpoint of AWS, but sqs_config.queue_url is not the URL of a queue on AWS: copy the URL from the SQS console", false},
		"an endpoint elsewhere": {"https://sqs.mnq.fr-par.scaleway.com", "https://sqs.mnq.fr-par.scaleway.com/project/q", "", "sqs_config.endpoint (sqs.mnq.fr-par.scaleway.com) is not an endpoint of AWS", true},
		"a liar":                {"https://sqs.eu-west-3.amazonaws.com.evil.example", queueURL, "", "sqs_config.endpoint (sqs.eu-west-3.amazonaws.com.evil.example) is not an endpoint of AWS", true},
	} {
		region, err := home.region(trigger.SQS{Endpoint: test.endpoint, QueueURL: test.queueURL})
		got := ""
		if problem, ok := errors.AsType[*Problem](err); ok {
			got = problem.Message
		}
		if region != test.region || got != test.problem || errors.Is(err, ErrForeign) != test.elsewhere {
			t.Errorf("%s: got %q, %v", name, region, err)
		}
	}
}

func TestURLOf_IsTheQueuesOnAWS(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		"arn:aws:sqs:eu-west-3:123456789012:orders":          "https://sqs.eu-west-3.amazonaws.com/123456789012/orders",
		"arn:aws-cn:sqs:cn-north-1:123456789012:orders.fifo": "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders.fifo",
	} {
		if got, err := URLOf(arn); err != nil || got != want {
			t.Errorf("%s: got %s, %v", arn, got, err)
		}
	}
	if got, err := URLOf("orders"); err == nil {
		t.Errorf("got %s", got)
	}
}
