package stack_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/stack"
)

// The tests in this file judge the template as AWS does, which emulators do not.

const template = "../../../template.yaml"

// stackName has the longest length for which the template promises to work.
var stackName = strings.Repeat("s", 40)

const alarmTopic = "arn:aws:sns:us-east-1:123456789012:alarms"

// deployments are the parameters under which the tests look at the template.
var deployments = sync.OnceValues(func() (map[string]map[string]stack.Resource, error) {
	parameters := map[string]map[string]string{
		"new account": {"DispatchConcurrency": "0"},
		"options": {
			"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1", "AwsEndpointUrl": "http://127.0.0.1:1", "AlarmTopic": alarmTopic,
		},
	}
	stages, err := samStages()
	if err != nil {
		return nil, err
	}
	maps.Copy(parameters, stages)
	names := slices.Sorted(maps.Keys(parameters))
	var sets []map[string]string
	for _, name := range names {
		sets = append(sets, parameters[name])
	}
	all, err := stack.Resources(context.Background(), moto.Python(), template, stackName, sets...)
	if err != nil {
		return nil, err
	}
	deployments := map[string]map[string]stack.Resource{}
	for i, name := range names {
		deployments[name] = all[i]
	}
	return deployments, nil
})

// samStages returns the parameters of the stages that samconfig.toml describes.
func samStages() (map[string]map[string]string, error) {
	text, err := os.ReadFile("../../../samconfig.toml")
	if err != nil {
		return nil, err
	}
	stages := map[string]map[string]string{}
	for _, match := range regexp.MustCompile(`\[(\w+)\.global\.parameters\]\nstack_name = .*\nparameter_overrides = "(.*)"`).FindAllStringSubmatch(string(text), -1) {
		stages[match[1]] = map[string]string{}
		for parameter := range strings.FieldsSeq(match[2]) {
			name, value, _ := strings.Cut(parameter, "=")
			stages[match[1]][name] = value
		}
	}
	if len(stages) != 3 {
		return nil, fmt.Errorf("samconfig.toml has the stages %v, want three", stages)
	}
	return stages, nil
}

// deployment returns the resources of a deployment.
func deployment(t *testing.T, name string) map[string]stack.Resource {
	t.Helper()
	all, err := deployments()
	if err != nil {
		t.Fatal(err)
	}
	resources, ok := all[name]
	if !ok {
		t.Fatalf("there is no deployment %s", name)
	}
	return resources
}

// ofType returns the resources of a type.
func ofType(resources map[string]stack.Resource, kind string) map[string]stack.Resource {
	some := maps.Clone(resources)
	maps.DeleteFunc(some, func(_ string, r stack.Resource) bool { return r.Type != kind })
	return some
}

// reserved returns the concurrent executions that the functions of a deployment reserve.
func reserved(t *testing.T, resources map[string]stack.Resource) (sum int) {
	t.Helper()
	for name, function := range ofType(resources, "AWS::Lambda::Function") {
		switch reserves := function.Properties["ReservedConcurrentExecutions"].(type) {
		case nil:
		case float64:
			sum += int(reserves)
		case string:
			count, err := strconv.Atoi(reserves)
			if err != nil {
				t.Fatalf("%s reserves %q", name, reserves)
			}
			sum += count
		default:
			t.Fatalf("%s reserves %v", name, reserves)
		}
	}
	return sum
}

// Lambda refuses to reserve the last 100 of an account's concurrent executions.
// Source: Lambda Developer Guide, "Configuring reserved concurrency for a function".
const unreservable = 100

func TestTemplate_ReservationsOfThreeStagesFitOneAccount(t *testing.T) {
	t.Parallel()
	const account = 1000 // Source: Lambda Developer Guide, "Lambda quotas"
	sum := 0
	for _, stage := range []string{"dev", "staging", "prod"} {
		sum += reserved(t, deployment(t, stage))
	}
	if sum == 0 || sum > account-unreservable {
		t.Errorf("dev, staging and prod reserve %d of %d concurrent executions, and %d must stay", sum, account, unreservable)
	}
}

