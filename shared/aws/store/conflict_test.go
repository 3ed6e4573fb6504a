package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/run"
)

// busy makes the first attempt at each write meet another transaction, and leaves the last key
// out of the first attempt at each batch of reads. The SDK retries neither.
type busy struct {
	mu      sync.Mutex
	refused map[string]int // by the operation
}

func (b *busy) use(cfg *aws.Config) {
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Busy", b.handle), middleware.After)
	})
}

// first reports whether a call is the first attempt at an operation. The tests here make one
// call after another.
func (b *busy) first(operation string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[operation]++
	return b.refused[operation]%2 == 1
}

func (b *busy) handle(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	operation := middleware.GetOperationName(ctx)
	switch input := in.Parameters.(type) {
	case *dynamodb.PutItemInput, *dynamodb.UpdateItemInput, *dynamodb.DeleteItemInput:
		if b.first(operation) {
			return middleware.InitializeOutput{}, middleware.Metadata{}, &types.TransactionConflictException{Message: aws.String("Transaction is ongoing for the item")}
		}
	case *dynamodb.TransactWriteItemsInput:
		if b.first(operation) {
			reasons := slices.Repeat([]types.CancellationReason{{Code: aws.String("None")}}, len(input.TransactItems))
			reasons[0].Code = aws.String([]string{"TransactionConflict", "ThrottlingError"}[b.refused[operation]/2%2])
			return middleware.InitializeOutput{}, middleware.Metadata{}, &types.TransactionCanceledException{CancellationReasons: reasons}
		}
	case *dynamodb.BatchGetItemInput:
		return b.omit(ctx, input, in, next)
	}
	return next.HandleInitialize(ctx, in)
}

func (b *busy) omit(ctx context.Context, input *dynamodb.BatchGetItemInput, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	for table, of := range input.RequestItems {
		last := len(of.Keys) - 1
		if last < 1 || !b.first("BatchGetItem") {
			continue
		}
		rest := of
		of.Keys, rest.Keys = of.Keys[:last], of.Keys[last:]
		in.Parameters = &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: of}}
		out, metadata, err := next.HandleInitialize(ctx, in)
		if answer, ok := out.Result.(*dynamodb.BatchGetItemOutput); ok {
			answer.UnprocessedKeys = map[string]types.KeysAndAttributes{table: rest}
		}
		return out, metadata, err
	}
	return next.HandleInitialize(ctx, in)
}

// must returns a function that fails the test if a call returned an error.
func must(t *testing.T) func(what string, err error) {
	return func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStore_RetriesEveryWriteThatMeetsATransaction(t *testing.T) {
	t.Parallel()
	b, check := setup(t), must(t)
	other, cfg := &busy{refused: map[string]int{}}, mototest.Config(t)
	other.use(&cfg)
	b.use(cfg)
	ctx, db, env := t.Context(), b.triggers.Client, mototest.Environment(t, "sweep")
	later := now().Add(time.Hour)

	namespaces := store.Namespaces{Client: db, Table: env["NAMESPACES_TABLE"]}
	ns, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), "fr-par", now())
	if err != nil {
		t.Fatal(err)
	}
	check("creating a namespace", namespaces.Create(ctx, ns))
	on := b.container
	on.ID, on.NamespaceID = uuid.NewString(), ns.ID
	check("creating a container", b.containers.CreateIn(ctx, namespaces, on))
	tr := b.draft(`"cron_config":{"schedule":"@daily"}`)
	tr.ContainerID = on.ID
	check("creating a trigger", b.triggers.Create(ctx, b.containers, tr))

	check("observing", b.triggers.MarkObserved(ctx, tr, "", now()))
	updated := tr
	updated.Name, updated.Generation = "other", tr.Generation+1
	_, err = b.triggers.Update(ctx, tr, updated)
	check("updating a trigger", err)
	check("telling of a failed call", b.triggers.SetLastError(ctx, tr.ID, "broken"))
	check("requeuing", b.triggers.Requeue(ctx, tr.ID, now()))
	check("assigning", b.triggers.SetRelay(ctx, tr.ID, uuid.NewString(), 1))
	check("unassigning", b.triggers.UnsetRelay(ctx, tr.ID))
	check("verifying", b.triggers.SetVerified(ctx, tr.ID, "v"))
	got := b.get(tr.ID)
	if got.Name != "other" || got.ErrorMessage != "broken" || got.Settled() || got.Verified != "v" {
		t.Errorf("got %+v", got)
	}
	renamed := on
	renamed.Name, renamed.Generation = "other", on.Generation+1
	_, err = b.containers.Update(ctx, on, renamed)
	check("updating a container", err)

	claims := store.Claims{Client: db, Table: env["CLAIMS_TABLE"]}
	claim := store.QueueClaim{Queue: "arn:" + uuid.NewString(), TriggerID: tr.ID, ContainerID: on.ID}
	check("claiming", claims.Claim(ctx, claim))
	waiting := claim
	waiting.TriggerID = uuid.NewString()
	if err := claims.Claim(ctx, waiting); err == nil {
		t.Error("a queue has two triggers")
	}
	wait, err := claims.Release(ctx, claim.Queue, tr.ID)
	check("releasing", err)
	if !slices.Equal(wait, []string{waiting.TriggerID}) {
		t.Errorf("%v wait", wait)
	}
	check("forgetting", claims.Forget(ctx, tr.ID))
	leases, shard := store.Leases(claims), uuid.NewString()
	check("taking a lease", leases.Take(ctx, shard, "h", now(), later))
	check("renewing a lease", leases.Renew(ctx, shard, "h", later, true))
	check("dropping a lease", leases.Drop(ctx, shard, "h"))
	check("setting a bookmark", store.Bookmarks(claims).Set(ctx, uuid.NewString(), nil))
	check("setting a position", store.Positions(claims).Set(ctx, tr.ID, store.Position{}))
	check("deleting a position", store.Positions(claims).Delete(ctx, tr.ID))
	runs := store.Runs{Client: db, Table: mototest.Environment(t, "dispatch-schedule")["RUNS_TABLE"], Retention: time.Hour}
	its := run.Run{Key: run.Key{TriggerID: tr.ID, Event: "2026-01-01T00:00:00Z"}, StartedAt: now(), TerminatedAt: now()}
	_, err = runs.Claim(ctx, its, store.Claim{Holder: "h", Until: later})
	check("claiming an event", err)
	check("recording a run", runs.Record(ctx, its, "h", store.Report{State: run.Retrying, At: now()}))
	check("giving up a run", runs.GiveUp(ctx, its))
	check("deleting a run", runs.Delete(ctx, its.Key))
	keys := store.Keys{Client: db, Table: mototest.Environment(t, "get-trigger")["KEYS_TABLE"]}
	key := auth.Key{SecretHash: uuid.NewString(), Principal: auth.Principal{AccessKey: uuid.NewString()}}
	check("creating a key", keys.Create(ctx, key))
	check("revoking a key", keys.Revoke(ctx, key.SecretHash))

	_, err = b.triggers.MarkDeleting(ctx, tr.ID)
	check("deleting a trigger", err)
	check("removing a trigger", b.triggers.Remove(ctx, tr))
	_, err = b.containers.MarkDeleting(ctx, on.ID)
	check("deleting a container", err)
	check("requeuing a container", b.containers.Requeue(ctx, on.ID, now()))
	check("removing a container", b.containers.Remove(ctx, on))
	_, err = namespaces.MarkDeleting(ctx, ns.ID)
	check("deleting a namespace", err)
	check("removing a namespace", namespaces.Remove(ctx, ns))
	for _, operation := range []string{"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"} {
		if other.refused[operation] < 2 {
			t.Errorf("no %s met a transaction", operation)
		}
	}
}

