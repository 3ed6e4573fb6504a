package auth

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/contract/secret"
)

// accessKeyAlphabet and accessKeyLength describe the part of an access key after "SCW".
// Stock clients refuse any other form.
const (
	accessKeyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	accessKeyLength   = 17
)

// NewKey returns a new key for a caller, and its secret. The key holds only the secret's
// hash, so the operator must pass the secret on.
func NewKey(caller Principal, description string, created, expires time.Time) (Key, secret.Text) {
	plain := uuid.NewString()
	caller.AccessKey = newAccessKey()
	return Key{
		SecretHash: Hash(plain), Description: description, Principal: caller, CreatedAt: created, ExpiresAt: expires,
	}, secret.Text(plain)
}

// newAccessKey returns a random public name. It must be unique but not hard to guess, so
// the slight bias of the modulo does not matter.
func newAccessKey() string {
	random := make([]byte, accessKeyLength)
	rand.Read(random) // its documentation says that it never fails
	for i, b := range random {
		random[i] = accessKeyAlphabet[int(b)%len(accessKeyAlphabet)]
	}
	return "SCW" + string(random)
}
