// Package seal encrypts the secrets of triggers and containers with KMS. The
// resource that a secret belongs to is the encryption context, so that the
// ciphertext of one row is worth nothing in another.
package seal

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/secret"
)

// KMS is what a Sealer needs of the KMS client.
type KMS interface {
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// Sealer encrypts with one KMS key. A secret may have up to 4,096 bytes, which
// is what KMS encrypts in one call.
type Sealer struct {
	Client KMS
	KeyID  string
}

// Seal encrypts the secret of a resource ("trigger", "container") under its ID.
// An empty secret gives an empty ciphertext.
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

// Open decrypts what Seal gave for the same resource and ID.
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
