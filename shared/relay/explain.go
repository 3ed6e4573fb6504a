package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/relay/natsconn"
)

// maxReason limits the text of a server in error_message, in characters.
const maxReason = 500

// explain returns the reason why a subscription does not work, in words for the trigger's
// owner. The reason never contains credentials.
func explain(err error) string {
	if private, ok := errors.AsType[*invoke.PrivateError](err); ok {
		return "nats_config.server_urls: " + private.Error()
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return "nats_config.server_urls: the name " + lookup.Name + " does not resolve"
		}
		return "nats_config.server_urls: the name " + lookup.Name + " could not be looked up"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok { // before the error that wraps it
		return "nats_config.server_urls: a server's certificate is for another host name"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "nats_config.server_urls: a server's certificate is not trusted"
	}
	if errors.Is(err, natsconn.ErrProtocolLimit) {
		return "nats_config.server_urls: a server does not speak the NATS protocol, or its messages have more than 8 MiB"
	}
	if reason, ok := errors.AsType[unsupported](err); ok {
		return strings.ToValidUTF8(fmt.Sprintf("%.*s", maxReason, reason), "")
	}
	text := strings.ToLower(err.Error())
	if errors.Is(err, natsconn.ErrNoWebSocket) {
		return "nats_config.server_urls: a server does not accept WebSocket connections"
	}
	var network net.Error
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return "the NATS server does not permit the subscription (permissions violation): allow the user to subscribe to nats_config.subject"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the NATS server refuses the credentials, which have expired: set new ones in nats_config.credentials_file_content"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "the NATS server refuses the credentials, which were revoked: set new ones in nats_config.credentials_file_content"
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(text, "authorization violation"), strings.Contains(text, "authentication"):
		return "the NATS server refuses the connection (authorization violation): correct nats_config.credentials_file_content"
	case strings.Contains(text, "nkey"), strings.Contains(text, "jwt"), strings.Contains(text, "credential"), strings.Contains(text, "seed"):
		return "nats_config.credentials_file_content is not a credentials file, which contains a user's JWT and nkey seed"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, http.ErrSchemeMismatch):
		return "nats_config.server_urls: either the server or its URL requires TLS, and the other does not"
	case errors.Is(err, nats.ErrInvalidConnection), errors.Is(err, nats.ErrBadSubject):
		return "nats_config does not allow to connect: " + err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "cannot connect to a server of nats_config.server_urls: it refuses connections"
	case errors.Is(err, nats.ErrTimeout), errors.As(err, &network) && network.Timeout():
		return "cannot connect to a server of nats_config.server_urls: it does not answer in time"
	case errors.Is(err, jetstream.ErrConsumerCreate), strings.Contains(text, "consumer"):
		return "JetStream refuses the trigger's consumer: " + strings.TrimPrefix(err.Error(), "nats: ")
	}
	return "cannot connect to a server of nats_config.server_urls: the connection is broken"
}