func TestStore_DoesNotRetryATransactionThatAConditionEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	attempts, cfg := 0, mototest.Config(t)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Both", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if _, ok := in.Parameters.(*dynamodb.TransactWriteItemsInput); !ok {
				return next.HandleInitialize(ctx, in)
			}
			attempts++
			return middleware.InitializeOutput{}, middleware.Metadata{}, &types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{
				{Code: aws.String("TransactionConflict")}, {Code: aws.String("ConditionalCheckFailed")},
			}}
		}), middleware.After)
	})
	b.use(cfg)
	err := b.triggers.Create(t.Context(), b.containers, b.draft(`"cron_config":{"schedule":"@daily"}`))
	if err == nil || attempts != 1 {
		t.Errorf("got %v after %d attempts", err, attempts)
	}
}

func TestStore_ReadsKeysThatDynamoDBLeftUnprocessed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for range 3 {
		ids = append(ids, b.create(daily).ID)
	}
	other, cfg := &busy{refused: map[string]int{}}, mototest.Config(t)
	other.use(&cfg)
	b.use(cfg)
	for range 2 {
		present, err := b.triggers.Present(t.Context(), ids)
		if err != nil || len(present) != len(ids) {
			t.Errorf("got %v, %v", present, err)
		}
	}
	if other.refused["BatchGetItem"] < 2 {
		t.Errorf("%d batches had unprocessed keys", other.refused["BatchGetItem"])
	}
}

func TestStore_WaitsLongerAndLongerForUnprocessedKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	attempts, cfg := 0, mototest.Config(t)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Full", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			input, ok := in.Parameters.(*dynamodb.BatchGetItemInput)
			if !ok || ctx.Err() != nil {
				return next.HandleInitialize(ctx, in)
			}
			attempts++
			return middleware.InitializeOutput{Result: &dynamodb.BatchGetItemOutput{UnprocessedKeys: input.RequestItems}}, middleware.Metadata{}, nil
		}), middleware.After)
	})
	b.use(cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := b.triggers.Present(ctx, []string{"a"}); err == nil || attempts < 2 || attempts > 100 {
		t.Errorf("got %v after %d attempts", err, attempts)
	}
}

func TestPresent_ConfirmsByAConsistentReadThatARowIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen, late := b.create(daily).ID, b.create(daily).ID
	var reads []int // the keys of each consistent read
	cfg := mototest.Config(t)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Late", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			input, ok := in.Parameters.(*dynamodb.BatchGetItemInput)
			if !ok || err != nil {
				return out, metadata, err
			}
			answer := out.Result.(*dynamodb.BatchGetItemOutput)
			for table, of := range input.RequestItems {
				if aws.ToBool(of.ConsistentRead) {
					reads = append(reads, len(of.Keys))
					continue
				}
				// The replica that answers has not seen the newest row.
				answer.Responses[table] = slices.DeleteFunc(answer.Responses[table], func(row map[string]types.AttributeValue) bool {
					return row["id"].(*types.AttributeValueMemberS).Value == late
				})
			}
			return out, metadata, err
		}), middleware.After)
	})
	b.use(cfg)
	present, err := b.triggers.Present(t.Context(), []string{seen, late, "none"})
	if err != nil || !present[seen] || !present[late] || present["none"] {
		t.Errorf("got %v, %v", present, err)
	}
	if !slices.Equal(reads, []int{2}) {
		t.Errorf("consistent reads had %v keys, want those without a row", reads)
	}
}
