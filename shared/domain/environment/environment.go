// Package environment parses the environment variables of containers and namespaces, and
// seals the secret ones.
//
// The service runs no container. It stores variables and answers them, and uses none but a
// container's token. The API answers a secret variable as an Argon2id hash, because
// Terraform compares the hash with the value in its configuration.
package environment

import (
	"fmt"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
)

// The limits are ours. All but maxSecrets are in bytes, and keep a row far below DynamoDB's
// 400 KB. KMS encrypts at most 4,096 bytes in one call, which limits a secret value. The
// number of secrets limits the time to hash them.
const (
	maxTotal   = 64 << 10
	maxName    = 256
	maxSecret  = 2048
	maxSecrets = 50
)

// Variable is a secret environment variable.
type Variable struct {
	// Hash is answered instead of the value.
	Hash string `json:"hash"`
	// Sealed is the value as ciphertext. It is empty for an empty value.
	Sealed []byte `json:"sealed"`
}

// Read returns the variables in a field, or nil if the body does not have the field.
func Read(object request.Object, field string, faults *apierr.Arguments) *map[string]string {
	variables := object.StringMap(field)
	if variables == nil {
		return nil
	}
	size := 0
	for name, value := range *variables {
		size += len(name) + len(value)
		if name == "" || len(name) > maxName {
			faults.Add(field, apierr.Constraint, fmt.Sprintf("must have names of 1 to %d bytes", maxName))
		}
	}
	if size > maxTotal {
		faults.Add(field, apierr.Constraint, fmt.Sprintf("must have at most %d bytes in total", maxTotal))
	}
	return variables
}

// ReadSecrets returns the secret variables that a body keeps and the new ones in the clear,
// or nil if the body does not have the field. A variable keeps its value if the body gives
// "" or the hash from an answer, which Terraform sends for unchanged secrets. The body
// removes the variables that it does not name.
func ReadSecrets(object request.Object, field string, old map[string]Variable, faults *apierr.Arguments) (kept map[string]Variable, given map[string]secret.Text) {
	variables := Read(object, field, faults)
	if variables == nil {
		return nil, nil
	}
	if len(*variables) > maxSecrets {
		faults.Add(field, apierr.Constraint, fmt.Sprintf("must have at most %d variables", maxSecrets))
	}
	kept, given = map[string]Variable{}, map[string]secret.Text{}
	for name, value := range *variables {
		if v, ok := old[name]; ok && (value == "" || value == v.Hash) {
			kept[name] = v
			continue
		}
		if len(value) > maxSecret {
			faults.Add(field+"."+name, apierr.Constraint, fmt.Sprintf("must have at most %d bytes", maxSecret))
		}
		given[name] = secret.Text(value)
	}
	return kept, given
}
