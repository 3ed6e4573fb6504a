package invoke

import (
	"context"
	"net/netip"
	"syscall"
)

// PrivateError is an address that what users name must not have here.
type PrivateError struct{ Address netip.Addr }

func (e *PrivateError) Error() string { return "the address " + e.Address.String() + " is not public" }

// global is what IANA has given out of IPv6.
var global = netip.MustParsePrefix("2000::/3")

// notPublic are the ranges that a call must not reach, beside what netip tells
// by itself: from IANA's registries of special-purpose addresses, and the
// ranges in which an IPv4 address can hide in an IPv6 one.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT; AWS and others use it inside
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("3fff::/20"),       // documentation
}

// public says whether an address is one of the Internet's.
func public(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if !address.IsGlobalUnicast() || address.IsPrivate() {
		return false // loopback, link-local (the metadata services'), multicast, unspecified, private
	}
	if address.Is6() && !global.Contains(address) {
		return false
	}
	for _, prefix := range notPublic {
		if prefix.Contains(address) {
			return false
		}
	}
	return true
}

// refusePrivate is a dialler's last look at the address it is about to dial.
func refusePrivate(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !public(target.Addr()) {
		return &PrivateError{target.Addr()}
	}
	return nil
}
