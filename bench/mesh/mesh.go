package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Mesh is the namespaces of some nodes and the switch between them. Nodes are
// numbered from 0. Its methods may be called from any goroutine, but Close.
type Mesh struct {
	plan plan
	net  *ethernet
}

// Open makes the namespaces and starts the switch. seed decides which packets
// are lost.
func Open(ctx context.Context, nodes int, seed uint64) (*Mesh, error) {
	if nodes < 1 || nodes > 200 {
		return nil, fmt.Errorf("mesh: %d nodes, want 1 to 200", nodes)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("mesh: network namespaces need root")
	}
	if err := sweep(ctx); err != nil {
		return nil, fmt.Errorf("mesh: remove what others left: %w", err)
	}
	prefix, err := choosePrefix(os.Getpid(), networks())
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	p := plan{pid: os.Getpid(), nodes: nodes, net: prefix}
	ports, err := openDevices(p)
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	m := &Mesh{plan: p, net: startSwitch(seed, ports)}
	commands := p.setUpHarness()
	for node := range nodes {
		commands = append(commands, p.setUp(node)...)
	}
	if err := run(ctx, commands); err != nil {
		return nil, errors.Join(fmt.Errorf("mesh: %w", err), m.Close())
	}
	return m, nil
}

// networks lists the networks of this machine's interfaces.
func networks() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// Host is the address of a node.
func (m *Mesh) Host(node int) string { return m.plan.ip(node).String() }

// Wrap is the command line that runs what follows it as a process of a node.
// The process it starts becomes that of the command.
func (m *Mesh) Wrap(node int) []string { return m.plan.exec(node) }

// Set makes a rule for the packets from one node to another, in place of the
// one before.
func (m *Mesh) Set(from, to int, r Rule) { m.net.links[from][to].set(r) }

// Heal lets everything pass again. What is under way still arrives late.
func (m *Mesh) Heal() {
	for from := range m.plan.nodes {
		for to := range m.plan.nodes {
			m.Set(from, to, Rule{})
		}
	}
}

// Close ends the switch and removes the namespaces. Processes in them lose
// their network.
func (m *Mesh) Close() error {
	err := m.net.close()
	ctx := context.Background() // what was made is removed even if the harness is told to end
	for node := range m.plan.nodes {
		if _, statErr := os.Stat("/run/netns/" + m.plan.device(node)); statErr == nil {
			err = errors.Join(err, run(ctx, m.plan.tearDown(node)))
		}
	}
	return err
}
