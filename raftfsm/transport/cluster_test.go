package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory says where each node can be dialled at the moment.
type directory struct {
	mu struct {
		sync.Mutex
		addresses map[raft.ServerID]string
	}
}

func (d *directory) set(id raft.ServerID, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.addresses == nil {
		d.mu.addresses = make(map[raft.ServerID]string)
	}
	d.mu.addresses[id] = address
}

func (d *directory) resolve(_ context.Context, id raft.ServerID) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	address, ok := d.mu.addresses[id]
	if !ok {
		return "", fmt.Errorf("node %s is unknown", id)
	}
	return address, nil
}

// cable is a TCP layer that can be pulled out: connections break, and new ones
// come to nothing until it is put back.
type cable struct {
	*TCP
	mu struct {
		sync.Mutex
		out  bool
		open []net.Conn
	}
}

func (c *cable) pull(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.out = out
	if out {
		for _, conn := range c.mu.open {
			_ = conn.Close()
		}
		c.mu.open = nil
	}
}

func (c *cable) add(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.out {
		_ = conn.Close()
	} else {
		c.mu.open = append(c.mu.open, conn)
	}
	return conn
}

func (c *cable) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := c.TCP.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	return c.add(conn), nil
}

func (c *cable) Accept() (net.Conn, error) {
	conn, err := c.TCP.Accept()
	if err != nil {
		return nil, err
	}
	return c.add(conn), nil
}

// machine counts what was applied and lets a test wait for a count.
type machine struct {
	mu      sync.Mutex
	changed *sync.Cond
	applied []string
}

func newMachine() *machine {
	m := &machine{}
	m.changed = sync.NewCond(&m.mu)
	return m
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = append(m.applied, string(l.Data))
	m.changed.Broadcast()
	return nil
}

// await blocks until the last applied command is want.
func (m *machine) await(want string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.applied) == 0 || m.applied[len(m.applied)-1] != want {
		m.changed.Wait()
	}
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return nil, fmt.Errorf("no snapshots here") }
func (m *machine) Restore(r io.ReadCloser) error       { return r.Close() }

// member is a node: a Raft instance on a transport on a cable.
type member struct {
	id        raft.ServerID
	cable     *cable
	transport *Transport
	raft      *raft.Raft
	machine   *machine
	logs      *raft.InmemStore
}

func raftConfig(id raft.ServerID) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = id
	// Long enough for a busy machine: the tests need a lead that lasts.
	c.HeartbeatTimeout = time.Second
	c.ElectionTimeout = time.Second
	c.LeaderLeaseTimeout = time.Second
	c.CommitTimeout = 20 * time.Millisecond
	c.SnapshotThreshold = ^uint64(0)
	c.NoLegacyTelemetry = true
	c.Logger = hclog.NewNullLogger()
	return c
}

func listen(t *testing.T) *cable {
	t.Helper()
	tcp, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &cable{TCP: tcp}
}

func startTransport(t *testing.T, id raft.ServerID, c *cable, d *directory) *Transport {
	t.Helper()
	cfg := DefaultConfig(id)
	cfg.Stream, cfg.Resolve = c, d.resolve
	tr, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// start runs the member's Raft on a new port; its log is what it was.
func (m *member) start(t *testing.T, d *directory) {
	t.Helper()
	m.cable = listen(t)
	m.transport = startTransport(t, m.id, m.cable, d)
	d.set(m.id, m.cable.Addr().String())
	var err error
	m.machine = newMachine()
	m.raft, err = raft.NewRaft(raftConfig(m.id), m.machine, m.logs, m.logs, raft.NewDiscardSnapshotStore(), m.transport)
	if err != nil {
		t.Fatal(err)
	}
	m.transport.Attach(m.raft)
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	if err := m.raft.Shutdown().Error(); err != nil {
		t.Errorf("shut down %s: %v", m.id, err)
	}
}

// startCluster runs n members and returns them once there is a leader, who
// comes first.
func startCluster(t *testing.T, n int) ([]*member, *directory) {
	t.Helper()
	d := &directory{}
	members := make([]*member, n)
	var conf raft.Configuration
	for i := range members {
		id := raft.ServerID(fmt.Sprintf("node-%d", i))
		members[i] = &member{id: id, logs: raft.NewInmemStore()}
		conf.Servers = append(conf.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	for _, m := range members {
		err := raft.BootstrapCluster(raftConfig(m.id), m.logs, m.logs, raft.NewDiscardSnapshotStore(),
			startlessTransport{id: m.id}, conf)
		if err != nil {
			t.Fatal(err)
		}
		m.start(t, d)
	}
	t.Cleanup(func() {
		for _, m := range members {
			m.stop(t)
		}
	})
	leader := awaitLeader(t, members)
	for i, m := range members {
		if m == leader {
			members[0], members[i] = members[i], members[0]
		}
	}
	return members, d
}

// startlessTransport is what bootstrapping asks of a transport.
type startlessTransport struct {
	raft.Transport
	id raft.ServerID
}

func (s startlessTransport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(s.id) }

func awaitLeader(t *testing.T, members []*member) *member {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		for _, m := range members {
			if m.raft.State() == raft.Leader {
				return m
			}
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatal("no leader")
		}
	}
}

// propose commits data through whoever leads.
func propose(t *testing.T, members []*member, data string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := awaitLeader(t, members).raft.Apply([]byte(data), 5*time.Second).Error()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("propose %s: %v", data, err)
		}
	}
}
