package relay

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"containertriggers/infra/local/natsd"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/trigger"
)

// authority creates users of one account of a NATS server.
type authority struct {
	t        *testing.T
	operator nkeys.KeyPair
	account  nkeys.KeyPair
	claims   *jwt.AccountClaims
	resolver *server.MemAccResolver
}

func newPair(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

// newAuthority returns an authority, and the options of a server that accepts its users.
func newAuthority(t *testing.T) (*authority, *server.Options) {
	t.Helper()
	operator, operatorKey := newPair(t, nkeys.CreateOperator)
	account, accountKey := newPair(t, nkeys.CreateAccount)
	a := &authority{t: t, operator: operator, account: account, claims: jwt.NewAccountClaims(accountKey), resolver: &server.MemAccResolver{}}
	if err := a.resolver.Store(accountKey, a.encoded()); err != nil {
		t.Fatal(err)
	}
	// A server with an operator requires a system account.
	_, systemKey := newPair(t, nkeys.CreateAccount)
	system, err := jwt.NewAccountClaims(systemKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.resolver.Store(systemKey, system); err != nil {
		t.Fatal(err)
	}
	return a, &server.Options{TrustedKeys: []string{operatorKey}, AccountResolver: a.resolver, SystemAccount: systemKey}
}

func (a *authority) encoded() string {
	a.t.Helper()
	text, err := a.claims.Encode(a.operator)
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// user creates a user and returns the credentials file and the public key.
func (a *authority) user(change func(*jwt.UserClaims)) (credentials, public string) {
	a.t.Helper()
	user, public := newPair(a.t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public)
	if change != nil {
		change(claims)
	}
	token, err := claims.Encode(a.account)
	if err != nil {
		a.t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		a.t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(file), public
}

// revoke revokes the credentials of a user.
func (a *authority) revoke(on *natsd.Server, public string) {
	a.t.Helper()
	a.claims.Revoke(public)
	account, err := on.LookupAccount(a.claims.Subject)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.resolver.Store(a.claims.Subject, a.encoded()); err != nil {
		a.t.Fatal(err)
	}
	on.UpdateAccountClaims(account, a.claims)
}

func TestTrigger_ReportsRefusedCredentialsAndRecovers(t *testing.T) {
	t.Parallel()
	a, options := newAuthority(t)
	b := setup(t, options)
	good, public := a.user(nil)
	publisher, _ := a.user(nil)
	conn := b.publisher(nats.UserCredentialBytes([]byte(publisher)))
	stranger, _ := newAuthority(t)
	foreign, _ := stranger.user(nil)
	narrow, _ := a.user(func(c *jwt.UserClaims) { c.Sub.Allow.Add("allowed", "_INBOX.>") })
	expired, _ := a.user(func(c *jwt.UserClaims) { c.Expires = time.Now().Add(-time.Hour).Unix() })

	ids := map[string]string{}
	for name, credentials := range map[string]string{
		"good": good, "foreign": foreign, "expired": expired, "none": "", "malformed": "-----BEGIN NONSENSE-----", "narrow": narrow,
	} {
		ids[name] = b.create("orders", credentials)
	}
	b.start(10 * time.Minute)
	b.ready(ids["good"])
	b.publish(conn, "orders", "1")
	b.eventually("it arrives", func() bool { return b.count() == 1 })

	// The trigger recovers when its owner corrects it.
	b.inError(ids["foreign"], "authorization violation")
	second, _ := a.user(nil)
	b.update(ids["foreign"], `{"nats_config":{"credentials_file_content":`+quote(second)+`}}`)
	b.ready(ids["foreign"])
	b.inError(ids["narrow"], "permissions violation")
	b.update(ids["narrow"], `{"nats_config":{"subject":"allowed"}}`)
	b.ready(ids["narrow"])

	// A revocation is reported.
	a.revoke(b.nats, public)
	b.inError(ids["good"], "refuses")
	b.update(ids["good"], `{"nats_config":{"credentials_file_content":`+quote(second)+`}}`)
	b.ready(ids["good"])
	delete(ids, "good")

	for _, id := range ids {
		for _, secret := range []string{good, foreign, narrow, expired, second} {
			for _, line := range strings.Split(secret, "\n") {
				if len(line) > 40 && strings.Contains(b.get(id).ErrorMessage, line) {
					t.Errorf("error_message contains credentials: %s", b.get(id).ErrorMessage)
				}
			}
		}
	}
	for name, words := range map[string]string{"expired": "refuses", "none": "authorization violation", "malformed": "is not a credentials file"} {
		b.inError(ids[name], words)
	}
}

func quote(text string) string { return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"` }

func TestTrigger_ReportsAnUnreachableServerAndRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	gone, err := natsd.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	url := gone.URL()
	port := gone.Addr().String()[strings.LastIndex(gone.Addr().String(), ":")+1:]
	gone.Close()
	id := b.createOn([]string{url}, "s", "")
	b.start(10 * time.Minute)
	b.inError(id, "cannot connect to a server of nats_config.server_urls: it refuses connections")

	options := &server.Options{}
	for _, digit := range port {
		options.Port = options.Port*10 + int(digit-'0')
	}
	back, err := natsd.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(back.Close)
	b.ready(id)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	b.publish(conn, "s", "m")
	b.eventually("it arrives", func() bool { return b.count() == 1 })

	back.Close()
	b.inError(id, "cannot connect")
	if got := b.get(id).Status; got != trigger.Error {
		t.Errorf("got %s", got)
	}
}

func TestRelay_SilentServerDoesNotDelayOtherTriggers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var silent []string
	for range 5 { // the client waits for each
		listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts no connection
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		silent = append(silent, "nats://"+listener.Addr().String())
	}
	stuck := b.createOn(silent, "s", "")
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.ready(id)
	b.update(id, `{"nats_config":{"subject":"t"}}`)
	b.ready(id)
	if got := b.get(stuck).Status; got != trigger.Creating {
		t.Errorf("the relay waited for the silent server: the trigger is %s", got)
	}
	b.inError(stuck, "does not answer in time")
}

func TestDialer_RefusesPrivateServersUnlessAllowed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Dialer = dialerOfADeployment()
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.inError(id, "is not public")
}

// dialerOfADeployment returns the dialer of a deployment on AWS.
func dialerOfADeployment() *net.Dialer { return invoke.Dialer(invoke.Settings{}) }
