package role_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"containertriggers/infra/local/role"
)

func parse(t *testing.T, statements string) role.Role {
	t.Helper()
	parsed, err := role.New(json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statements + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestAllows_DeniesActionsThatNoStatementAllows(t *testing.T) {
	t.Parallel()
	r := parse(t, `
		{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"arn:aws:dynamodb:eu-west-3:1:table/a"},
		{"Effect":"Allow","Action":["sqs:ReceiveMessage","sqs:DeleteMessage"],"Resource":"arn:aws:sqs:eu-west-3:1:orders-*"},
		{"Effect":"Deny","Action":"sqs:*","Resource":["arn:aws:sqs:eu-west-3:1:orders-dead"]},
		{"Effect":"Allow","Action":"kms:Encrypt","Resource":"k","Condition":{
			"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["trigger_id"]},"Null":{"kms:EncryptionContext:trigger_id":"false"}}},
		{"Effect":"Allow","Action":"lambda:CreateEventSourceMapping","Resource":"*","Condition":{"ArnEquals":{"lambda:FunctionArn":["arn:f","arn:g*"]}}},
		{"Effect":"Allow","Action":"iam:PassRole","Resource":"r","Condition":{"StringEquals":{"iam:PassedToService":"scheduler.amazonaws.com"}}}`)
	const queues = "arn:aws:sqs:eu-west-3:1:"
	for _, test := range []struct {
		action, resource string
		keys             []string // condition keys with their values, in turn
		want             bool
	}{
		{"dynamodb:GetItem", "arn:aws:dynamodb:eu-west-3:1:table/a", nil, true},
		{"DynamoDB:getitem", "arn:aws:dynamodb:eu-west-3:1:table/a", nil, true},
		{"dynamodb:PutItem", "arn:aws:dynamodb:eu-west-3:1:table/a", nil, false},
		{"dynamodb:GetItem", "arn:aws:dynamodb:eu-west-3:1:table/A", nil, false},
		{"dynamodb:GetItem", "arn:aws:dynamodb:eu-west-3:1:table/a/index/i", nil, false},
		{"sqs:DeleteMessage", queues + "orders-1", nil, true},
		{"sqs:DeleteMessage", queues + "others", nil, false},
		{"sqs:DeleteMessage", queues + "orders-dead", nil, false},
		{"kms:Encrypt", "k", []string{"kms:EncryptionContextKeys", "trigger_id", "kms:EncryptionContext:trigger_id", "1"}, true},
		{"kms:Encrypt", "k", []string{"kms:EncryptionContextKeys", "container_id", "kms:EncryptionContext:container_id", "1"}, false},
		{"kms:Encrypt", "k", nil, false},
		{"lambda:CreateEventSourceMapping", "m", []string{"lambda:FunctionArn", "arn:g1"}, true},
		{"lambda:CreateEventSourceMapping", "m", []string{"lambda:FunctionArn", "arn:f1"}, false},
		{"lambda:CreateEventSourceMapping", "m", nil, false},
		{"iam:PassRole", "r", []string{"iam:PassedToService", "scheduler.amazonaws.com"}, true},
		{"iam:PassRole", "r", []string{"iam:PassedToService", "lambda.amazonaws.com"}, false},
		{"iam:PassRole", "r", nil, false},
	} {
		p := role.Permission{Action: test.action, Resource: test.resource, Circumstances: map[string][]string{}}
		for i := 0; i < len(test.keys); i += 2 {
			p.Circumstances[test.keys[i]] = []string{test.keys[i+1]}
		}
		if got := r.Allows(p); got != test.want {
			t.Errorf("%s with %v: got %t", p, test.keys, got)
		}
	}
	if (role.Role{}).Allows(role.Permission{Action: "a:B", Resource: "*"}) {
		t.Error("a role without policies allows something")
	}
}

func TestNew_RefusesPoliciesThatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{
		`{"Effect":"Allow","NotAction":"a:B","Resource":"*"}`, `{"Effect":"Allow","Action":"a:B","NotResource":"*"}`, `{"Effect":"allow","Action":"a:B","Resource":"*"}`,
		`{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringLike":{"k":"v"}}}`, `{"Effect":"Allow","Action":1,"Resource":"*"}`, `nonsense`,
	} {
		if _, err := role.New(json.RawMessage(`{"Statement":[` + statement + `]}`)); err == nil {
			t.Errorf("%s is taken", statement)
		}
	}
}

func TestNeeded_ReturnsThePermissionsThatIAMDemands(t *testing.T) {
	t.Parallel()
	place := role.Place{Region: "eu-west-3", Account: "1", MappingFunction: func(uuid string) string { return "arn:aws:lambda:eu-west-3:1:function:of-" + uuid }}
	for _, test := range []struct {
		service, target, method, path, body string
		want                                string // the permissions, or part of the error
	}{
		{"dynamodb", "DynamoDB_20120810.GetItem", "POST", "/", `{"TableName":"t"}`, "dynamodb:GetItem on arn:aws:dynamodb:eu-west-3:1:table/t"},
		{"dynamodb", "DynamoDB_20120810.Query", "POST", "/", `{"TableName":"t","IndexName":"i"}`, "dynamodb:Query on arn:aws:dynamodb:eu-west-3:1:table/t/index/i"},
		{"dynamodb", "DynamoDB_20120810.BatchGetItem", "POST", "/", `{"RequestItems":{"t":{}}}`, "dynamodb:BatchGetItem on arn:aws:dynamodb:eu-west-3:1:table/t"},
		{"dynamodb", "DynamoDB_20120810.TransactWriteItems", "POST", "/", `{"TransactItems":[{"Put":{"TableName":"t"}},{"ConditionCheck":{"TableName":"u"}}]}`,
			"dynamodb:PutItem on arn:aws:dynamodb:eu-west-3:1:table/t, dynamodb:ConditionCheckItem on arn:aws:dynamodb:eu-west-3:1:table/u"},
		{"kms", "TrentService.Encrypt", "POST", "/", `{"KeyId":"arn:aws:kms:eu-west-3:1:key/k"}`, "kms:Encrypt on arn:aws:kms:eu-west-3:1:key/k"},
		{"kms", "TrentService.Decrypt", "POST", "/", `{"CiphertextBlob":"MTIzNDU2NzgtMTIzNC0xMjM0LTEyMzQtMTIzNDU2Nzg5MDEyc2VjcmV0"}`, "kms:Decrypt on arn:aws:kms:eu-west-3:1:key/12345678-1234-1234-1234-123456789012"},
		{"sqs", "AmazonSQS.SendMessage", "POST", "/", `{"QueueUrl":"https://sqs/1/q"}`, "sqs:SendMessage on arn:aws:sqs:eu-west-3:1:q"},
		{"sqs", "AmazonSQS.DeleteMessageBatch", "POST", "/", `{"QueueUrl":"https://sqs/1/q"}`, "sqs:DeleteMessage on arn:aws:sqs:eu-west-3:1:q"},
		{"events", "AWSEvents.PutEvents", "POST", "/", `{"Entries":[{"EventBusName":"b"}]}`, "events:PutEvents on arn:aws:events:eu-west-3:1:event-bus/b"},
		{"scheduler", "", "POST", "/schedules/s", `{"GroupName":"g","Target":{"RoleArn":"arn:role"}}`,
			"scheduler:CreateSchedule on arn:aws:scheduler:eu-west-3:1:schedule/g/s, iam:PassRole on arn:role"},
		{"scheduler", "", "DELETE", "/schedules/s?groupName=g", "", "scheduler:DeleteSchedule on arn:aws:scheduler:eu-west-3:1:schedule/g/s"},
		{"scheduler", "", "GET", "/schedules?ScheduleGroup=g", "", "scheduler:ListSchedules on *"},
		{"lambda", "", "POST", "/2015-03-31/functions/f/invocations", "", "lambda:InvokeFunction on arn:aws:lambda:eu-west-3:1:function:f"},
		{"lambda", "", "DELETE", "/2015-03-31/event-source-mappings/u", "", "lambda:DeleteEventSourceMapping on arn:aws:lambda:eu-west-3:1:event-source-mapping:u"},
		{"lambda", "", "GET", "/2015-03-31/event-source-mappings", "", "lambda:ListEventSourceMappings on *"},
		{"lambda", "", "GET", "/2015-03-31/layers", "", "not known"},
		{"s3", "", "GET", "/bucket", "", "not known"},
		{"", "", "GET", "/", "", "not signed"},
		{"dynamodb", "DynamoDB_20120810.GetItem", "POST", "/", `nonsense`, "invalid character"},
	} {
		request := httptest.NewRequest(test.method, test.path, http.NoBody)
		if test.service != "" {
			request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=key/20270101/eu-west-3/"+test.service+"/aws4_request, SignedHeaders=host, Signature=0")
		}
		request.Header.Set("X-Amz-Target", test.target)
		needed, err := place.Needed(request, []byte(test.body))
		var got []string
		for _, p := range needed {
			got = append(got, p.String())
		}
		if err != nil {
			if got != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s %s %s: %v", test.service, test.method, test.path, err)
			}
			continue
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s %s %s: got %q, want %q", test.service, test.method, test.path, got, test.want)
		}
	}
}
