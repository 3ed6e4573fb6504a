package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/aws/store"
)

func TestPositions_KeepNanosecondsUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	positions, id := store.Positions(claims(t)), uuid.NewString()
	if got, err := positions.Get(t.Context(), id); err != nil || got != (store.Position{}) {
		t.Errorf("got %+v, %v", got, err)
	}
	created := time.Date(2026, 11, 25, 20, 0, 0, 123456789, time.UTC)
	for _, want := range []store.Position{
		{Stream: "S", Created: created, Consumer: created.Add(time.Nanosecond), Floor: 1<<64 - 1, Source: "a"},
		{Stream: "T", Created: created.Add(time.Hour), Consumer: created, Floor: 0, Source: "b"},
	} {
		if err := positions.Set(t.Context(), id, want); err != nil {
			t.Fatal(err)
		}
		if got, err := positions.Get(t.Context(), id); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if err := positions.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got, err := positions.Get(t.Context(), id); err != nil || got != (store.Position{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}