// New accounts may have 10 concurrent executions, of which nothing can be reserved.
// Source: Lambda Developer Guide, "Lambda quotas".
func TestTemplate_ReservesNothingInANewAccount(t *testing.T) {
	t.Parallel()
	if sum := reserved(t, deployment(t, "new account")); sum > 0 {
		t.Errorf("DispatchConcurrency=0 reserves %d concurrent executions", sum)
	}
}

func TestTemplate_NamesFitAndDifferBetweenStacks(t *testing.T) {
	t.Parallel()
	// Log groups and event buses may have longer names than the others.
	// Source: API references of CreateLogGroup and CreateEventBus.
	longest := map[string]int{"AWS::Logs::LogGroup": 512, "AWS::Events::EventBus": 256, "AWS::CloudWatch::Dashboard": 255}
	named := 0
	for logicalID, resource := range deployment(t, "prod") {
		for property, value := range resource.Properties {
			name, explicit := value.(string)
			if !explicit || !strings.HasSuffix(property, "Name") {
				continue
			}
			named++
			limit, ok := longest[resource.Type]
			if !ok {
				limit = 64
			}
			if len(name) > limit {
				t.Errorf("the %s of %s has %d characters: %s", property, logicalID, len(name), name)
			}
			part := resource.Type == "AWS::IAM::Policy" || resource.Type == "AWS::ApiGatewayV2::Stage" // a name within another resource
			if !part && property != "MetricName" && !strings.Contains(name, stackName) {
				t.Errorf("the %s of %s is the same in all stacks: %s", property, logicalID, name)
			}
		}
	}
	if named == 0 {
		t.Error("no resource has a name")
	}
}

// walk visits the objects within a part of the template.
func walk(node any, visit func(map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		visit(node)
		for _, content := range node {
			walk(content, visit)
		}
	case []any:
		for _, content := range node {
			walk(content, visit)
		}
	}
}

// reference returns the resource that a Ref or Fn::GetAtt names as the template writes it
// within Fn::Sub: ${Queue} or ${Queue.Arn}. It returns other strings as they are.
func reference(node any) string {
	switch node := node.(type) {
	case string:
		return node
	case map[string]any:
		if name, ok := node["Ref"].(string); ok {
			return "${" + name + "}"
		}
		if attribute, ok := node["Fn::GetAtt"].([]any); ok && len(attribute) == 2 {
			return fmt.Sprintf("${%s.%s}", attribute[0], attribute[1])
		}
	}
	return ""
}

// logicalID returns the logical ID in the result of reference.
func logicalID(reference string) string {
	name, _, _ := strings.Cut(strings.Trim(reference, "${}"), ".")
	return name
}

// A function that a schedule, an event or another function invokes is invoked
// asynchronously, for which Lambda has defaults: two retries, for up to six hours.
// Source: Lambda Developer Guide, "How Lambda handles errors and retries with
// asynchronous invocation".
func TestTemplate_AsynchronousFunctionsSayTheirRetriesAndAge(t *testing.T) {
	t.Parallel()
	resources := deployment(t, "prod")
	invoked := map[string]bool{}
	for _, resource := range resources {
		switch resource.Type {
		case "AWS::Scheduler::Schedule":
			invoked[logicalID(reference(resource.Properties["Target"].(map[string]any)["Arn"]))] = true
		case "AWS::Lambda::Permission":
			if resource.Properties["Principal"] != "apigateway.amazonaws.com" {
				invoked[logicalID(reference(resource.Properties["FunctionName"]))] = true
			}
		}
		walk(resource.Properties, func(statement map[string]any) {
			if statement["Effect"] != "Allow" || !slices.Contains(list(statement["Action"]), any("lambda:InvokeFunction")) {
				return
			}
			for _, function := range list(statement["Resource"]) {
				invoked[logicalID(reference(function))] = true
			}
		})
	}
	for _, config := range ofType(resources, "AWS::Lambda::EventInvokeConfig") {
		if config.Properties["MaximumRetryAttempts"] != nil && config.Properties["MaximumEventAgeInSeconds"] != nil {
			delete(invoked, logicalID(reference(config.Properties["FunctionName"])))
		}
	}
	for function := range invoked {
		t.Errorf("%q is invoked asynchronously, and says no retries or no age", function)
	}
}

