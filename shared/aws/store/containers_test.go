package store_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
)

// kmsOverhead is more than the bytes that KMS adds to what it encrypts.
const kmsOverhead = 256

func sealing(text secret.Text) ([]byte, error) {
	return append([]byte(text), make([]byte, kmsOverhead)...), nil
}

// sealed gives the container with its secrets as ciphertext.
func sealed(t *testing.T) func(c container.Container, secrets container.Secrets, err error) container.Container {
	return func(c container.Container, secrets container.Secrets, err error) container.Container {
		t.Helper()
		if err == nil {
			c, err = secrets.Seal(c, sealing)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestContainers_KeepEveryFieldOfTheClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := sealed(t)(container.Create([]byte(`{"name":"n","image":"https://e.example","environment_variables":{"A":"1"},
		"secret_environment_variables":{"S":"hush","INVOKE_TOKEN":"hush"},"memory_limit_bytes":9007199254740993,
		"scaling_option":{"memory_usage_threshold":1},"startup_probe":{"http":{"path":"/x"}},"private_network_id":"`+uuid.NewString()+`"}`),
		uuid.NewString(), "fr-par", container.Rules{}, now()))
	if err := b.containers.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	if got, err := b.containers.Get(t.Context(), created.ID); err != nil || !reflect.DeepEqual(got, created) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, created)
	}
	updated := sealed(t)(created.Update([]byte(`{"secret_environment_variables":{"S":""},"liveness_probe":{"http":{}},"command":["c"],"image":"https://f.example"}`), container.Rules{}, now()))
	if _, err := b.containers.Update(t.Context(), created, updated); err != nil {
		t.Fatal(err)
	}
	if got, err := b.containers.Get(t.Context(), created.ID); err != nil || !reflect.DeepEqual(got, updated) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, updated)
	}
}

func TestContainers_ReadRowsOfEarlierReleases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := dynamodb.NewFromConfig(mototest.Config(t)).UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &b.containers.Table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: b.container.ID}},
		UpdateExpression: aws.String("REMOVE spec, secret_environment_variables"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.containers.Get(t.Context(), b.container.ID)
	if err != nil || !reflect.DeepEqual(got.Spec, container.DefaultSpec()) || got.Variables == nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestContainers_RowWithAllFieldsAtTheirLimitsFits shows that no number of updates
// makes a row that DynamoDB refuses (400 KB).
func TestContainers_RowWithAllFieldsAtTheirLimitsFits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := func(value any) string {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	tags, secrets := make([]string, 100), map[string]string{"INVOKE_TOKEN": strings.Repeat("t", 1200)}
	for i := range tags {
		tags[i] = strings.Repeat("𝄞", 256)
	}
	for i := range 49 {
		secrets[fmt.Sprintf("%s%02d", strings.Repeat("n", 98), i)] = strings.Repeat("s", 1200)
	}
	const size = 16<<10 - 1
	old := sealed(t)(container.Create([]byte(`{"name":`+text(strings.Repeat("𝄞", 128))+`,"description":`+text(strings.Repeat("𝄞", 1024))+
		`,"image":"https://e.example/`+strings.Repeat("x", 2000)+`","public_endpoint":"https://e.example/`+strings.Repeat("x", 2000)+`"}`),
		uuid.NewString(), "fr-par", container.Rules{}, now()))
	if err := b.containers.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"tags":` + text(tags) + `}`,
		`{"secret_environment_variables":` + text(secrets) + `}`,
		`{"environment_variables":` + text(map[string]string{"A": strings.Repeat("v", 64<<10-1)}) + `}`,
		`{"command":` + text([]string{strings.Repeat("c", size)}) + `,"args":` + text([]string{strings.Repeat("a", size)}) + `}`,
		`{"liveness_probe":{"http":{"path":"` + strings.Repeat("p", 2048) + `"}},"startup_probe":{"http":{"path":"` + strings.Repeat("p", 2048) + `"}}}`,
	} {
		updated := sealed(t)(old.Update([]byte(body), container.Rules{}, now()))
		if _, err := b.containers.Update(t.Context(), old, updated); err != nil {
			t.Fatalf("%.60s…: %v", body, err)
		}
		old = updated
	}
	if got, err := b.containers.Get(t.Context(), old.ID); err != nil || !reflect.DeepEqual(got, old) {
		t.Errorf("the row does not come back: %v", err)
	}
}
