package queue

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Home is the AWS account and region that the deployment is in.
type Home struct {
	Region, Account string
	// Emulator is the endpoint of an AWS emulator that the deployment runs on,
	// empty on AWS.
	Emulator string
}

// HomeOf reads the home from the ARN of anything in it.
func HomeOf(text, emulator string) (Home, error) {
	parsed, err := arn.Parse(text)
	return Home{Region: parsed.Region, Account: parsed.AccountID, Emulator: emulator}, err
}

// awsHost are the names of SQS's endpoints: the usual, dual-stack, FIPS and
// legacy ones (AWS General Reference, "Amazon SQS endpoints and quotas"). Only
// AWS can answer under them, so what is said there of an ARN is true.
var awsHost = regexp.MustCompile(`^(?:` +
	`sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws|api\.amazonwebservices\.com\.cn)` +
	`|(?P<legacy>[a-z]{2}(?:-[a-z]+)+-\d)\.queue\.amazonaws\.com(?:\.cn)?` +
	`|(?:sqs|queue)\.amazonaws\.com)$`)

// legacyRegion is where the endpoints without a region lead.
const legacyRegion = "us-east-1"

// awsRegion is the region of an AWS endpoint or queue URL; false where the host
// is not SQS's.
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

// emulated says whether an address is the emulator's, under whatever name of
// this machine.
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

// local says whether a name is one of this machine's; LocalStack hands out queue
// URLs under names of its own that lead here.
func local(host string) bool {
	host = strings.ToLower(host)
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost.localstack.cloud") || host == "localhost.localstack.cloud" ||
		ip != nil && ip.IsLoopback()
}
