package resolve

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
)

func sealedContainer(id, ciphertext string) container.Container {
	return container.Container{ID: id, SealedToken: []byte(ciphertext)}
}

func TestTokens_AreKnownByTheirContainerAndCiphertext(t *testing.T) {
	t.Parallel()
	tokens, token := &Tokens{}, secret.Text(uuid.NewString())
	tokens.put(sealedContainer("a", "1"), token)
	for _, test := range []struct {
		id, ciphertext string
		want           bool
	}{{"a", "1", true}, {"a", "2", false}, {"b", "1", false}} {
		if got, ok := tokens.get(sealedContainer(test.id, test.ciphertext)); ok != test.want || ok && got != token {
			t.Errorf("%s with %s: known %t", test.id, test.ciphertext, ok)
		}
	}
}

func TestTokens_StayFew(t *testing.T) {
	t.Parallel()
	tokens := &Tokens{}
	for n := range 2 * maxTokens {
		tokens.put(sealedContainer(strconv.Itoa(n), "1"), "t")
		if _, ok := tokens.get(sealedContainer(strconv.Itoa(n), "1")); !ok {
			t.Fatalf("the token of container %d is not kept", n)
		}
	}
	if len(tokens.opened) != maxTokens {
		t.Errorf("%d tokens are kept", len(tokens.opened))
	}
}

func TestTokens_AreNeverPrinted(t *testing.T) {
	t.Parallel()
	tokens, token := &Tokens{}, secret.Text(uuid.NewString())
	tokens.put(sealedContainer("a", "1"), token)
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s", tokens, tokens, tokens, tokens), fmt.Sprintf("%+v", Resolver{Tokens: tokens})} {
		if strings.Contains(printed, string(token)) {
			t.Errorf("printed the token in %s", printed)
		}
	}
}
