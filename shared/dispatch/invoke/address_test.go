package invoke

import (
	"net/netip"
	"testing"

	"github.com/caarlos0/env/v11"
)

func TestPublic_AcceptsOnlyPublicAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.254",
		"127.0.0.1", "127.8.8.8", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.170.23",
		"172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254",
		"198.18.0.1", "198.19.255.254", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"::ffff:192.168.1.1", "::ffff:100.64.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:0:53aa:64c::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1",
		"2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd12:3456:789a::1", "fdff::1",
		"::ffff:0:7f00:1", "4000::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff05::2", "ff0e::1",
	} {
		if public(netip.MustParseAddr(address)) {
			t.Errorf("%s counts as public", address)
		}
	}
	for _, address := range []string{
		"1.1.1.1", "8.8.8.8", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
		"192.167.0.1", "198.17.0.1", "223.255.255.254", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450:4007::1", "2001:4860:4860::8888",
	} {
		if !public(netip.MustParseAddr(address)) {
			t.Errorf("%s does not count as public", address)
		}
	}
}

func TestSettings_RefuseTheFunctionsOwnMachineOnLambda(t *testing.T) {
	t.Parallel()
	const lambda, emulator = "127.0.0.1:9001", "http://127.0.0.1:4566"
	own := []string{"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "169.254.169.254", "169.254.100.1", "fe80::1", "0.0.0.0", "::"}
	private := []string{"10.0.0.1", "172.16.0.1", "192.168.0.1", "fd12:3456:789a::1", "100.64.0.1"}
	for name, test := range map[string]struct {
		environment        map[string]string
		ownToo, privateToo bool // whether a call may go there
	}{
		"by default":                   {map[string]string{"AWS_LAMBDA_RUNTIME_API": lambda}, false, false},
		"on Lambda":                    {map[string]string{"AWS_LAMBDA_RUNTIME_API": lambda, "ALLOW_PRIVATE_ENDPOINTS": "true"}, false, true},
		"in a local cloud":             {map[string]string{"AWS_LAMBDA_RUNTIME_API": lambda, "ALLOW_PRIVATE_ENDPOINTS": "true", "AWS_ENDPOINT_URL": emulator}, true, true},
		"in a local cloud, by default": {map[string]string{"AWS_LAMBDA_RUNTIME_API": lambda, "AWS_ENDPOINT_URL": emulator}, false, false},
	} {
		settings, err := env.ParseAsWithOptions[Settings](env.Options{Environment: test.environment})
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range own {
			if settings.refuses(netip.MustParseAddr(address)) == test.ownToo {
				t.Errorf("%s: a call to %s: allowed is %t", name, address, !test.ownToo)
			}
		}
		for _, address := range private {
			if settings.refuses(netip.MustParseAddr(address)) == test.privateToo {
				t.Errorf("%s: a call to %s: allowed is %t", name, address, !test.privateToo)
			}
		}
	}
}

func TestCall_ReachesNoLoopbackAddressOnLambda(t *testing.T) {
	t.Parallel()
	tr, to, event := sample(speak(t, hang))
	err := New(Settings{AllowPrivate: true, RuntimeAPI: "127.0.0.1:9001"}).Call(t.Context(), NewRoute(tr, to, ""), event)
	if err == nil || err.Error() != "the container's address 127.0.0.1 is not public" {
		t.Errorf("got %v", err)
	}
}

// specialPurpose is IANA's registries of special-purpose addresses (IPv4 and IPv6, as of
// 2025), and multicast, which has registries of its own.
var specialPurpose = map[string]string{
	"0.0.0.0/8": "this network", "10.0.0.0/8": "private use", "100.64.0.0/10": "shared address space", "127.0.0.0/8": "loopback",
	"169.254.0.0/16": "link local", "172.16.0.0/12": "private use", "192.0.0.0/24": "IETF protocol assignments",
	"192.0.2.0/24": "TEST-NET-1", "192.31.196.0/24": "AS112-v4", "192.52.193.0/24": "AMT", "192.88.99.0/24": "6to4 relay anycast",
	"192.168.0.0/16": "private use", "192.175.48.0/24": "direct delegation AS112", "198.18.0.0/15": "benchmarking",
	"198.51.100.0/24": "TEST-NET-2", "203.0.113.0/24": "TEST-NET-3", "224.0.0.0/4": "multicast", "240.0.0.0/4": "reserved",
	"255.255.255.255/32": "limited broadcast",

	"::1/128": "loopback", "::/128": "unspecified", "::ffff:0:0:0/96": "IPv4-translated", "64:ff9b::/96": "IPv4-IPv6 translation",
	"64:ff9b:1::/48": "local IPv4-IPv6 translation", "100::/64": "discard-only", "100:0:0:1::/64": "dummy prefix",
	"2001::/23": "IETF protocol assignments", "2001::/32": "TEREDO", "2001:1::1/128": "port control protocol anycast",
	"2001:2::/48": "benchmarking", "2001:3::/32": "AMT", "2001:4:112::/48": "AS112-v6", "2001:10::/28": "ORCHID",
	"2001:20::/28": "ORCHIDv2", "2001:30::/28": "drone remote ID", "2001:db8::/32": "documentation", "2002::/16": "6to4",
	"2620:4f:8000::/48": "direct delegation AS112", "3fff::/20": "documentation", "5f00::/16": "segment routing SIDs",
	"fc00::/7": "unique local", "fe80::/10": "link-local", "ff00::/8": "multicast",
}

func TestPublic_RefusesSpecialPurposeAddresses(t *testing.T) {
	t.Parallel()
	for text, name := range specialPurpose {
		prefix := netip.MustParsePrefix(text)
		for _, address := range []netip.Addr{prefix.Addr(), last(prefix)} {
			if public(address) {
				t.Errorf("%s of %s (%s) counts as public", address, prefix, name)
			}
			if mapped := netip.AddrFrom16(address.As16()); address.Is4() && public(mapped) {
				t.Errorf("%s of %s (%s) counts as public", mapped, prefix, name)
			}
		}
	}
}

// last returns the last address of a range.
func last(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}
