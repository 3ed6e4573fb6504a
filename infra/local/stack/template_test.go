package stack_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/role"
	"containertriggers/infra/local/stack"
	"containertriggers/shared/contract/request"
)

// What a function's environment may hold are names, ARNs and settings. The check
// is by name, so that whoever adds a variable thinks of it here.
func TestTemplate_PutsNoSecretIntoAnEnvironment(t *testing.T) {
	t.Parallel()
	mototest.Environment(t, "sweep") // deploys
	client := lambda.NewFromConfig(mototest.Config(t))
	known := regexp.MustCompile(`_(TABLE|ARN|ID|URL)$|^(REGIONS|ALLOW_(HTTP|PRIVATE)_ENDPOINTS|EVENT_BUS|SCHEDULE_GROUP|STACK|LOG_LEVEL|MAX_DELIVERIES|(QUEUE|DISPATCH)_CONCURRENCY|SWEEP_ROWS|RELAY_(SHARDS|CONCURRENCY)|TRIGGERS_PER_(CONTAINER|ORGANIZATION)|RUN_RETENTION_DAYS|API_DOMAIN)$`)
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
	if functions < 21 {
		t.Errorf("there are %d functions", functions)
	}
}

func TestTemplate_SetsAnEndpointOnlyIfOneIsGiven(t *testing.T) {
	t.Parallel()
	cfg := mototest.Config(t)
	const given = "http://127.0.0.1:1"
	with, err := stack.Deploy(t.Context(), moto.Python(), *cfg.BaseEndpoint, "../../../template.yaml", "with-endpoint", map[string]string{"AwsEndpointUrl": given})
	if err != nil {
		t.Fatal(err)
	}
	check := func(deployed stack.Stack, want []string) {
		if len(deployed.Functions) == 0 {
			t.Error("there are no functions")
		}
		for _, function := range deployed.Functions {
			described, err := lambda.NewFromConfig(cfg).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &function.Name})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if endpoint, ok := described.Environment.Variables["AWS_ENDPOINT_URL"]; ok {
				got = []string{endpoint}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got the endpoint %q, want %q", function.Name, got, want)
			}
		}
	}
	check(with, []string{given})
	check(mototest.Stack(t), nil) // an empty one would hide what an emulator sets
}

