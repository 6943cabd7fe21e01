package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// resolveTimeout bounds a look-up of a host name.
const resolveTimeout = 5 * time.Second

// split takes HOST:PORT apart. The host may be a name; an IPv6 address with a
// zone is refused, since memberlist can neither bind nor spread one.
func split(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: %q is not HOST:PORT: %w", address, err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: %q has no port number: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() != "" {
		return "", 0, fmt.Errorf("gossip: %q: an address with a zone cannot be used", address)
	}
	return host, uint16(number), nil
}

// lookUp returns the addresses of a host, which may be an address itself.
func lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("gossip: look up %q: %w", host, err)
	}
	for i, ip := range ips {
		ips[i] = ip.Unmap().WithZone("")
	}
	return ips, nil
}

// listenAt resolves the address to listen on. The zero ip is every one of the
// machine.
func listenAt(ctx context.Context, bind string) (ip netip.Addr, port uint16, err error) {
	host, port, err := split(bind)
	if err != nil || host == "" {
		return netip.Addr{}, port, err
	}
	ips, err := lookUp(ctx, host)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	if ips[0] == netip.IPv6Unspecified() {
		return netip.Addr{}, port, nil // of IPv4 too
	}
	return ips[0], port, nil
}

// advertised returns the address that others use, as it is given out and as an
// IP address. The port is that of the listener unless advertise names one.
func advertised(ctx context.Context, advertise, bind string, listen netip.Addr, port uint16) (name string, at netip.AddrPort, err error) {
	from := advertise
	if from == "" {
		from = bind
	}
	host, wanted, err := split(from)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	if advertise != "" && wanted != 0 {
		port = wanted
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.Unmap().IsUnspecified()) {
		return "", netip.AddrPort{}, fmt.Errorf("gossip: %q is no address that others could reach: an address to advertise is needed", from)
	}
	ips, err := lookUp(ctx, host)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), netip.AddrPortFrom(sameFamily(ips, listen), port), nil
}

// sameFamily picks the address that fits to what the node listens on: an IPv6
// address is of no use to a listener of IPv4.
func sameFamily(ips []netip.Addr, listen netip.Addr) netip.Addr {
	for _, ip := range ips {
		if listen.IsValid() && ip.Is4() == listen.Is4() {
			return ip
		}
	}
	return ips[0]
}
