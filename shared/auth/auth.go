// Package auth tells who calls, by the secret key of the request, and what the
// caller may do.
//
// A key is kept as the SHA-256 of its secret: a secret is a random UUID, so
// there is nothing to guess and no need for a slow hash.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"containertriggers/shared/check"
	"containertriggers/shared/container"
	"containertriggers/shared/fault"
)

// ErrUnknownKey says that nobody has that key.
var ErrUnknownKey = errors.New("no such key")

// PermissionSet is what a key lets its holder do, under the API's names.
type PermissionSet string

// The permission sets.
const (
	ReadOnly   PermissionSet = "ContainersReadOnly"
	FullAccess PermissionSet = "ContainersFullAccess"
)

// Caller is whom a request comes from.
type Caller struct {
	OrganizationID string
	// ProjectIDs are the projects that the caller may see; nil means all of the
	// organization's.
	ProjectIDs []string
	// DefaultProjectID is where a container goes that names no project.
	DefaultProjectID string
	PermissionSet    PermissionSet
}

// CanRead says whether the caller may know of what belongs to that project.
func (c Caller) CanRead(organizationID, projectID string) bool {
	return c.OrganizationID == organizationID && (c.ProjectIDs == nil || slices.Contains(c.ProjectIDs, projectID))
}

// MayRead is nil where the caller may know of the resource of that owner. To
// anybody else the resource does not exist.
func (c Caller) MayRead(resource, id string, owner container.Owner) error {
	if !c.CanRead(owner.OrganizationID, owner.ProjectID) {
		return fault.NotFound(resource, id)
	}
	return nil
}

// MayWrite is nil where the caller may change resources of that kind, among
// those that it may read.
func (c Caller) MayWrite(resource string) error {
	if c.PermissionSet != FullAccess {
		return fault.PermissionsDenied("write", resource)
	}
	return nil
}

// Key is an API key as the operator made it.
type Key struct {
	// SecretHash is [Hash] of the secret key, by which the key is found.
	SecretHash string
	// AccessKey is the key's public name: "SCW" and 17 characters of A-Z and 0-9.
	AccessKey   string
	Description string
	Caller
	CreatedAt time.Time
	// ExpiresAt is when the key stops to work; zero means never.
	ExpiresAt time.Time
}

// Hash is how a secret key is kept and looked up.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Keys looks keys up.
type Keys interface {
	// Key finds the key whose secret has that hash, or [ErrUnknownKey].
	Key(ctx context.Context, hash string) (Key, error)
}

// remembered is for how long a key is not looked up again: a revoked one dies
// within that time.
const remembered = time.Minute

// mostRemembered bounds the memory that keys take.
const mostRemembered = 1000

// Authenticator tells callers by their secret keys. It remembers a key for up to
// a minute, and is safe for concurrent use.
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

// NewAuthenticator makes an Authenticator that looks keys up in keys.
func NewAuthenticator(keys Keys, now func() time.Time) *Authenticator {
	return &Authenticator{keys: keys, now: now, known: map[string]knownKey{}}
}

// Authenticate tells whose secret key it is. The error is a *fault.Error that
// says why the key is not accepted, or that of a failed look-up.
func (a *Authenticator) Authenticate(ctx context.Context, secret string) (Caller, error) {
	canonical, ok := check.CanonicalUUID(secret)
	if !ok {
		return Caller{}, fault.DeniedAuthentication(fault.DeniedInvalid)
	}
	key, err := a.lookup(ctx, Hash(canonical))
	if errors.Is(err, ErrUnknownKey) {
		return Caller{}, fault.DeniedAuthentication(fault.DeniedNotFound)
	}
	if err != nil {
		return Caller{}, err
	}
	if !key.ExpiresAt.IsZero() && !a.now().Before(key.ExpiresAt) {
		return Caller{}, fault.DeniedAuthentication(fault.DeniedExpired)
	}
	return key.Caller, nil
}

func (a *Authenticator) lookup(ctx context.Context, hash string) (Key, error) {
	now := a.now().Round(0) // by the calendar: other clocks may stand still while Lambda keeps a function frozen
	a.mu.Lock()
	known, ok := a.known[hash]
	a.mu.Unlock()
	if ok && now.Sub(known.at) < remembered {
		return known.key, nil
	}
	key, err := a.keys.Key(ctx, hash)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.known, hash)
		return Key{}, err
	}
	if len(a.known) >= mostRemembered {
		clear(a.known)
	}
	a.known[hash] = knownKey{key, now}
	return key, nil
}
