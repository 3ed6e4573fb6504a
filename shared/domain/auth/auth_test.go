package auth_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
)

// keys is a store of keys that counts how often it is asked.
type keys struct {
	known map[string]auth.Key
	asked int
	err   error
}

func (k *keys) Key(_ context.Context, hash string) (auth.Key, error) {
	k.asked++
	if k.err != nil {
		return auth.Key{}, k.err
	}
	key, ok := k.known[hash]
	if !ok {
		return auth.Key{}, auth.ErrUnknownKey
	}
	return key, nil
}

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

type testBundle struct {
	*auth.Authenticator
	t      *testing.T
	store  *keys
	clock  time.Time
	secret string
}

func setup(t *testing.T, expires time.Time) *testBundle {
	t.Helper()
	b := &testBundle{t: t, clock: start, store: &keys{known: map[string]auth.Key{}}}
	key, secret := auth.NewKey(auth.Principal{OrganizationID: "o", PermissionSet: auth.FullAccess}, "", start, expires)
	b.secret = string(secret)
	b.store.known[key.SecretHash] = key
	b.Authenticator = auth.NewAuthenticator(b.store, func() time.Time { return b.clock })
	return b
}

func (b *testBundle) expect(secret, reason string) {
	b.t.Helper()
	caller, err := b.Authenticate(b.t.Context(), secret)
	if reason == "" {
		if err != nil || caller.OrganizationID != "o" {
			b.t.Errorf("got %+v, %v", caller, err)
		}
		return
	}
	if told := apierr.From(err); told.Type != apierr.TypeDeniedAuthentication || told.Reason != reason || caller.OrganizationID != "" {
		b.t.Errorf("got %+v, %v; want %s", caller, err, reason)
	}
}

func TestAuthenticate_DeniesKeysWithTheReason(t *testing.T) {
	t.Parallel()
	b := setup(t, start.Add(time.Hour))
	b.expect(b.secret, "")
	b.expect(strings.ToUpper(b.secret), "")
	b.expect(uuid.NewString(), "not_found")
	for _, malformed := range []string{"", "x", "{" + b.secret + "}", "urn:uuid:" + b.secret, strings.ReplaceAll(b.secret, "-", ""), b.secret + " "} {
		b.expect(malformed, "invalid_argument")
	}
	b.clock = start.Add(time.Hour)
	b.expect(b.secret, "expired")
}

func TestAuthenticate_DeniesARevokedKeyWithinAMinute(t *testing.T) {
	t.Parallel()
	b := setup(t, time.Time{})
	b.expect(b.secret, "")
	b.clock = start.Add(59 * time.Second)
	b.expect(b.secret, "")
	if b.store.asked != 1 {
		t.Errorf("a cached key was looked up %d times", b.store.asked)
	}
	clear(b.store.known)
	b.clock = start.Add(time.Minute)
	b.expect(b.secret, "not_found")
	b.clock = start // a denial is not cached either
	b.expect(b.secret, "not_found")
}

func TestAuthenticate_ReturnsTheErrorOfAFailedLookUp(t *testing.T) {
	t.Parallel()
	b := setup(t, time.Time{})
	b.store.err = errors.New("throttled")
	if _, err := b.Authenticate(t.Context(), b.secret); !errors.Is(err, b.store.err) {
		t.Errorf("got %v", err)
	}
	b.store.err = nil
	b.expect(b.secret, "")
}

func TestAuthenticator_RemembersAtMost1000Keys(t *testing.T) {
	t.Parallel()
	b := setup(t, time.Time{})
	b.expect(b.secret, "")
	for range 1000 {
		key, secret := auth.NewKey(auth.Principal{OrganizationID: "o"}, "", start, time.Time{})
		b.store.known[key.SecretHash] = key
		b.expect(string(secret), "")
	}
	asked := b.store.asked
	b.expect(b.secret, "")
	if b.store.asked != asked+1 {
		t.Error("the first of 1,001 keys is still cached")
	}
	b.expect(b.secret, "")
	if b.store.asked != asked+1 {
		t.Error("the last key is not cached")
	}
}

func TestAuthenticate_KeepsCallersApart(t *testing.T) {
	t.Parallel()
	b := setup(t, time.Time{})
	other, secret := auth.NewKey(auth.Principal{OrganizationID: "other"}, "", start, time.Time{})
	b.store.known[other.SecretHash] = other
	for range 3 {
		b.expect(b.secret, "")
		if caller, err := b.Authenticate(t.Context(), string(secret)); err != nil || caller.OrganizationID != "other" {
			t.Errorf("got %+v, %v", caller, err)
		}
	}
}

func TestPrincipal_LimitsReadsAndWrites(t *testing.T) {
	t.Parallel()
	owner := auth.Owner{OrganizationID: "o", ProjectID: "p"}
	for name, test := range map[string]struct {
		caller      auth.Principal
		read, write bool
	}{
		"organization":       {auth.Principal{OrganizationID: "o", PermissionSet: auth.FullAccess}, true, true},
		"project":            {auth.Principal{OrganizationID: "o", ProjectIDs: []string{"x", "p"}, PermissionSet: auth.FullAccess}, true, true},
		"other project":      {auth.Principal{OrganizationID: "o", ProjectIDs: []string{"x"}, PermissionSet: auth.FullAccess}, false, true},
		"no project":         {auth.Principal{OrganizationID: "o", ProjectIDs: []string{}, PermissionSet: auth.FullAccess}, false, true},
		"other organization": {auth.Principal{OrganizationID: "x", ProjectIDs: []string{"p"}, PermissionSet: auth.FullAccess}, false, true},
		"read-only":          {auth.Principal{OrganizationID: "o", PermissionSet: auth.ReadOnly}, true, false},
		"unknown set":        {auth.Principal{OrganizationID: "o", PermissionSet: "Everything"}, true, false},
	} {
		if err := test.caller.MayRead("trigger", "id", owner); (err == nil) != test.read || err != nil && apierr.From(err).Type != apierr.TypeNotFound {
			t.Errorf("%s reads: %v", name, err)
		}
		if err := test.caller.MayWrite("trigger"); (err == nil) != test.write || err != nil && apierr.From(err).Type != apierr.TypePermissionsDenied {
			t.Errorf("%s writes: %v", name, err)
		}
	}
}

func TestNewKey_HasTheFormThatStockClientsDemand(t *testing.T) {
	t.Parallel()
	key, secret := auth.NewKey(auth.Principal{}, "", start, time.Time{})
	if !regexp.MustCompile(`^SCW[A-Z0-9]{17}$`).MatchString(key.AccessKey) {
		t.Errorf("got access key %s", key.AccessKey)
	}
	if _, err := uuid.Parse(string(secret)); err != nil || key.SecretHash != auth.Hash(string(secret)) {
		t.Errorf("got %v", err)
	}
}
