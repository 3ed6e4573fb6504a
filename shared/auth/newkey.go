package auth

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/secret"
)

// accessKeyAlphabet and accessKeyLength are the form that stock clients demand
// of an access key, after "SCW".
const (
	accessKeyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	accessKeyLength   = 17
)

// NewKey draws a key for a caller. The secret is not kept anywhere: whoever
// makes the key must hand it over.
func NewKey(caller Caller, description string, created, expires time.Time) (Key, secret.Text) {
	plain := uuid.NewString()
	return Key{
		SecretHash: Hash(plain), AccessKey: newAccessKey(), Description: description,
		Caller: caller, CreatedAt: created, ExpiresAt: expires,
	}, secret.Text(plain)
}

// newAccessKey draws a public name. It need not be hard to guess, only unlike
// all others, so the slight bias of the modulo does not matter.
func newAccessKey() string {
	random := make([]byte, accessKeyLength)
	rand.Read(random) // never fails, see its documentation
	for i, b := range random {
		random[i] = accessKeyAlphabet[int(b)%len(accessKeyAlphabet)]
	}
	return "SCW" + string(random)
}
