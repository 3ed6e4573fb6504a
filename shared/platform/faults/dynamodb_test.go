package faults

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/infra/local/moto"
)

// table is a DynamoDB that answers each key of a BatchGetItem with its item, and any other
// call with nothing. Its calls fail at that rate, without retries.
func table(t *testing.T, rate float64) *dynamodb.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".BatchGetItem") {
			_, _ = w.Write([]byte("{}"))
			return
		}
		var items []string
		for n := range 10 {
			if key := fmt.Sprintf(`{"id":{"S":"%d"}}`, n); strings.Contains(string(body), key) {
				items = append(items, key)
			}
		}
		_, _ = fmt.Fprintf(w, `{"Responses":{"t":[%s]},"UnprocessedKeys":{}}`, strings.Join(items, ","))
	}))
	t.Cleanup(server.Close)
	cfg := moto.Config(server.URL)
	New(Plan{Seed: 1, Rate: rate, Longest: 1}).Break(&cfg)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return dynamodb.NewFromConfig(cfg)
}

func TestInjector_RefusesWritesLikeDynamoDB(t *testing.T) {
	t.Parallel()
	client := table(t, 0.5)
	seen := map[string]bool{}
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "1"}}
	change := types.TransactWriteItem{Delete: &types.Delete{TableName: aws.String("t"), Key: key}}
	for range 500 {
		_, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: aws.String("t"), Key: key})
		if _, conflict := errors.AsType[*types.TransactionConflictException](err); conflict {
			seen["conflict"] = true
		}
		if _, throttled := errors.AsType[*types.ProvisionedThroughputExceededException](err); throttled {
			seen["throttled"] = true
		}
		_, err = client.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{change, change}})
		canceled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			continue
		}
		codes := []string{aws.ToString(canceled.CancellationReasons[0].Code), aws.ToString(canceled.CancellationReasons[1].Code)}
		if len(canceled.CancellationReasons) != 2 || !slices.Contains(codes, "None") {
			t.Fatalf("a transaction was canceled for %v", codes)
		}
		seen[codes[0]], seen[codes[1]] = true, true
	}
	for _, want := range []string{"conflict", "throttled", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"} {
		if !seen[want] {
			t.Errorf("no write met %s: %v", want, seen)
		}
	}
}

func TestInjector_ReturnsEachKeyOfABatchOnceEitherReadOrUnprocessed(t *testing.T) {
	t.Parallel()
	client := table(t, 0.5)
	var wanted []map[string]types.AttributeValue
	for n := range 10 {
		wanted = append(wanted, map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: fmt.Sprint(n)}})
	}
	input := &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"t": {Keys: wanted, ConsistentRead: aws.Bool(true)}}}
	omitted := 0
	for range 200 {
		answer, err := client.BatchGetItem(t.Context(), input)
		if err != nil {
			continue // another fault
		}
		read, left := answer.Responses["t"], answer.UnprocessedKeys["t"]
		if len(read)+len(left.Keys) != len(wanted) || len(read) == 0 {
			t.Fatalf("%d keys were read and %d were not", len(read), len(left.Keys))
		}
		if len(left.Keys) > 0 {
			omitted++
			if !aws.ToBool(left.ConsistentRead) {
				t.Fatal("the rest is not to be read in the same way")
			}
		}
	}
	if omitted < 20 {
		t.Errorf("%d answers had unprocessed keys", omitted)
	}
	if len(input.RequestItems["t"].Keys) != len(wanted) {
		t.Error("the caller's input was changed")
	}
}
