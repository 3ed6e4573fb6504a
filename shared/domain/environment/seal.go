package environment

import (
	"fmt"
	"maps"

	"github.com/alexedwards/argon2id"

	"containertriggers/shared/contract/secret"
)

// cost is the minimum that OWASP recommends for Argon2id ("Password Storage Cheat Sheet").
// Each hash contains its cost, so hashes stay valid if this changes.
var cost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Seal returns the kept variables and the given ones, each with its hash and its
// ciphertext. The function seal encrypts one value.
func Seal(kept map[string]Variable, given map[string]secret.Text, seal func(name string, value secret.Text) ([]byte, error)) (map[string]Variable, error) {
	variables := maps.Clone(kept)
	for name, value := range given {
		hash, err := argon2id.CreateHash(string(value), cost)
		if err != nil {
			return nil, fmt.Errorf("hashing the secret environment variable %s: %w", name, err)
		}
		sealed, err := seal(name, value)
		if err != nil {
			return nil, err
		}
		variables[name] = Variable{Hash: hash, Sealed: sealed}
	}
	return variables, nil
}

// Hashes returns the variables as the API answers them.
func Hashes(variables map[string]Variable) map[string]string {
	hashes := make(map[string]string, len(variables))
	for name, v := range variables {
		hashes[name] = v.Hash
	}
	return hashes
}
