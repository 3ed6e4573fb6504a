// Package sample stores the key, namespaces, containers and triggers that the sample
// events in events/ name.
//
// The key is public, so it must be valid only in a local cloud. Therefore Store takes an
// emulator's endpoint instead of an AWS configuration, and signs with made-up credentials,
// which AWS refuses.
package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// The sample events contain these values.
const (
	key          = "11111111-1111-4111-8111-111111111111"
	organization = "2e9a8f1c-6a53-4f0e-9b7e-0c1d2e3f4a5b"
	region       = "fr-par"
	queue        = "sample-orders"

	nightly = "8f5d9521-e950-41e0-b980-b85131050aff" // the cron trigger that is read and updated

	jobs     = "9001700a-da3d-4d72-8ed0-53eb40ec2216" // the container of all triggers
	obsolete = "5b0c9d55-3f0e-4e0a-9a44-4c1f0e8f7d21" // the one that delete-container deletes

	shop    = "3b1f0c5e-2d4a-4c6b-8e7f-9a0b1c2d3e4f" // the namespace that is read and updated
	retired = "7c2e9a41-5b8d-4f36-9e10-2a4c6d8f0b13" // the one that delete-namespace deletes
)

type fields map[string]any

// containers returns the bodies that create the containers, by their IDs.
func containers(url string) map[string]fields {
	return map[string]fields{
		jobs:     {"name": "jobs", "public_endpoint": url},
		obsolete: {"name": "obsolete", "public_endpoint": url},
	}
}

// triggers returns the bodies that create the triggers, by their IDs.
func triggers(endpoint, queueURL string) map[string]fields {
	return map[string]fields{
		nightly: {
			"name": "nightly", "container_id": jobs, "destination_config": fields{"http_path": "/jobs"},
			"cron_config": fields{"schedule": "0 3 * * *", "timezone": "Europe/Paris", "body": `{"job":"nightly"}`},
		},
		"c2f1a7d4-7a35-4e0c-8b52-6d1b0a9e3f18": { // the one that delete-trigger deletes
			"name": "obsolete", "container_id": jobs, "cron_config": fields{"schedule": "@yearly"},
		},
		"e41d0b36-92c8-4b7e-8f3d-1a5c7d9b2e60": {
			"name": "orders", "container_id": jobs, "destination_config": fields{"http_path": "/orders"},
			"sqs_config": fields{"endpoint": endpoint, "queue_url": queueURL, "access_key_id": "local", "secret_access_key": "local"},
		},
	}
}

// runs are the runs of the nightly trigger, by their events: the one that is read, and the one
// that delete-run deletes. Only a failed run can begin again after it was deleted.
var runs = map[string]store.Report{
	"2026-11-24T02:00:00Z": {State: run.Succeeded, Attempts: []run.Attempt{{
		HTTPStatus: http.StatusOK, Answer: run.Answer{Header: map[string]string{run.ContentType: "text/plain"}, Body: "done"},
	}}},
	"2026-11-25T02:00:00Z": {State: run.Failed, Attempts: []run.Attempt{{
		HTTPStatus: http.StatusServiceUnavailable, Reason: run.HTTPStatus, Error: "the container answered 503 Service Unavailable",
	}}},
}

