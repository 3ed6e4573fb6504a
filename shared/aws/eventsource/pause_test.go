package eventsource

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestApply_DisablesTheMappingOfAPausedTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.paused = true
	b.mustApply()
	if mapped := b.mapped(); len(mapped) != 0 {
		t.Fatalf("a paused trigger got %+v", mapped)
	}
	b.paused = false
	b.mustApply()
	id := aws.ToString(b.expect(b.ShortARN).UUID)
	b.paused = true
	b.mustApply()
	mapped := b.mapped()
	if len(mapped) != 1 || aws.ToString(mapped[0].UUID) != id || aws.ToString(mapped[0].State) != "Disabled" {
		t.Fatalf("got %+v, want the mapping disabled", mapped)
	}
	if listed := b.listed(); !listed.Disabled || listed.UpToDate {
		t.Errorf("it is listed as %+v", listed)
	}
	before := b.calls.count.Load()
	b.mustApply()
	if calls := b.calls.count.Load() - before; calls != 1 {
		t.Errorf("%d calls for a mapping that is disabled, want the list alone", calls)
	}
	b.paused = false
	b.mustApply()
	if mapping := b.expect(b.ShortARN); aws.ToString(mapping.UUID) != id {
		t.Errorf("the mapping is another one: %+v", mapping)
	}
	if listed := b.listed(); listed.Disabled || !listed.UpToDate {
		t.Errorf("it is listed as %+v", listed)
	}
}