// list returns the elements of a list, or the node as its only element.
func list(node any) []any {
	if elements, ok := node.([]any); ok {
		return elements
	}
	return []any{node}
}

// Without bisection, one record that fails takes its batch with it; without a
// destination, nobody knows.
// Source: Lambda Developer Guide, "Retaining discarded batch records".
func TestTemplate_StreamMappingsBisectAndHaveADestination(t *testing.T) {
	t.Parallel()
	streams := 0
	for name, mapping := range ofType(deployment(t, "prod"), "AWS::Lambda::EventSourceMapping") {
		if !strings.HasSuffix(reference(mapping.Properties["EventSourceArn"]), ".StreamArn}") {
			continue
		}
		streams++
		if mapping.Properties["BisectBatchOnFunctionError"] != true || mapping.Properties["MaximumRetryAttempts"] == nil {
			t.Errorf("%s does not bisect, or retries without end", name)
		}
		destination := ""
		walk(mapping.Properties["DestinationConfig"], func(node map[string]any) {
			if failed, ok := node["OnFailure"].(map[string]any); ok {
				destination = reference(failed["Destination"])
			}
		})
		if destination == "" {
			t.Errorf("%s has no destination for what fails", name)
		}
	}
	if streams < 3 {
		t.Errorf("there are %d mappings of streams", streams)
	}
}

// A deployment that fails at its first try must leave nothing behind, a deployed stack
// that is deleted must leave its data.
// Source: CloudFormation User Guide, "DeletionPolicy attribute".
func TestTemplate_RetainsDataExceptOnCreate(t *testing.T) {
	t.Parallel()
	for name, resource := range deployment(t, "prod") {
		derived := name == "CountsTable" || name == "SnapshotsTable"
		data := resource.Type == "AWS::DynamoDB::Table" && !derived || resource.Type == "AWS::KMS::Key"
		if want := "RetainExceptOnCreate"; data && resource.DeletionPolicy != want || !data && strings.HasPrefix(resource.DeletionPolicy, "Retain") {
			t.Errorf("%s has the deletion policy %q", name, resource.DeletionPolicy)
		}
	}
}

func TestTemplate_CallsContainersFromAVPCIfOneIsGiven(t *testing.T) {
	t.Parallel()
	without := deployment(t, "prod")
	for name, function := range ofType(deployment(t, "options"), "AWS::Lambda::Function") {
		environment := function.Properties["Environment"].(map[string]any)["Variables"].(map[string]any)
		_, calls := environment["ALLOW_PRIVATE_ENDPOINTS"]
		vpc, ok := function.Properties["VpcConfig"].(map[string]any)
		if ok != calls {
			t.Errorf("%s calls containers: %t, is in a VPC: %t", name, calls, ok)
		}
		if without[name].Properties["VpcConfig"] != nil {
			t.Errorf("%s is in a VPC without subnets", name)
		}
		if !ok {
			continue
		}
		if subnets := list(vpc["SubnetIds"]); len(subnets) != 2 || subnets[1] != "subnet-2" || len(list(vpc["SecurityGroupIds"])) != 1 {
			t.Errorf("%s has the VPC %v", name, vpc)
		}
		role := without[logicalID(reference(function.Properties["Role"]))]
		if !slices.ContainsFunc(list(role.Properties["ManagedPolicyArns"]), func(of any) bool { return logicalID(reference(of)) == "NetworkPolicy" }) {
			t.Errorf("the code of %s may use its role's permission on network interfaces", name)
		}
	}
}
