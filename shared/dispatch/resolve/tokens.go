package resolve

import (
	"fmt"
	"sync"

	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
)

// maxTokens limits the tokens that a process caches. A token has at most 2,048 bytes, so they
// take at most 4 MB with their ciphertexts.
const maxTokens = 1000

// Tokens caches the tokens of private containers by their container and ciphertext. Without it,
// each call of a private container would cost a call of KMS. A token that is replaced has
// another ciphertext, so a cached token is never outdated. The zero value is an empty cache.
type Tokens struct {
	mu     sync.Mutex
	opened map[sealedToken]secret.Text
}

type sealedToken struct{ containerID, ciphertext string }

func of(c container.Container) sealedToken { return sealedToken{c.ID, string(c.SealedToken)} }

// Format prints no token. fmt does not call the methods of values in unexported fields.
func (*Tokens) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[secrets]")) }

// get returns a container's token if the cache has it. A nil cache has none.
func (t *Tokens) get(c container.Container) (secret.Text, bool) {
	if t == nil {
		return "", false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	token, ok := t.opened[of(c)]
	return token, ok
}

// put adds a container's token. If the cache is full, put removes any other token.
func (t *Tokens) put(c container.Container, token secret.Text) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened == nil {
		t.opened = map[sealedToken]secret.Text{}
	}
	for other := range t.opened {
		if len(t.opened) < maxTokens {
			break
		}
		delete(t.opened, other)
	}
	t.opened[of(c)] = token
}
