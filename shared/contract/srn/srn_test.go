package srn_test

import (
	"testing"

	"containertriggers/shared/contract/srn"
)

func TestOf_HasTheFormOfTheContract(t *testing.T) {
	t.Parallel()
	const want = "srn://containers.api.example/regions/fr-par/triggers/8f5d9521-e950-41e0-b980-b85131050aff"
	if got := srn.Of("api.example", "fr-par", "triggers", "8f5d9521-e950-41e0-b980-b85131050aff"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
