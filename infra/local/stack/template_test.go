package stack_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/infra/local/moto/mototest"
)

// What a function's environment may hold are names, ARNs and settings. The check
// is by name, so that whoever adds a variable thinks of it here.
func TestNoSecretIsInAnEnvironment(t *testing.T) {
	t.Parallel()
	mototest.Environment(t, "sweep") // deploys
	client := lambda.NewFromConfig(mototest.Config(t))
	known := regexp.MustCompile(`_(TABLE|ARN|ID|URL)$|^(REGIONS|ALLOW_(HTTP|PRIVATE)_ENDPOINTS|EVENT_BUS|SCHEDULE_GROUP|STACK|MAX_DELIVERIES|QUEUE_CONCURRENCY|RELAY_(SHARDS|CONCURRENCY)|TRIGGERS_PER_(CONTAINER|ORGANIZATION)|API_(RATE|BURST))$`)
	functions := 0
	for pages := lambda.NewListFunctionsPaginator(client, &lambda.ListFunctionsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Functions {
			functions++
			for name, value := range f.Environment.Variables {
				if !known.MatchString(name) {
					t.Errorf("%s has the variable %s=%s", *f.FunctionName, name, value)
				}
			}
		}
	}
	if functions < 16 {
		t.Errorf("there are %d functions", functions)
	}
}

// Every role names its actions; "*" is left to what knows no narrower resource.
func TestNoRoleMayDoEverything(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wide := regexp.MustCompile(`Action: *(\[?"?\*|.*(dynamodb|lambda|scheduler|events|iam|s3|logs):\*)`)
	if found := wide.Find(text); found != nil {
		t.Errorf("found %s", found)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) != `Resource: "*"` {
			continue
		}
		around := strings.Join(lines[max(0, i-5):min(len(lines), i+4)], "\n")
		if !regexp.MustCompile(`List(EventSourceMappings|Schedules)|ArnEquals|kms:\*|SecureTransport`).MatchString(around) {
			t.Errorf("line %d: a resource that is everything:\n%s", i+1, around)
		}
	}
}
