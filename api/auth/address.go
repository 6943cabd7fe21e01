package auth

import (
	"context"
	"net/netip"
)

// AddressKey is the key under which the context of a request holds the netip.Addr
// that the request comes from.
type AddressKey struct{}

// AddressOf returns the address that a request comes from; the zero Addr if it is not
// known.
func AddressOf(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(AddressKey{}).(netip.Addr)
	return addr
}
