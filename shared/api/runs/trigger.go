package runs

import (
	"context"
	"log/slog"
	"sync"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

// GetTrigger returns the operation that answers a trigger with its last run. It reads both at
// the same time. If the table of runs does not answer, it leaves the run out.
func GetTrigger(triggers store.Triggers, runs store.Runs) httpapi.Operation[trigger.Trigger] {
	operation := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: triggers}.Get()
	operation.Read = func(ctx context.Context, r httpapi.Request) (found trigger.Trigger, err error) {
		var last *trigger.LastRun
		var reading sync.WaitGroup
		reading.Go(func() {
			its, err := runs.Last(ctx, r.ID)
			if err != nil {
				slog.WarnContext(ctx, "a trigger is answered without its last run", "trigger_id", r.ID, "error", err)
				return
			}
			last = &trigger.LastRun{Run: its}
		})
		found, err = triggers.Get(ctx, r.ID)
		reading.Wait()
		found.LastRun = last
		return found, err
	}
	return operation
}
