package trigger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/trigger"
)

const delivered = `{"name":"n","container_id":"9001700a-da3d-4d72-8ed0-53eb40ec2216",%s,"cron_config":{"schedule":"@daily"}}`

func TestDeliveryConfig_SetsTheHistory(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]trigger.History{
		`"tags":[]`:                                trigger.HistoryAll,
		`"delivery_config":{"history":"none"}`:     trigger.HistoryNone,
		`"delivery_config":{"history":null}`:       trigger.HistoryAll,
		`"delivery_config":null`:                   trigger.HistoryAll,
		`"tags":["a","delivery.history=failures"]`: trigger.HistoryFailures,
		`"tags":["delivery"]`:                      trigger.HistoryAll,
		`"tags":["delivery.team"]`:                 trigger.HistoryAll,
		`"tags":["delivery.history=failures"],"delivery_config":{"history":"none"}`: trigger.HistoryFailures,
	} {
		created, _, err := trigger.Create(fmt.Appendf(nil, delivered, body), "i", "fr-par", time.Now())
		if err != nil || created.History() != want {
			t.Errorf("%s: got %q, %v", body, created.History(), err)
		}
	}
	for body, argument := range map[string]string{
		`"delivery_config":{"history":"some"}`:  "delivery_config.history",
		`"delivery_config":{"histroy":"all"}`:   "delivery_config.histroy",
		`"delivery_config":{"history":1}`:       "delivery_config.history",
		`"delivery_config":"all"`:               "delivery_config",
		`"tags":["delivery.history=some"]`:      "tags",
		`"tags":["delivery.histroy=all"]`:       "tags",
		`"tags":["delivery.max_concurrency=x"]`: "tags",
	} {
		_, _, err := trigger.Create(fmt.Appendf(nil, delivered, body), "i", "fr-par", time.Now())
		if told := fmt.Sprint(apierr.From(err).Details); !strings.Contains(told, "{"+argument+" ") {
			t.Errorf("%s: got %s", body, told)
		}
	}
}

func TestUpdate_SetsTheHistoryAndNothingElse(t *testing.T) {
	t.Parallel()
	created, _, err := trigger.Create(fmt.Appendf(nil, delivered, `"tags":[]`), "i", "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	updated, _, err := created.Update([]byte(`{"delivery_config":{"history":"none"}}`), time.Now())
	if err != nil || updated.History() != trigger.HistoryNone || updated.Generation != 2 || updated.Status != created.Status {
		t.Errorf("got %+v, %v", updated, err)
	}
	same, _, err := updated.Update([]byte(`{"delivery_config":{}}`), time.Now())
	if err != nil || same.Generation != 2 {
		t.Errorf("got %+v, %v", same, err)
	}
}
