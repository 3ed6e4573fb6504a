package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/shared/aws/seal"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
)

// countingKMS counts the calls of Decrypt.
type countingKMS struct {
	seal.KMS
	decrypts atomic.Int64
}

func (c *countingKMS) Decrypt(ctx context.Context, input *kms.DecryptInput, options ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	c.decrypts.Add(1)
	return c.KMS.Decrypt(ctx, input, options...)
}

func TestHandle_DecryptsTheTokenOnlyForACall(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusOK)
	counter := &countingKMS{KMS: b.resolver.Sealer.Client}
	b.resolver.Sealer.Client, b.resolver.Tokens = counter, &resolve.Tokens{}
	token := uuid.NewString()
	sealed, err := b.resolver.Sealer.Seal(t.Context(), container.Resource, b.to.ID, secret.Text(token))
	if err != nil {
		t.Fatal(err)
	}
	private := b.to
	private.Privacy, private.SealedToken, private.Generation = container.Private, sealed, b.to.Generation+1
	if _, err := b.resolver.Containers.Update(t.Context(), b.to, private); err != nil {
		t.Fatal(err)
	}
	expect := func(delivery string, decrypts int64) {
		t.Helper()
		if err := b.deliver(delivery); err != nil {
			t.Errorf("%s: %v", delivery, err)
		}
		if got := counter.decrypts.Load(); got != decrypts {
			t.Errorf("%s: %d calls of Decrypt in all, want %d", delivery, got, decrypts)
		}
	}
	expect("first", 1)
	if got := (<-b.headers).Get("X-Auth-Token"); got != token {
		t.Errorf("the container got the token %q", got)
	}
	expect("duplicate", 1)
	for minute := range 3 {
		next := b.fire()
		next.ScheduledTime = due.Add(time.Duration(minute+1) * time.Minute)
		if err := b.deliverOccurrence("next", next); err != nil {
			t.Error(err)
		}
		if got := (<-b.headers).Get("X-Auth-Token"); got != token || counter.decrypts.Load() != 1 {
			t.Errorf("after %d calls of Decrypt, the container got the token %q", counter.decrypts.Load(), got)
		}
	}
	if _, err := b.resolver.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
		t.Fatal(err)
	}
	expect("of a trigger that is being deleted", 1)
}