// What a function that was broken into could do is what its role allows: these are
// promises of SECURITY.md.
func TestTemplate_RolesDenyForbiddenActions(t *testing.T) {
	t.Parallel()
	env := mototest.Environment(t, "reconcile")
	home := "arn:aws:sqs:us-east-1:123456789012:"
	dead, givenUp := mototest.Environment(t, "relay")["DEAD_LETTERS_ARN"], env["SCHEDULE_DLQ_ARN"]
	changes := home + env["MAPPING_CHANGES_URL"][strings.LastIndex(env["MAPPING_CHANGES_URL"], "/")+1:]
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
		"open a container's token":  {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: on("container")}, allowed{"dispatch-schedule", "dispatch-queue", "dispatch-queue-long", "dispatch-run", "relay"}},
		"open anything":             {role.Permission{Action: "kms:Decrypt", Resource: key}, nil},
		"open with more context":    {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: both}, nil},
		"seal a trigger's secret":   {role.Permission{Action: "kms:Encrypt", Resource: key, Circumstances: on("trigger")}, allowed{"create-trigger", "update-trigger"}},
		"seal a container's token":  {role.Permission{Action: "kms:Encrypt", Resource: key, Circumstances: on("container")}, allowed{"create-container", "update-container"}},
		"seal a namespace's secret": {role.Permission{Action: "kms:Encrypt", Resource: key, Circumstances: on("namespace")}, allowed{"create-namespace", "update-namespace"}},
		"open a namespace's secret": {role.Permission{Action: "kms:Decrypt", Resource: key, Circumstances: on("namespace")}, nil},
		"read dead letters":         {role.Permission{Action: "sqs:ReceiveMessage", Resource: dead}, nil},
		"read given-up occurrences": {role.Permission{Action: "sqs:ReceiveMessage", Resource: givenUp}, allowed{"give-up"}},
		"send dead letters":         {role.Permission{Action: "sqs:SendMessage", Resource: dead}, allowed{"give-up", "relay"}},
		"read a user's queue":       {role.Permission{Action: "sqs:ReceiveMessage", Resource: home + "orders"}, allowed{"dispatch-queue", "dispatch-queue-long"}},
		"send to a user's queue":    {role.Permission{Action: "sqs:SendMessage", Resource: home + "orders"}, nil},
		"make a schedule":           {role.Permission{Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/test-triggers/s"}, allowed{"reconcile"}},
		"make a schedule elsewhere": {role.Permission{Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/default/s"}, nil},
		"delete a schedule":         {role.Permission{Action: "scheduler:DeleteSchedule", Resource: "arn:aws:scheduler:us-east-1:123456789012:schedule/test-triggers/s"}, allowed{"reconcile", "sweep"}},
		"map any function":          {role.Permission{Action: "lambda:CreateEventSourceMapping", Resource: "*", Circumstances: map[string][]string{"lambda:FunctionArn": {"arn:aws:lambda:us-east-1:123456789012:function:f"}}}, nil},
		"start a relay":             {role.Permission{Action: "lambda:InvokeFunction", Resource: env["RELAY_ARN"]}, allowed{"reconcile", "watch"}},
		"invoke any function":       {role.Permission{Action: "lambda:InvokeFunction", Resource: "arn:aws:lambda:us-east-1:123456789012:function:f"}, nil},
		"hand a role to a function": {role.Permission{Action: "iam:PassRole", Resource: env["SCHEDULER_ROLE_ARN"], Circumstances: map[string][]string{"iam:PassedToService": {"lambda.amazonaws.com"}}}, nil},
		"change keys":               {role.Permission{Action: "dynamodb:PutItem", Resource: tableARN(mototest.Environment(t, "get-trigger")["KEYS_TABLE"])}, nil},
		"read all keys":             {role.Permission{Action: "dynamodb:Scan", Resource: tableARN(mototest.Environment(t, "get-trigger")["KEYS_TABLE"])}, nil},
		"read all triggers":         {role.Permission{Action: "dynamodb:Scan", Resource: tableARN(env["TRIGGERS_TABLE"])}, allowed{"sweep"}},
		"delete a trigger's row":    {role.Permission{Action: "dynamodb:DeleteItem", Resource: tableARN(env["TRIGGERS_TABLE"])}, allowed{"reconcile"}},
		"claim a queue":             {role.Permission{Action: "dynamodb:UpdateItem", Resource: tableARN(env["CLAIMS_TABLE"])}, allowed{"reconcile", "sweep", "relay"}},
		"delete a container's row":  {role.Permission{Action: "dynamodb:DeleteItem", Resource: tableARN(env["CONTAINERS_TABLE"])}, allowed{"reconcile"}},
		"delete a namespace's row":  {role.Permission{Action: "dynamodb:DeleteItem", Resource: tableARN(env["NAMESPACES_TABLE"])}, allowed{"reconcile"}},
		"create a namespace's row":  {role.Permission{Action: "dynamodb:PutItem", Resource: tableARN(env["NAMESPACES_TABLE"])}, allowed{"create-namespace"}},
		"change a namespace":        {role.Permission{Action: "dynamodb:UpdateItem", Resource: tableARN(env["NAMESPACES_TABLE"])}, allowed{"delete-namespace", "reconcile", "sweep", "update-namespace"}},
		"read the mapping changes":  {role.Permission{Action: "sqs:ReceiveMessage", Resource: changes}, allowed{"reconcile"}},
		"read all namespaces":       {role.Permission{Action: "dynamodb:Scan", Resource: tableARN(env["NAMESPACES_TABLE"])}, allowed{"sweep"}},
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
func TestTemplate_ProtectsEveryTableAndDispatcher(t *testing.T) {
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
		case strings.Contains(resource, "Type: AWS::DynamoDB::Table") && strings.Contains(resource, "DeletionPolicy: Delete"):
			must("table of what others have", resource, "UpdateReplacePolicy: Delete")
		case strings.Contains(resource, "Type: AWS::DynamoDB::Table"):
			must("table", resource, "DeletionProtectionEnabled: !If [IsProd, true, false]", "PointInTimeRecoveryEnabled: true")
			if strings.Contains(resource, "SSESpecification") {
				// DynamoDB encrypts each table. A key of KMS adds a price, and no protection
				// as long as its policy is AWS's own.
				t.Errorf("a table with a key of KMS:\n%s", resource)
			}
		case strings.Contains(resource, "Type: AWS::SQS::Queue\n"):
			must("queue", resource, "SqsManagedSseEnabled: true", "MessageRetentionPeriod: 1209600")
		case strings.Contains(resource, "Type: AWS::Logs::LogGroup"):
			must("log group", resource, "RetentionInDays: !Ref LogRetentionDays")
		case strings.Contains(resource, "ALLOW_PRIVATE_ENDPOINTS") && !strings.Contains(resource, "RelayConcurrency}"):
			must("dispatcher", resource, "ReservedConcurrentExecutions: !If [ReservesConcurrency, !Ref DispatchConcurrency, !Ref AWS::NoValue]")
		case strings.Contains(resource, "Whether containers may have"):
			must("permission", resource, `Default: "false"`)
		}
	}
	if want := map[string]int{"table": 6, "table of what others have": 2, "queue": 5, "log group": 2, "dispatcher": 4, "permission": 2}; !maps.Equal(count, want) {
		t.Errorf("looked at %v, want %v", count, want)
	}
}

// deploy deploys the template with parameters on an emulator of its own.
func deploy(t *testing.T, parameters map[string]string) stack.Stack {
	t.Helper()
	server, err := moto.Start(t.Context(), moto.Python())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	deployed, err := stack.Deploy(t.Context(), moto.Python(), server.Endpoint(), "../../../template.yaml", "own", parameters)
	if err != nil {
		t.Fatal(err)
	}
	return deployed
}

func TestTemplate_ServesTheConsoleUnlessItIsTurnedOff(t *testing.T) {
	t.Parallel()
	ofConsole := func(deployed stack.Stack) (paths []string) {
		for _, route := range deployed.Routes {
			if route.Function == "ConsoleFunction" {
				paths = append(paths, route.Method+" "+route.Path)
			}
		}
		slices.Sort(paths)
		return paths
	}
	if got := ofConsole(mototest.Stack(t)); !slices.Equal(got, []string{"GET /", "GET /console/{version}/{file}", "HEAD /"}) {
		t.Errorf("by default: got %q", got)
	}
	deployed := deploy(t, map[string]string{"Console": "false"})
	if got := ofConsole(deployed); got != nil || len(deployed.Routes) < 20 {
		t.Errorf("turned off: got %q of %d routes", got, len(deployed.Routes))
	}
}

func TestTemplate_LetsNamedOriginsCallTheAPI(t *testing.T) {
	t.Parallel()
	if cors := mototest.Stack(t).CORS; cors != nil {
		t.Errorf("by default CORS is on: %+v", cors)
	}
	deployed := deploy(t, map[string]string{"AllowedOrigins": "https://a.example,http://localhost:8080"})
	want := &stack.CORS{
		AllowOrigins: []string{"https://a.example", "http://localhost:8080"}, AllowMethods: []string{"GET", "POST", "PATCH", "DELETE"},
		AllowHeaders: []string{"X-Auth-Token", "Content-Type"}, ExposeHeaders: []string{"X-Request-Id", "Retry-After"}, MaxAge: 600,
	}
	if !reflect.DeepEqual(deployed.CORS, want) {
		t.Errorf("got %+v, want %+v", deployed.CORS, want)
	}
}

func TestTemplate_ServesAnyWellFormedRegion(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := "\n    AllowedPattern: ^" + request.RegionPattern + "(," + request.RegionPattern + ")*$\n"
	_, regions, _ := strings.Cut(string(text), "\n  Regions:\n")
	regions, _, _ = strings.Cut(regions, "\n  Domain:\n")
	if !strings.Contains(regions+"\n", want) {
		t.Errorf("got %s, want %s", regions, want)
	}
	_, served, _ := strings.Cut(regions, "Default: ")
	served, _, _ = strings.Cut(served, "\n")
	if served != "fr-par,nl-ams,pl-waw,it-mil" {
		t.Errorf("by default the regions are %s", served)
	}
}

// Every role names its actions; "*" is left to what knows no narrower resource.
func TestTemplate_RolesNameTheirActionsAndResources(t *testing.T) {
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
		if !regexp.MustCompile(`List(EventSourceMappings|Schedules)|ArnEquals|kms:\*|SecureTransport|Effect: Deny`).MatchString(around) {
			t.Errorf("line %d: a resource that is everything:\n%s", i+1, around)
		}
	}
}
