package stack_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/stack"
)

// cloudFormation answers as CloudFormation does of a stack that cannot be created,
// and takes whatever is stored in S3.
func cloudFormation(w http.ResponseWriter, r *http.Request) {
	const event = `<member><LogicalResourceId>%s</LogicalResourceId><ResourceType>%s</ResourceType><ResourceStatus>%s</ResourceStatus><ResourceStatusReason>%s</ResourceStatusReason></member>`
	action := r.FormValue("Action")
	content := map[string]string{
		"CreateStack":    `<StackId>arn:aws:cloudformation:us-east-1:123456789012:stack/broken/1</StackId>`,
		"DescribeStacks": `<Stacks><member><StackName>broken</StackName><StackStatus>ROLLBACK_COMPLETE</StackStatus></member></Stacks>`,
		"DescribeStackEvents": `<StackEvents>` + fmt.Sprintf(event, "broken", "AWS::CloudFormation::Stack", "ROLLBACK_COMPLETE", "") +
			fmt.Sprintf(event, "SweepFunction", "AWS::Lambda::Function", "CREATE_FAILED", "Resource creation cancelled") +
			fmt.Sprintf(event, "EventBus", "AWS::Events::EventBus", "CREATE_FAILED", "Event bus broken-lifecycle already exists.") + `</StackEvents>`,
	}[action]
	if action != "" {
		fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, content)
	}
}

func TestDeploy_ReportsTheStackEventsIfItFails(t *testing.T) {
	t.Parallel()
	emulator := httptest.NewServer(http.HandlerFunc(cloudFormation))
	t.Cleanup(emulator.Close)
	_, err := stack.Deploy(t.Context(), moto.Python(), emulator.URL, "../../../template.yaml", "broken", map[string]string{})
	if err == nil {
		t.Fatal("a stack that failed counts as deployed")
	}
	told := err.Error()
	first := strings.Index(told, "EventBus (AWS::Events::EventBus): Event bus broken-lifecycle already exists.")
	second := strings.Index(told, "SweepFunction (AWS::Lambda::Function): Resource creation cancelled")
	if first < 0 || second < first || strings.Contains(told, "Traceback") {
		t.Errorf("got %s", told)
	}
}
