package seal_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/infra/local/moto"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/contract/secret"
)

// What was sealed for one trigger opens for no other, even with the same KMS key.
func ExampleSealer() {
	ctx := context.Background()
	server, err := moto.Start(ctx, moto.Python())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := kms.NewFromConfig(moto.Config(server.Endpoint()))
	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		fmt.Println(err)
		return
	}

	sealer := seal.Sealer{Client: client, KeyID: *key.KeyMetadata.KeyId}
	sealed, err := sealer.Seal(ctx, "trigger", "8f5d9521", secret.Text("hush"))
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := sealer.Open(ctx, "trigger", "8f5d9521", sealed)
	fmt.Println(opened, string(opened), err) // a secret prints only if it is converted
	_, err = sealer.Open(ctx, "trigger", "0e5a1a7e", sealed)
	fmt.Println("of another trigger:", err != nil)
	// Output:
	// [secret] hush <nil>
	// of another trigger: true
}
