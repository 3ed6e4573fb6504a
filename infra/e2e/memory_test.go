package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/infra/local/child"
)

// maxPayload is the largest event that Lambda passes to a function, in bytes (Lambda Developer
// Guide, "Lambda quotas"). maxMessage is the largest message of SQS.
const (
	maxPayload = 6 << 20
	maxMessage = 1 << 20
)

// The local cloud kills a function that needs more memory than the template gives it.
func TestSQSTrigger_DeliversTheLargestBatchWithinItsMemory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q := b.createQueue(nil)
	b.expectReady(b.createSQS("large", q.config()).ID)
	var batch events.SQSEvent
	for i := range maxPayload/maxMessage - 1 {
		batch.Records = append(batch.Records, events.SQSMessage{
			MessageId: strconv.Itoa(i), ReceiptHandle: "r", Body: strings.Repeat("x", maxMessage), EventSourceARN: q.arn,
			Attributes: map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": "1795431600000"},
		})
	}
	payload, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		answer, err := b.Invoke(t.Context(), "dispatch-queue", payload)
		if err != nil || string(answer) != `{"batchItemFailures":null}` && string(answer) != `{"batchItemFailures":[]}` {
			t.Fatalf("got %s, %v", answer, err)
		}
		for range batch.Records {
			b.nextCall()
		}
	}
	if child.TellsMemory {
		most := b.Function("dispatch-queue").MemoryMB << 20
		if peak := peakOf(t, "dispatch-queue"); peak > most*3/4 {
			t.Errorf("a run needed %d MB of %d MB", peak>>20, most>>20)
		} else {
			t.Logf("a run needed %d MB of %d MB", peak>>20, most>>20)
		}
	}
}

// peakOf returns the most memory that a process of a function has had, in bytes.
func peakOf(t *testing.T, folder string) (peak int) {
	t.Helper()
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		binary, err := os.Readlink(filepath.Join(filepath.Dir(status), "exe"))
		if err != nil || filepath.Base(filepath.Dir(binary)) != folder {
			continue
		}
		text, err := os.ReadFile(status)
		if err != nil {
			continue // the process has ended
		}
		var kilobytes int
		if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
			if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
				t.Fatal(err)
			}
		}
		peak = max(peak, kilobytes<<10)
	}
	return peak
}
