package role

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Place is the account and region of resources that a request names without an ARN.
type Place struct {
	Region, Account string
	// MappingFunction returns the ARN of the function of an event source mapping.
	MappingFunction func(uuid string) string
}

func (p Place) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + p.Region + ":" + p.Account + ":" + resource
}

// credential matches the credential scope in the header Authorization and captures the
// service (IAM User Guide, "Create a signed AWS API request").
var credential = regexp.MustCompile(`Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/`)

// Needed returns the permissions that a request to AWS needs (Service Authorization
// Reference). It returns an error if it does not know the service or the action.
func (p Place) Needed(r *http.Request, body []byte) ([]Permission, error) {
	found := credential.FindStringSubmatch(r.Header.Get("Authorization"))
	if found == nil {
		return nil, fmt.Errorf("%s %s is not signed", r.Method, r.URL.Path)
	}
	service := found[1]
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var needed []Permission
	var err error
	switch service {
	case "dynamodb":
		needed, err = p.dynamoDB(action, body)
	case "kms":
		needed, err = p.kms(action, body)
	case "sqs":
		var about struct{ QueueUrl string }
		err = json.Unmarshal(body, &about)
		// A batch needs the permission of its entries (SQS Developer Guide, "Amazon SQS API
		// permissions").
		needed = one("sqs:"+strings.TrimSuffix(action, "Batch"), p.arn("sqs", about.QueueUrl[strings.LastIndex(about.QueueUrl, "/")+1:]))
	case "events":
		needed, err = p.events(action, body)
	case "scheduler":
		needed, err = p.scheduler(r, body)
	case "lambda":
		needed, err = p.lambda(r, body)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s %s: %w", service, r.Method, r.URL.Path, err)
	}
	if len(needed) == 0 {
		return nil, fmt.Errorf("what %s %s %s %s needs is not known", service, action, r.Method, r.URL.Path)
	}
	return needed, nil
}

func one(action, resource string) []Permission {
	return []Permission{{Action: action, Resource: resource}}
}

// dynamoDB returns the permissions of a request to DynamoDB. A transaction needs the
// permissions of its parts. An index is a resource of its own.
func (p Place) dynamoDB(action string, body []byte) ([]Permission, error) {
	type part struct{ TableName, IndexName string }
	var about struct {
		part
		RequestItems  map[string]json.RawMessage
		TransactItems []map[string]part
	}
	if err := json.Unmarshal(body, &about); err != nil {
		return nil, err
	}
	resource := func(of part) string {
		if of.IndexName != "" {
			return p.arn("dynamodb", "table/"+of.TableName+"/index/"+of.IndexName)
		}
		return p.arn("dynamodb", "table/"+of.TableName)
	}
	switch action {
	case "TransactWriteItems":
		var needed []Permission
		for _, item := range about.TransactItems {
			for kind, of := range item {
				name := map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}[kind]
				needed = append(needed, one("dynamodb:"+name, resource(of))...)
			}
		}
		return needed, nil
	case "BatchGetItem":
		var needed []Permission
		for table := range about.RequestItems {
			needed = append(needed, one("dynamodb:"+action, resource(part{TableName: table}))...)
		}
		return needed, nil
	}
	return one("dynamodb:"+action, resource(about.part)), nil
}

// motoKeyID is the length of the key's ID, with which a ciphertext of moto begins.
const motoKeyID = 36

func (p Place) kms(action string, body []byte) ([]Permission, error) {
	var about struct {
		KeyId             string
		CiphertextBlob    string
		EncryptionContext map[string]string
	}
	if err := json.Unmarshal(body, &about); err != nil {
		return nil, err
	}
	key := about.KeyId
	if key == "" {
		blob, err := base64.StdEncoding.DecodeString(about.CiphertextBlob)
		if err != nil {
			return nil, err
		}
		key = string(blob[:min(motoKeyID, len(blob))])
	}
	if !strings.HasPrefix(key, "arn:") {
		key = p.arn("kms", "key/"+key)
	}
	circumstances := map[string][]string{"kms:EncryptionContextKeys": slices.Collect(maps.Keys(about.EncryptionContext))}
	for name, value := range about.EncryptionContext {
		circumstances["kms:EncryptionContext:"+name] = []string{value}
	}
	return []Permission{{"kms:" + action, key, circumstances}}, nil
}

