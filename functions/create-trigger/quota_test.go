package main

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
)

func TestCreate_AnswersWhichQuotasAreReached(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.triggers.Quotas = store.Quotas{PerContainer: 2, PerOrganization: 3}
	expect := func(want ...apierr.Quota) {
		t.Helper()
		_, err := b.create("fr-par", b.body(`"cron_config":{"schedule":"@daily"}`))
		if len(want) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		told := apierr.From(err)
		if got, ok := told.Details.([]apierr.Quota); told.Type != apierr.TypeQuotasExceeded || told.Status != 403 || !ok || !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", told, want)
		}
	}
	perContainer := apierr.Quota{Resource: "triggers_per_container", Quota: 2, Current: 2}
	perOrganization := apierr.Quota{Resource: "triggers_per_organization", Quota: 3, Current: 3}
	expect()
	expect()
	expect(perContainer)
	full := b.container.ID
	b.container.ID = uuid.NewString()
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect()
	expect(perOrganization)
	b.container.ID = full
	expect(perContainer, perOrganization)
	b.container.ID, b.container.OrganizationID = uuid.NewString(), uuid.NewString()
	b.caller.OrganizationID = b.container.OrganizationID
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect() // another organization's quota is its own
}
