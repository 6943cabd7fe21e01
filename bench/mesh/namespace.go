package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// plan is the names and addresses of a mesh. Everything follows from the
// process id of the harness, so that what is left behind can be told.
type plan struct {
	pid   int
	nodes int
	net   netip.Prefix // a /24 below 10.0.0.0/8
}

// device is the name of the TAP device of a port, and of the namespace of a
// node. Port nodes is the harness. The kernel takes 15 bytes.
func (p plan) device(port int) string { return fmt.Sprintf("tr%dn%d", p.pid, port) }

// ip is the address of a port.
func (p plan) ip(port int) netip.Addr {
	b := p.net.Addr().As4()
	b[3] = byte(port + 1)
	return netip.AddrFrom4(b)
}

// hardware is the hardware address of a port as ip(8) takes it.
func hardware(port int) string {
	a := address(port)
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

// setUp lists the ip(8) commands that give a node its namespace and put its
// device, which exists, into it.
func (p plan) setUp(node int) [][]string {
	name := p.device(node)
	return append([][]string{
		{"netns", "add", name},
		{"link", "set", "dev", name, "netns", name},
		{"-netns", name, "link", "set", "dev", "lo", "up"},
	}, p.configure([]string{"-netns", name}, node)...)
}

// setUpHarness lists the commands for the harness's own device.
func (p plan) setUpHarness() [][]string { return p.configure(nil, p.nodes) }

// configure gives a device its addresses and brings it up. There is no route
// but that to the /24.
func (p plan) configure(prefix []string, port int) [][]string {
	name := p.device(port)
	var all [][]string
	for _, command := range [][]string{
		{"link", "set", "dev", name, "address", hardware(port)},
		{"addr", "add", fmt.Sprintf("%s/%d", p.ip(port), p.net.Bits()), "dev", name},
		{"link", "set", "dev", name, "up"},
	} {
		all = append(all, append(append([]string(nil), prefix...), command...))
	}
	return all
}

// tearDown lists the commands that remove a node's namespace.
func (p plan) tearDown(node int) [][]string { return [][]string{{"netns", "del", p.device(node)}} }

// exec is the command line that runs what follows it inside a namespace.
func (p plan) exec(node int) []string { return []string{"ip", "netns", "exec", p.device(node)} }

// choosePrefix finds a /24 that overlaps none of the networks in use. It
// begins at one that follows from the process id.
func choosePrefix(pid int, used []netip.Prefix) (netip.Prefix, error) {
	const candidates = 1 << 16
	for i := range candidates {
		n := uint16(pid + 7919*i)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
		free := true
		for _, u := range used {
			free = free && !u.Overlaps(p)
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("all of 10.0.0.0/8 is in use on this machine")
}

// orphans finds, in what "ip netns list" prints, the namespaces of harnesses
// that are gone.
func orphans(list []byte, alive func(pid int) bool) []string {
	name := regexp.MustCompile(`^tr(\d+)n\d+$`)
	var gone []string
	for line := range bytes.Lines(list) {
		field, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		m := name.FindStringSubmatch(field)
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && !alive(pid) {
			gone = append(gone, field)
		}
	}
	return gone
}

func processExists(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// run runs ip(8) commands until one fails.
func run(ctx context.Context, commands [][]string) error {
	for _, args := range commands {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// sweep removes namespaces of harnesses that were killed.
func sweep(ctx context.Context) error {
	list, err := exec.CommandContext(ctx, "ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("ip netns list: %w", err)
	}
	for _, name := range orphans(list, processExists) {
		if err := run(ctx, [][]string{{"netns", "del", name}}); err != nil {
			return err
		}
	}
	return nil
}

// openDevices opens one device for each port; none if one cannot be had.
func openDevices(p plan) ([]io.ReadWriteCloser, error) {
	var ports []io.ReadWriteCloser
	for port := range p.nodes + 1 {
		f, err := openTAP(p.device(port))
		if err != nil {
			for _, opened := range ports {
				err = errors.Join(err, opened.Close())
			}
			return nil, err
		}
		ports = append(ports, f)
	}
	return ports, nil
}
