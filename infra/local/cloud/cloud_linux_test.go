package cloud

import (
	"net"
	"net/url"
	"testing"

	"containertriggers/infra/local/moto/mototest"
)

// On Linux all of 127.0.0.0/8 is this machine: 127.0.0.2 stands for Docker's bridge.
func TestEmulator_IsServedElsewhereOnlyIfAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bridgeAddress string
		served        bool
	}{{"", false}, {"127.0.0.2", true}} {
		c := &Cloud{Endpoint: *mototest.Config(t).BaseEndpoint, BridgeAddress: test.bridgeAddress}
		t.Cleanup(c.Close)
		if err := c.startEmulator(); err != nil {
			t.Fatal(err)
		}
		endpoint, err := url.Parse(c.AWSEndpoint())
		if err != nil {
			t.Fatal(err)
		}
		connection, err := net.Dial("tcp", "127.0.0.2:"+endpoint.Port())
		if (err == nil) != test.served {
			t.Errorf("with the address %q: got %v", test.bridgeAddress, err)
		}
		if err == nil {
			_ = connection.Close()
		}
	}
}
