package seal_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/contract/secret"
)

func TestSealer_OpensASecretForItsOwnResourceOnly(t *testing.T) {
	t.Parallel()
	sealer := seal.Sealer{
		Client: kms.NewFromConfig(mototest.Config(t)), KeyID: mototest.Environment(t, "create-trigger")["KMS_KEY_ID"],
	}
	id := uuid.NewString()
	for _, text := range []secret.Text{"a short one", secret.Text(strings.Repeat("é", 2048))} {
		sealed, err := sealer.Seal(t.Context(), "trigger", id, text)
		if err != nil || bytes.Contains(sealed, []byte(text)) {
			t.Fatalf("got %v", err)
		}
		if opened, err := sealer.Open(t.Context(), "trigger", id, sealed); err != nil || opened != text {
			t.Errorf("got %v", err)
		}
		if _, err := sealer.Open(t.Context(), "trigger", uuid.NewString(), sealed); err == nil || strings.Contains(err.Error(), string(text)) {
			t.Errorf("for another trigger: %v", err)
		}
		if _, err := sealer.Open(t.Context(), "container", id, sealed); err == nil {
			t.Error("for a container of the same ID it opens")
		}
	}
	if sealed, err := sealer.Seal(t.Context(), "trigger", id, ""); err != nil || sealed != nil {
		t.Errorf("no secret: got %v, %v", sealed, err)
	}
}
