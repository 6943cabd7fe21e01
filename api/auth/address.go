package auth

import (
	"context"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
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

// MaxMailAddress bounds an e-mail address, in bytes.
const MaxMailAddress = 320

// MayBeMailAddress reports whether a text may be an e-mail address: something, an @, and
// something, without spaces and control characters. Whether mail arrives there only a mail
// can tell.
func MayBeMailAddress(text string) bool {
	at := strings.LastIndexByte(text, '@')
	return at > 0 && at < len(text)-1 && len(text) <= MaxMailAddress && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
