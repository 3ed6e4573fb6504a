package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caarlos0/env/v11"

	"containertriggers/infra/local/guard"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/source"
)

// exactly looks at what a cloud holds, past the service.
type exactly struct {
	t          *testing.T
	db         *dynamodb.Client
	sources    source.Sources
	triggers   store.Triggers
	containers store.Containers
	claims     store.Claims
}

// failer is a test, or one run of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newExactly(t *testing.T, w *world) exactly {
	t.Helper()
	cfg, environment := guard.Uncounted(w.AWSConfig()), w.Function("sweep").Environment
	settings, err := env.ParseAsWithOptions[source.Settings](env.Options{Environment: environment})
	if err != nil {
		t.Fatal(err)
	}
	db := dynamodb.NewFromConfig(cfg)
	sources, err := source.New(settings, cfg, db, seal.Sealer{}, &eventsource.Pace{})
	if err != nil {
		t.Fatal(err)
	}
	return exactly{
		t: t, db: db, sources: sources, triggers: sources.Queues.Triggers,
		containers: store.Containers{Client: db, Table: environment["CONTAINERS_TABLE"]}, claims: sources.Queues.Claims,
	}
}

// all reads all pages.
func all[T any](f failer, page func(after string) ([]T, string, error)) (list []T) {
	f.Helper()
	for after, first := "", true; first || after != ""; first = false {
		some, next, err := page(after)
		if err != nil {
			f.Fatalf("%v", err)
		}
		list, after = append(list, some...), next
	}
	return list
}

func (e exactly) rows(f failer) []trigger.Trigger {
	f.Helper()
	return all(f, func(after string) ([]trigger.Trigger, string, error) { return e.triggers.Page(e.t.Context(), after, 0) })
}

// schedules counts the schedules by their triggers.
func (e exactly) schedules(f failer) map[string]int {
	f.Helper()
	names := all(f, func(after string) ([]string, string, error) {
		listed, next, err := e.sources.Schedules.List(e.t.Context(), after, 1)
		return slices.Collect(maps.Keys(listed)), next, err
	})
	count := map[string]int{}
	for _, name := range names {
		id, _, _ := strings.Cut(name, ".")
		count[id]++
	}
	return count
}

func (e exactly) mappings(f failer) []eventsource.Mapping {
	f.Helper()
	all, err := e.sources.Queues.Mappings.All(e.t.Context())
	if err != nil {
		f.Fatalf("%v", err)
	}
	return all
}

func (e exactly) holders(f failer) map[string]bool {
	f.Helper()
	holders := map[string]bool{}
	for _, id := range all(f, func(after string) ([]string, string, error) { return e.claims.Holders(e.t.Context(), after, 0) }) {
		holders[id] = true
	}
	return holders
}

// agree is nil where rows, schedules, mappings and claims agree with each other,
// and each status is true. There is no queue at the URL missing.
func (e exactly) agree(f failer, missing string) error {
	rows, schedules, mapped, holders := e.rows(f), e.schedules(f), map[string][]eventsource.Mapping{}, e.holders(f)
	for _, m := range e.mappings(f) {
		mapped[m.QueueARN] = append(mapped[m.QueueARN], m)
	}
	wanted, owned := map[string]int{}, map[string]int{} // by queue URL: who wants it, and who has it
	for _, row := range rows {
		delete(holders, row.ID) // which may have been left without a queue
		held, err := e.claims.Held(e.t.Context(), row.ID)
		if err != nil {
			f.Fatalf("%v", err)
		}
		switch {
		case row.Cron != nil:
			drifted, _, err := e.sources.Schedules.Drifted(e.t.Context(), row, nil)
			if err != nil {
				f.Fatalf("%v", err)
			}
			if row.Status != trigger.Ready || drifted {
				return fmt.Errorf("the cron trigger %s is %s, drifted %t: %s", row.ID, row.Status, drifted, row.ErrorMessage)
			}
			delete(schedules, row.ID)
		case row.NATS != nil:
			if row.Status != trigger.Ready || len(held) > 0 {
				return fmt.Errorf("the NATS trigger %s is %s, holds %v: %s", row.ID, row.Status, held, row.ErrorMessage)
			}
		case row.SQS.QueueURL == missing:
			if row.Status != trigger.Error || !strings.Contains(row.ErrorMessage, "there is no queue") || len(held) > 0 {
				return fmt.Errorf("the trigger %s on no queue is %s, holds %v: %s", row.ID, row.Status, held, row.ErrorMessage)
			}
		default:
			wanted[row.SQS.QueueURL]++
			if row.Status != trigger.Ready {
				if !strings.Contains(row.ErrorMessage, "the queue belongs to") || len(held) > 0 {
					return fmt.Errorf("the trigger %s that waits is %s, holds %v: %s", row.ID, row.Status, held, row.ErrorMessage)
				}
				continue
			}
			drifted, err := e.sources.Queues.Drifted(e.t.Context(), row, mapped)
			if err != nil {
				f.Fatalf("%v", err)
			}
			if drifted || len(held) != 1 {
				return fmt.Errorf("the trigger %s has drifted: it holds %v", row.ID, held)
			}
			claim, err := e.claims.Queue(e.t.Context(), held[0])
			if err != nil || claim.TriggerID != row.ID || claim.QueueURL != row.SQS.QueueURL {
				return fmt.Errorf("the trigger %s wants %s, and the claim is %+v, %w", row.ID, row.SQS.QueueURL, claim, err)
			}
			owned[row.SQS.QueueURL]++
			delete(mapped, held[0])
		}
	}
	for url := range wanted {
		if owned[url] != 1 {
			return fmt.Errorf("%d triggers want the queue %s, and %d have it", wanted[url], url, owned[url])
		}
	}
	if len(schedules) > 0 || len(mapped) > 0 || len(holders) > 0 {
		return fmt.Errorf("left over: schedules %v, mappings %v, claims %v", schedules, mapped, holders)
	}
	return nil
}

// empty is nil where there is nothing at all.
func (e exactly) empty(f failer) error {
	if rows := e.rows(f); len(rows) > 0 {
		return fmt.Errorf("left are %d rows", len(rows)) // a row is what goes last; moto lists nothing that is being deleted
	}
	if schedules, mapped, holders := e.schedules(f), e.mappings(f), e.holders(f); len(schedules) > 0 || len(mapped) > 0 || len(holders) > 0 {
		return fmt.Errorf("without a row are schedules of %d triggers, %d mappings, %d holders of claims", len(schedules), len(mapped), len(holders))
	}
	deleting := all(f, func(after string) ([]string, string, error) {
		return e.containers.Deleting(e.t.Context(), after, time.Now())
	})
	if len(deleting) > 0 {
		return fmt.Errorf("%d containers are still being deleted", len(deleting))
	}
	return nil
}
