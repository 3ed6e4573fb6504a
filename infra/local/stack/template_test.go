package stack_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/role"
	"containertriggers/infra/local/stack"
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

// What a function that was broken into could do is what its role allows: these are
// promises of SECURITY.md.
func TestNoRoleAllowsWhatItsFunctionMustNotDo(t *testing.T) {
	t.Parallel()
	env := mototest.Environment(t, "reconcile")
	home := "arn:aws:sqs:us-east-1:123456789012:"
	dead := home + env["SCHEDULE_DLQ_ARN"][strings.LastIndex(env["SCHEDULE_DLQ_ARN"], ":")+1:]
	on := func(resource string) map[string][]string {
		return map[string][]string{"kms:EncryptionContextKeys": {resource + "_id"}, "kms:EncryptionContext:" + resource + "_id": {"1"}}
	}
	both := map[string][]string{
		"kms:EncryptionContextKeys": {"trigger_id", "other"}, "kms:EncryptionContext:trigger_id": {"1"}, "kms:EncryptionContext:other": {"1"},
	}
	key := env["KMS_KEY_ID"]
	type allowed []string // names of functions
	for what, test := range map[string]struct {
		permission role.Permission
		allowed    allowed
	}{
		"open a trigger's secret":   {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: on("trigger")}, allowed{"reconcile", "relay"}},
		"open a container's token":  {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: on("container")}, allowed{"dispatch-schedule", "dispatch-queue", "dispatch-queue-long", "relay"}},
		"open anything":             {role.Permission{Action: "kms:Decrypt", Resource: key}, nil},
		"open with more context":    {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: both}, nil},
		"seal a trigger's secret":   {role.Permission{Action: "kms:Encrypt", Resource: key, Circumstances: on("trigger")}, allowed{"create-trigger", "update-trigger"}},
		"seal a container's token":  {role.Permission{Action: "kms:Encrypt", Resource: key, Circumstances: on("container")}, allowed{"create-container", "update-container"}},
		"read dead letters":         {role.Permission{Action: "sqs:ReceiveMessage", Resource: dead}, nil},
		"read a user's queue":       {role.Permission{Action: "sqs:ReceiveMessage", Resource: home + "orders"}, allowed{"dispatch-queue", "dispatch-queue-long"}},
		"send to a user's queue":    {role.Permission{Action: "sqs:SendMessage", Resource: home + "orders"}, nil},
		"make a schedule":           {role.Permission{Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/test-triggers/s"}, allowed{"reconcile"}},
		"make a schedule elsewhere": {role.Permission{Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/default/s"}, nil},
		"delete a schedule":         {role.Permission{Action: "scheduler:DeleteSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/test-triggers/s"}, allowed{"reconcile", "sweep"}},
		"map any function":          {role.Permission{Action: "lambda:CreateEventSourceMapping", Resource: "*", Circumstances: map[string][]string{"lambda:FunctionArn": {"arn:aws:lambda:us-east-1:123456789012:function:f"}}}, nil},
		"invoke any function":       {role.Permission{Action: "lambda:InvokeFunction", Resource: "arn:aws:lambda:us-east-1:123456789012:function:f"}, nil},
		"hand a role to a function": {role.Permission{Action: "iam:PassRole", Resource: env["SCHEDULER_ROLE_ARN"], Circumstances: map[string][]string{"iam:PassedToService": {"lambda.amazonaws.com"}}}, nil},
		"change keys":               {role.Permission{Action: "dynamodb:PutItem", Resource: tableARN(mototest.Environment(t, "get-trigger")["KEYS_TABLE"])}, nil},
		"read all keys":             {role.Permission{Action: "dynamodb:Scan", Resource: tableARN(mototest.Environment(t, "get-trigger")["KEYS_TABLE"])}, nil},
		"read all triggers":         {role.Permission{Action: "dynamodb:Scan", Resource: tableARN(env["TRIGGERS_TABLE"])}, allowed{"sweep"}},
		"delete a trigger's row":    {role.Permission{Action: "dynamodb:DeleteItem", Resource: tableARN(env["TRIGGERS_TABLE"])}, allowed{"reconcile"}},
		"claim a queue":             {role.Permission{Action: "dynamodb:UpdateItem", Resource: tableARN(env["CLAIMS_TABLE"])}, allowed{"reconcile", "sweep", "relay"}},
		"create a trigger's row":    {role.Permission{Action: "dynamodb:PutItem", Resource: tableARN(env["TRIGGERS_TABLE"])}, allowed{"create-trigger"}},
	} {
		var got allowed
		for logicalID, f := range mototest.Stack(t).Functions {
			of, err := role.New(f.Policies...)
			if err != nil {
				t.Fatal(err)
			}
			if of.Allows(test.permission) {
				got = append(got, stack.Label(logicalID))
			}
		}
		slices.Sort(got)
		slices.Sort(test.allowed)
		if !slices.Equal(got, test.allowed) {
			t.Errorf("%s: %v may, want %v", what, got, test.allowed)
		}
	}
}

func tableARN(name string) string { return "arn:aws:dynamodb:us-east-1:123456789012:table/" + name }

// What keeps data and the account from harm is in the template of every table and
// dispatcher, and by default nothing private is called.
func TestTheTemplateKeepsWhatItPromises(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	resources := regexp.MustCompile(`(?m)^  [A-Z]\w+:\n`).Split(string(text), -1)
	count := map[string]int{}
	must := func(kind, resource string, all ...string) {
		count[kind]++
		for _, one := range all {
			if !strings.Contains(resource, one) {
				t.Errorf("a %s without %s:\n%s", kind, one, resource)
			}
		}
	}
	for _, resource := range resources {
		switch {
		case strings.Contains(resource, "Type: AWS::DynamoDB::Table"):
			must("table", resource, "DeletionProtectionEnabled: !If [IsProd, true, false]", "PointInTimeRecoveryEnabled: true", "SSEEnabled: true")
		case strings.Contains(resource, "Type: AWS::SQS::Queue\n"):
			must("queue", resource, "SqsManagedSseEnabled: true", "MessageRetentionPeriod: 1209600")
		case strings.Contains(resource, "Type: AWS::Logs::LogGroup"):
			must("log group", resource, "RetentionInDays: !Ref LogRetentionDays")
		case strings.Contains(resource, "ALLOW_PRIVATE_ENDPOINTS") && !strings.Contains(resource, "RelayConcurrency}"):
			must("dispatcher", resource, "ReservedConcurrentExecutions: !Ref DispatchConcurrency")
		case strings.Contains(resource, "Whether containers may have"):
			must("permission", resource, `Default: "false"`)
		}
	}
	if want := map[string]int{"table": 5, "queue": 2, "log group": 1, "dispatcher": 3, "permission": 2}; !maps.Equal(count, want) {
		t.Errorf("looked at %v, want %v", count, want)
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