// Store stores the resources that the emulator at the endpoint does not have yet. It uses
// the tables and the KMS key that the environment of reconcile names, and the table of runs.
// The containers of the triggers are at containerURL.
func Store(ctx context.Context, endpoint string, environment map[string]string, runsTable, containerURL string) error {
	cfg := moto.Config(endpoint)
	db := dynamodb.NewFromConfig(cfg, dynamodb.WithAPIOptions(ownTokens))
	if err := storeKey(ctx, store.Keys{Client: db, Table: environment["KEYS_TABLE"]}); err != nil {
		return err
	}
	counts := store.Counts{Client: db, Table: environment["COUNTS_TABLE"]}
	namespaceRows := store.Namespaces{Client: db, Table: environment["NAMESPACES_TABLE"], Counts: counts}
	for id, name := range map[string]string{shop: "shop", retired: "retired"} {
		ns, _, err := namespace.Create(encode(fields{"name": name}), id, region, time.Now())
		if err != nil {
			return fmt.Errorf("reading the sample namespace %s: %w", id, err)
		}
		ns.OrganizationID, ns.ProjectID = organization, organization
		if err := namespaceRows.Create(ctx, ns); err != nil {
			return err
		}
	}
	containerRows := store.Containers{Client: db, Table: environment["CONTAINERS_TABLE"], Counts: counts}
	for id, body := range containers(containerURL) {
		c, _, err := container.Create(encode(body), id, region, container.Rules{AllowHTTP: true}, time.Now())
		if err != nil {
			return fmt.Errorf("reading the sample container %s: %w", id, err)
		}
		c.OrganizationID, c.ProjectID = organization, organization
		if err := containerRows.Create(ctx, c); err != nil {
			return err
		}
	}
	created, err := sqs.NewFromConfig(cfg).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(queue)})
	if err != nil {
		return fmt.Errorf("creating the queue %s: %w", queue, err)
	}
	triggerRows := store.Triggers{Client: db, Table: environment["TRIGGERS_TABLE"], Counts: counts}
	sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: environment["KMS_KEY_ID"]}
	for id, body := range triggers(endpoint, *created.QueueUrl) {
		t, secret, err := trigger.Create(encode(body), id, region, time.Now())
		if err != nil {
			return fmt.Errorf("reading the sample trigger %s: %w", id, err)
		}
		if secret != nil {
			if t.SealedSecret, err = sealer.Seal(ctx, trigger.Resource, id, *secret); err != nil {
				return err
			}
		}
		t.Owner = auth.Owner{OrganizationID: organization, ProjectID: organization}
		if err := triggerRows.Create(ctx, containerRows, t); err != nil {
			return err
		}
	}
	return storeRuns(ctx, store.Runs{Client: db, Table: runsTable, Retention: 365 * 24 * time.Hour})
}

func storeRuns(ctx context.Context, rows store.Runs) error {
	for event, report := range runs {
		at, err := time.Parse(time.RFC3339, event)
		if err != nil {
			return fmt.Errorf("reading the sample run %s: %w", event, err)
		}
		due := trigger.Occurrence{TriggerID: nightly, ContainerID: jobs, ScheduledTime: at}
		its := due.Run(trigger.Trigger{Region: region, Owner: auth.Owner{OrganizationID: organization, ProjectID: organization}})
		if _, err := rows.Get(ctx, its.Key); !errors.Is(err, store.ErrNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		const holder = "sample"
		its.StartedAt = at.Add(time.Second)
		if _, err := rows.Claim(ctx, its, store.Claim{Holder: holder, Until: time.Now()}); err != nil {
			return err
		}
		last := &report.Attempts[0]
		last.StartedAt, last.Duration = its.StartedAt, 412*time.Millisecond
		report.At = its.StartedAt.Add(last.Duration)
		if err := rows.Record(ctx, its, holder, report); err != nil {
			return err
		}
	}
	return nil
}

// ownTokens gives each transaction a client token of its own. The store's token is the
// trigger's ID. If a row of that ID was deleted less than ten minutes ago, DynamoDB would
// take the request for the earlier one.
func ownTokens(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("OwnTokens", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		if transaction, ok := in.Parameters.(*dynamodb.TransactWriteItemsInput); ok {
			transaction.ClientRequestToken = aws.String(uuid.NewString())
		}
		return next.HandleInitialize(ctx, in)
	}), middleware.Before)
}

func encode(body fields) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // it is made of strings
	}
	return text
}

func storeKey(ctx context.Context, keys store.Keys) error {
	_, err := keys.Key(ctx, auth.Hash(key))
	if !errors.Is(err, auth.ErrUnknownKey) {
		return err
	}
	return keys.Create(ctx, auth.Key{
		SecretHash: auth.Hash(key), Description: "of the events in events/",
		Principal: auth.Principal{AccessKey: "SCWSAMPLEXXXXXXXXXXX", OrganizationID: organization, DefaultProjectID: organization, PermissionSet: auth.FullAccess},
		CreatedAt: time.Now(),
	})
}
