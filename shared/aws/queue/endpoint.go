package queue

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Home is the AWS account and region of the deployment.
type Home struct {
	Region, Account string
	// Emulator is the endpoint of the AWS emulator that the deployment runs on. It is
	// empty on AWS.
	Emulator string
}

// HomeOf returns the home of a resource by the resource's ARN.
func HomeOf(text, emulator string) (Home, error) {
	parsed, err := arn.Parse(text)
	return Home{Region: parsed.Region, Account: parsed.AccountID, Emulator: emulator}, err
}

// awsHost matches the names of SQS's endpoints: the regional, dual-stack, FIPS and legacy
// names (AWS General Reference, "Amazon SQS endpoints and quotas"). Only AWS can answer
// under these names, so an ARN in their answers is authentic.
var awsHost = regexp.MustCompile(`^(?:` +
	`sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws|api\.amazonwebservices\.com\.cn)` +
	`|(?P<legacy>[a-z]{2}(?:-[a-z]+)+-\d)\.queue\.amazonaws\.com(?:\.cn)?` +
	`|(?:sqs|queue)\.amazonaws\.com)$`)

// legacyRegion is the region of endpoints without a region in their name.
const legacyRegion = "us-east-1"

// awsRegion returns the region of an AWS endpoint or queue URL. It returns false if the
// host is not one of SQS's.
func awsRegion(address *url.URL) (region string, ok bool) {
	found := awsHost.FindStringSubmatch(strings.ToLower(address.Hostname()))
	switch {
	case found == nil || address.Port() != "" && address.Port() != "443":
		return "", false
	case found[1] != "":
		return found[1], true
	case found[2] != "":
		return found[2], true
	}
	return legacyRegion, true
}

// URLOf returns the URL of a queue on AWS by the queue's ARN.
func URLOf(queueARN string) (string, error) {
	parsed, err := arn.Parse(queueARN)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", queueARN, err)
	}
	domain := "amazonaws.com"
	if parsed.Partition == "aws-cn" {
		domain += ".cn"
	}
	return "https://sqs." + parsed.Region + "." + domain + "/" + parsed.AccountID + "/" + parsed.Resource, nil
}

// emulated reports whether an address is the emulator's, under any name of this machine.
func (h Home) emulated(address *url.URL) bool {
	if h.Emulator == "" {
		return false
	}
	emulator, err := url.Parse(h.Emulator)
	if err != nil || address.Port() != emulator.Port() {
		return false
	}
	return strings.EqualFold(address.Hostname(), emulator.Hostname()) || local(address.Hostname()) && local(emulator.Hostname())
}

// local reports whether a name is one of this machine's. LocalStack's queue URLs have
// names of its own that resolve to this machine.
func local(host string) bool {
	host = strings.ToLower(host)
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost.localstack.cloud") || host == "localhost.localstack.cloud" ||
		ip != nil && ip.IsLoopback()
}
