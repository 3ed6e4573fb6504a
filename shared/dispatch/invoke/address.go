package invoke

import (
	"context"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// PrivateError is the error for an address that is not public.
type PrivateError struct{ Address netip.Addr }

func (e *PrivateError) Error() string { return "the address " + e.Address.String() + " is not public" }

// guardian refuses the addresses of IANA's special-purpose registries. It accepts only
// IPv6 addresses that IANA has allocated, so that no IPv6 address can stand for a private
// IPv4 address. It accepts all ports.
var guardian = ssrf.New(ssrf.WithAnyNetwork(), ssrf.WithAnyPort())

// public reports whether an address is reachable on the public Internet.
func public(address netip.Addr) bool {
	return guardian.SafeAddr(address.Unmap()) == nil
}

// ownMachine reports whether an address leads back to the machine that dials it, or to a
// service that only this machine has, such as its metadata.
func ownMachine(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified()
}

// refuses reports whether a call may not go to an address. On Lambda no call may go to the
// function's own machine, where its runtime API listens and no container can be.
func (s Settings) refuses(address netip.Addr) bool {
	if s.AllowPrivate {
		return s.RuntimeAPI != "" && s.Emulator == "" && ownMachine(address)
	}
	return !public(address)
}

// control returns a *[PrivateError] if the settings refuse the address that a dialer is
// about to dial.
func (s Settings) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if s.refuses(target.Addr()) {
		return &PrivateError{target.Addr()}
	}
	return nil
}