func (p Place) events(action string, body []byte) ([]Permission, error) {
	var about struct {
		Entries []struct{ EventBusName string }
	}
	if err := json.Unmarshal(body, &about); err != nil {
		return nil, err
	}
	var needed []Permission
	for _, entry := range about.Entries {
		needed = append(needed, one("events:"+action, p.arn("events", "event-bus/"+entry.EventBusName))...)
	}
	return needed, nil
}

// scheduler returns the permissions of a request to EventBridge Scheduler. A caller that
// creates or changes a schedule passes a role to it and also needs iam:PassRole.
func (p Place) scheduler(r *http.Request, body []byte) ([]Permission, error) {
	name, single := strings.CutPrefix(r.URL.Path, "/schedules/")
	if !single {
		return one("scheduler:ListSchedules", "*"), nil
	}
	var about struct {
		GroupName string
		Target    struct{ RoleArn string }
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &about); err != nil {
			return nil, err
		}
	}
	if about.GroupName == "" {
		about.GroupName = r.URL.Query().Get("groupName")
	}
	verb := map[string]string{http.MethodPost: "Create", http.MethodPut: "Update", http.MethodDelete: "Delete", http.MethodGet: "Get"}[r.Method]
	needed := one("scheduler:"+verb+"Schedule", p.arn("scheduler", "schedule/"+about.GroupName+"/"+name))
	if about.Target.RoleArn != "" {
		needed = append(needed, Permission{"iam:PassRole", about.Target.RoleArn, map[string][]string{"iam:PassedToService": {"scheduler.amazonaws.com"}}})
	}
	return needed, nil
}

// Paths of Lambda's API (API reference).
var (
	invocation = regexp.MustCompile(`^/2015-03-31/functions/([^/]+)/invocations$`)
	mapping    = regexp.MustCompile(`^/2015-03-31/event-source-mappings/?([^/]*)$`)
)

// ErrGone says that a request is about a mapping that does not exist. Lambda answers
// ResourceNotFoundException then.
var ErrGone = errors.New("there is no such event source mapping")

func (p Place) lambda(r *http.Request, body []byte) ([]Permission, error) {
	if found := invocation.FindStringSubmatch(r.URL.Path); found != nil {
		return one("lambda:InvokeFunction", p.function(found[1])), nil
	}
	found := mapping.FindStringSubmatch(r.URL.Path)
	if found == nil {
		return nil, nil
	}
	var about struct{ FunctionName string }
	switch r.Method {
	case http.MethodGet:
		if found[1] == "" {
			return one("lambda:ListEventSourceMappings", "*"), nil
		}
		about.FunctionName = p.MappingFunction(found[1])
	case http.MethodPost:
		if err := json.Unmarshal(body, &about); err != nil {
			return nil, err
		}
	default:
		about.FunctionName = p.MappingFunction(found[1])
	}
	if about.FunctionName == "" && found[1] != "" {
		return nil, ErrGone
	}
	if about.FunctionName == "" {
		return nil, nil
	}
	verb := map[string]string{http.MethodPost: "Create", http.MethodPut: "Update", http.MethodDelete: "Delete", http.MethodGet: "Get"}[r.Method]
	return []Permission{{
		"lambda:" + verb + "EventSourceMapping", p.arn("lambda", "event-source-mapping:"+found[1]),
		map[string][]string{"lambda:FunctionArn": {p.function(about.FunctionName)}},
	}}, nil
}

// function returns the ARN of a function by its name or ARN.
func (p Place) function(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	return p.arn("lambda", "function:"+name)
}
