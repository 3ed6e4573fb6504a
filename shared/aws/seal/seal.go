// Package seal encrypts the secrets of triggers and containers with KMS. The secret's
// resource is the encryption context, so that the ciphertext of one row cannot be
// decrypted for another.
package seal

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/contract/secret"
)

// KMS is the part of the KMS client that [Sealer] uses.
type KMS interface {
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// Sealer encrypts and decrypts with one KMS key. A secret has at most 4,096 bytes, the most
// that KMS encrypts in one call (KMS API Reference, "Encrypt").
type Sealer struct {
	Client KMS
	KeyID  string
}

// Seal encrypts the secret of a resource ("trigger", "container") under its ID.
// It returns no ciphertext for an empty secret.
func (s Sealer) Seal(ctx context.Context, resource, id string, text secret.Text) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	answer, err := s.Client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &s.KeyID, Plaintext: []byte(text), EncryptionContext: encryptionContext(resource, id),
	})
	if err != nil {
		return nil, fmt.Errorf("sealing the secret of %s %s: %w", resource, id, err)
	}
	return answer.CiphertextBlob, nil
}

// For returns a function that encrypts the secrets of one resource, like [Sealer.Seal].
func (s Sealer) For(ctx context.Context, resource, id string) func(secret.Text) ([]byte, error) {
	return func(text secret.Text) ([]byte, error) { return s.Seal(ctx, resource, id, text) }
}

// Open decrypts a ciphertext that Seal returned for the same resource and ID. It returns an
// error if the ciphertext is of another resource.
func (s Sealer) Open(ctx context.Context, resource, id string, sealed []byte) (secret.Text, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	answer, err := s.Client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &s.KeyID, CiphertextBlob: sealed, EncryptionContext: encryptionContext(resource, id),
	})
	if err != nil {
		return "", fmt.Errorf("opening the secret of %s %s: %w", resource, id, err)
	}
	return secret.Text(answer.Plaintext), nil
}

func encryptionContext(resource, id string) map[string]string {
	return map[string]string{resource + "_id": id}
}
