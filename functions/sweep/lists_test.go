package main

import (
	"context"
	"testing"
	"time"

	"containertriggers/shared/aws/eventsource"
)

func TestSweep_ComparesNoTriggerWithAnOlderListOfMappings(t *testing.T) {
	b := setup(t)
	onQueue, _ := b.onQueue()
	row, err := b.triggers.Get(t.Context(), b.ready(onQueue).ID)
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]bool{-time.Second: false, time.Second: true} {
		s := &sweep{function: b.function, began: row.UpdatedAt.Add(age)}
		s.mapped = begin(t.Context(), func(context.Context) (map[string][]eventsource.Mapping, error) {
			return map[string][]eventsource.Mapping{}, nil
		})
		if got, err := s.hasDrifted(t.Context(), row); err != nil || got != want {
			t.Errorf("a list that began %s after the trigger changed: drifted %t, %v", age, got, err)
		}
	}
}
