package container

import (
	"maps"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/environment"
)

// TokenVariable is the secret environment variable that sets the container's token. Stock
// clients use it because they have no field invoke_token.
const TokenVariable = "INVOKE_TOKEN"

// Secrets are the secrets of a body in the clear.
type Secrets struct {
	// Token is nil if the body does not give one. An empty token removes the old one.
	Token *secret.Text
	// Variables are the secret environment variables with new values.
	Variables map[string]secret.Text
}

func (s Secrets) none() bool { return s.Token == nil && len(s.Variables) == 0 }

// maxToken is in bytes. KMS encrypts at most 4,096 bytes in one call.
const maxToken = 2048

// Seal returns c with the secrets as ciphertext. The function seal encrypts one secret.
func (s Secrets) Seal(c Container, seal func(secret.Text) ([]byte, error)) (Container, error) {
	var err error
	if s.Token != nil {
		if c.SealedToken, err = seal(*s.Token); err != nil {
			return c, err
		}
	}
	c.Variables, err = environment.Seal(c.Variables, s.Variables, func(name string, value secret.Text) ([]byte, error) {
		if name == TokenVariable {
			return nil, nil // SealedToken holds it
		}
		return seal(value)
	})
	return c, err
}

// applySecrets sets the secret environment variables and returns the secrets that the body
// gives. If the body removes the variable INVOKE_TOKEN, it removes the token, unless the
// token was set as invoke_token. If the body gives both, invoke_token wins.
func (c *Container) applySecrets(object request.Object, faults *apierr.Arguments) Secrets {
	const argument = "secret_environment_variables"
	var given Secrets
	if kept, variables := environment.ReadSecrets(object, argument, c.Variables, faults); kept != nil {
		given.Variables = variables
		if token, ok := given.Variables[TokenVariable]; ok {
			given.Token = &token
			checkToken(faults, argument+"."+TokenVariable, token)
		} else if _, had := c.Variables[TokenVariable]; had && kept[TokenVariable].Hash == "" {
			given.Token = new(secret.Text)
		}
		c.Variables = kept
	}
	if token := (*secret.Text)(object.String("invoke_token")); token != nil {
		checkToken(faults, "invoke_token", *token)
		given.Token = token
		delete(given.Variables, TokenVariable)
		c.Variables = maps.Clone(c.Variables)
		delete(c.Variables, TokenVariable)
	}
	return given
}

// checkToken adds a fault if a header cannot carry the token. An empty token is valid.
func checkToken(faults *apierr.Arguments, argument string, token secret.Text) {
	if token != "" {
		request.Text(faults, argument, string(token), maxToken)
	}
}
