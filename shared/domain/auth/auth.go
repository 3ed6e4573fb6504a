// Package auth finds the caller of a request by its secret key, and checks whether the
// caller may read or change a resource.
//
// A key is stored as the SHA-256 of its secret. The secret is a random UUID, so it cannot
// be guessed and needs no slow hash.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// ErrUnknownKey is the error for a key that does not exist.
var ErrUnknownKey = errors.New("no such key")

// PermissionSet names the actions that a key permits, as the API names them.
type PermissionSet string

// The permission sets.
const (
	ReadOnly   PermissionSet = "ContainersReadOnly"
	FullAccess PermissionSet = "ContainersFullAccess"
)

// Principal is the sender of an authenticated request.
type Principal struct {
	// AccessKey is the public name of the caller's key: "SCW" and 17 characters of A-Z and
	// 0-9.
	AccessKey      string
	OrganizationID string
	// ProjectIDs are the projects that the caller may read. Nil means all projects of
	// the organization.
	ProjectIDs []string
	// DefaultProjectID is the project of a container that is created without one.
	DefaultProjectID string
	PermissionSet    PermissionSet
}

// CanRead reports whether the caller may read the resources of a project.
func (c Principal) CanRead(organizationID, projectID string) bool {
	return c.OrganizationID == organizationID && (c.ProjectIDs == nil || slices.Contains(c.ProjectIDs, projectID))
}

// MayRead returns nil if the caller may read a resource of that owner. Otherwise it
// returns not_found, as for a resource that does not exist.
func (c Principal) MayRead(resource, id string, owner Owner) error {
	if !c.CanRead(owner.OrganizationID, owner.ProjectID) {
		return apierr.NotFound(resource, id)
	}
	return nil
}

// MayWrite returns nil if the caller's key permits changes to resources of that kind.
// Otherwise it returns permissions_denied. It does not check the owner.
func (c Principal) MayWrite(resource string) error {
	if c.PermissionSet != FullAccess {
		return apierr.PermissionsDenied("write", resource)
	}
	return nil
}

// Change is a change of a resource through the API. It is zero if there was none.
type Change struct {
	Operation Operation
	// AccessKey is the public name of the key.
	AccessKey string
	At        time.Time
}

// Operation is a change through the API.
type Operation string

// The operations.
const (
	Create Operation = "create"
	Update Operation = "update"
	Pause  Operation = "pause"
	Resume Operation = "resume"
	Delete Operation = "delete"
)

// Change returns a change that the caller makes.
func (c Principal) Change(operation Operation, at time.Time) Change {
	return Change{operation, c.AccessKey, at}
}

// Key is an API key that an operator created.
type Key struct {
	// SecretHash is [Hash] of the secret key. It identifies the key.
	SecretHash  string
	Description string
	Principal
	CreatedAt time.Time
	// ExpiresAt is the time from which the key is refused. Zero means never.
	ExpiresAt time.Time
}

// Hash returns the form in which a secret key is stored and looked up.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Keys is a store of keys.
type Keys interface {
	// Key returns the key of that hash, or ErrUnknownKey if there is none.
	Key(ctx context.Context, hash string) (Key, error)
}

// cacheTime is how long a key is cached. A revoked key works for that long at most.
const cacheTime = time.Minute

// maxCached is the largest number of cached keys.
const maxCached = 1000

// Authenticator finds callers by their secret keys. It caches a key for up to a minute,
// and is safe for concurrent use.
type Authenticator struct {
	keys Keys
	now  func() time.Time

	mu    sync.Mutex
	known map[string]knownKey // by hash
}

type knownKey struct {
	key Key
	at  time.Time
}

// NewAuthenticator returns an Authenticator for the keys of a store.
func NewAuthenticator(keys Keys, now func() time.Time) *Authenticator {
	return &Authenticator{keys: keys, now: now, known: map[string]knownKey{}}
}

// Authenticate returns the caller that has the secret key. The error is an *apierr.Error
// if the key is refused, or the error of a failed look-up.
func (a *Authenticator) Authenticate(ctx context.Context, secret string) (Principal, error) {
	canonical, ok := request.CanonicalUUID(secret)
	if !ok {
		return Principal{}, apierr.DeniedAuthentication(apierr.DeniedInvalid)
	}
	key, err := a.lookup(ctx, Hash(canonical))
	if errors.Is(err, ErrUnknownKey) {
		return Principal{}, apierr.DeniedAuthentication(apierr.DeniedNotFound)
	}
	if err != nil {
		return Principal{}, err
	}
	if !key.ExpiresAt.IsZero() && !a.now().Before(key.ExpiresAt) {
		return Principal{}, apierr.DeniedAuthentication(apierr.DeniedExpired)
	}
	return key.Principal, nil
}

// lookup returns the key of that hash from the cache or from the store.
func (a *Authenticator) lookup(ctx context.Context, hash string) (Key, error) {
	now := a.now().Round(0) // the wall clock, because the monotonic clock may stand still while Lambda freezes a function
	a.mu.Lock()
	known, ok := a.known[hash]
	a.mu.Unlock()
	if ok && now.Sub(known.at) < cacheTime {
		return known.key, nil
	}
	key, err := a.keys.Key(ctx, hash)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.known, hash)
		return Key{}, err
	}
	if len(a.known) >= maxCached {
		clear(a.known)
	}
	a.known[hash] = knownKey{key, now}
	return key, nil
}
