package gossip

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/trellisdb/trellis/storage/entity"
)

// Config says who a node is and where it finds others.
type Config struct {
	Bind      string          // HOST:PORT to listen on, UDP and TCP; port 0 lets the system choose
	Advertise string          // HOST:PORT at which others reach it; empty means Bind, which then must name a host
	Self      Peer            // what the node says of itself first; Start sets its GossipAddr
	Secret    []byte          // of the cluster; the key is derived from it
	Seeds     []string        // HOST:PORT of nodes to find the others by
	Known     func() []string // further such addresses, as of now; called every few seconds, and may be nil
	Log       *slog.Logger
}

// The detector of failures is set for nodes on one LAN: a node that died is
// noticed after 2.5 to 4 seconds in a cluster of up to ten.
//
// Each node asks one other after another, one per probeInterval; the dead one's
// turn comes within some hundred milliseconds on average, since all nodes ask.
// The answer has probeTimeout over UDP, then the rest of the interval through
// other nodes and over TCP: twice the time-out has to fit into the interval,
// or the others' "I cannot reach it either" comes too late to count. Then the
// node is suspected for suspicionMult intervals, 2 s: that long a living one
// may be deaf, for a collection of garbage or because its two cores are busy
// with others, before it is called dead, and it needs to be heard only once.
//
// In clusters of four and more the 2 s want two more nodes that suspect it too;
// without them it takes suspicionMaxMult times as long.
//
// A node that misses answers holds itself for the cause and asks less often, by
// maxAwareness at most; a busy machine so accuses no one in haste.
const (
	probeInterval    = 500 * time.Millisecond
	probeTimeout     = 200 * time.Millisecond
	suspicionMult    = 4
	suspicionMaxMult = 3
	maxAwareness     = 4
)

const (
	// reclaimAfter is how long a node must have been dead before one of its id
	// is believed at another address. It is longer than a node needs to deny
	// its death, so that the living keep their ids.
	reclaimAfter = 3 * time.Second

	// stateInterval is how often a node exchanges all it knows with another. A
	// node whose new address was refused is believed with the first exchange
	// after reclaimAfter; nobody tells it earlier. For some ten nodes the
	// state is a few kilobytes; beyond 32 memberlist makes it rarer.
	stateInterval = 3 * time.Second

	// streamTimeout bounds calls and exchanges over TCP.
	streamTimeout = 5 * time.Second

	// leaveTimeout bounds the good-bye, which takes about half a second.
	leaveTimeout = 3 * time.Second

	// maxUpdates is how often an update is handed to memberlist; after a
	// good-bye it takes none.
	maxUpdates = 10

	// label marks packets and streams as ours. It is not the cluster's id:
	// a node that is about to join knows none yet.
	label = "trellis"

	keyInfo = "trellis gossip 1"
)

// Gossip is this node's part in the gossip of its cluster.
type Gossip struct {
	list      *memberlist.Memberlist
	transport *transport
	roster    *roster
	updating  sync.Mutex // held while what this node says of itself is replaced
	stop      context.CancelFunc
	seeking   sync.WaitGroup
	closing   sync.Once
	closeErr  error
}

// Start listens, and begins to look for the seeds and whoever knows them. It
// does not wait for any: a node without peers is in order. The caller ends it
// with Close.
func Start(cfg Config) (*Gossip, error) {
	for _, seed := range cfg.Seeds {
		if _, _, err := split(seed); err != nil {
			return nil, err
		}
	}
	key, err := deriveKey(cfg.Secret)
	if err != nil {
		return nil, err
	}
	logger := cfg.Log.With("part", "gossip")
	lines := log.New(&logWriter{log: logger}, "", 0)

	ip, port, err := listenAt(context.Background(), cfg.Bind)
	if err != nil {
		return nil, err
	}
	t, err := listen(ip, port, lines)
	if err != nil {
		return nil, err
	}
	g, err := start(cfg, t, key, logger, lines)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown())
	}
	return g, nil
}

// deriveKey makes the key of gossip out of the cluster's secret.
func deriveKey(secret []byte) ([]byte, error) {
	if len(secret) == 0 {
		return nil, errors.New("gossip: the cluster's secret is empty")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, keyInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("gossip: derive the key: %w", err)
	}
	return key, nil
}

// start does what needs to know the port that is listened on.
func start(cfg Config, t *transport, key []byte, logger *slog.Logger, lines *log.Logger) (*Gossip, error) {
	ctx, stop := context.WithCancel(context.Background())
	g := &Gossip{transport: t, stop: stop}
	started := false
	defer func() {
		if !started {
			stop()
		}
	}()

	listens := t.address()
	name, at, err := advertised(ctx, cfg.Advertise, cfg.Bind, listens.Addr(), listens.Port())
	if err != nil {
		return nil, err
	}
	if at.Addr().IsLoopback() && !listens.Addr().IsLoopback() {
		logger.Warn("gossip address leads to this machine only", "address", name, "resolved", at)
	}
	self := cfg.Self
	self.GossipAddr = name
	meta, err := encodePeer(&self)
	if err != nil {
		return nil, err
	}
	g.roster = newRoster(self, meta, at, logger)

	ml := memberlist.DefaultLANConfig()
	ml.Name = string(self.ID)
	ml.Transport = t
	ml.Label = label
	ml.BindPort = int(listens.Port())
	ml.AdvertiseAddr, ml.AdvertisePort = at.Addr().String(), int(at.Port())
	ml.SecretKey = key
	ml.GossipVerifyIncoming, ml.GossipVerifyOutgoing = true, true
	ml.EnableCompression = false // messages are small and mostly fresh
	ml.ProbeInterval, ml.ProbeTimeout = probeInterval, probeTimeout
	ml.SuspicionMult, ml.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	ml.AwarenessMaxMultiplier = maxAwareness
	ml.PushPullInterval, ml.TCPTimeout = stateInterval, streamTimeout
	ml.DeadNodeReclaimTime = reclaimAfter
	ml.Delegate, ml.Alive, ml.Events, ml.Conflict = g.roster, g.roster, g.roster, g.roster
	ml.Logger = lines
	if g.list, err = memberlist.Create(ml); err != nil {
		return nil, fmt.Errorf("gossip: start as %s at %s: %w", self.ID, at, err)
	}

	seeker := &seeker{
		seeds: slices.Clone(cfg.Seeds), known: cfg.Known, self: g.roster, log: logger,
		places: make(map[string][]netip.AddrPort), silent: make(map[string]int),
		join: func(at string) error {
			_, err := g.list.Join([]string{at})
			return err
		},
	}
	g.seeking.Go(func() { seeker.run(ctx) })
	started = true
	return g, nil
}

// Addr returns the HOST:PORT at which others reach this node.
func (g *Gossip) Addr() string { return g.self().GossipAddr }

// self is what this node says of itself.
func (g *Gossip) self() Peer {
	g.roster.mu.RLock()
	defer g.roster.mu.RUnlock()
	return g.roster.mu.self
}

// Peers returns the living nodes, this one included, by id. Nodes of another
// cluster are not among them.
func (g *Gossip) Peers() []Peer { return g.roster.peers() }

// Peer returns a living node.
func (g *Gossip) Peer(id entity.NodeID) (Peer, bool) { return g.roster.peer(id) }

// Alive tells whether Peer would return the node.
func (g *Gossip) Alive(id entity.NodeID) bool {
	_, ok := g.roster.peer(id)
	return ok
}

// Suspects tells whether a node was alive since this one started and now is
// not: it fell silent or said good-bye. Of a node that it never saw it suspects
// nothing, and neither is that alive.
func (g *Gossip) Suspects(id entity.NodeID) bool { return g.roster.suspects(id) }

// SameName returns the living nodes that people gave the name of id, but which
// are not id: a second node of that name, or the same with another data
// directory.
func (g *Gossip) SameName(id entity.NodeID) []Peer {
	return slices.DeleteFunc(g.Peers(), func(p Peer) bool { return p.ID == id || p.ID.Name() != id.Name() })
}

// Ignored returns how many announcements of other nodes could not be read.
func (g *Gossip) Ignored() uint64 { return g.roster.ignored.Load() }

// Changed holds a message when the peers, or what they say of themselves, may
// have changed since the last message was taken. It is for a single watcher.
func (g *Gossip) Changed() <-chan struct{} { return g.roster.changed }

// Update changes what this node says of itself and begins to spread it, for
// which it does not wait. Neither the id nor the gossip address can be changed.
// After an error, which means that what was to be said is too long, the node
// says what it said before. change must not call Update.
func (g *Gossip) Update(change func(*Peer)) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	before := g.self()
	self := before
	change(&self)
	self.ID, self.GossipAddr = before.ID, before.GossipAddr
	if self == before {
		return nil
	}
	meta, err := encodePeer(&self)
	if err != nil {
		return err
	}
	g.roster.say(self, meta)
	// An update that meets memberlist's denial of a suspicion gets lost, if the
	// denial takes the later incarnation. Only updates write the metadata in
	// memberlist's record of this node, so it can be read here.
	for range maxUpdates {
		// The error can only tell that the news is not spread after a
		// nanosecond. It is queued, and part of every exchange of states.
		_ = g.list.UpdateNode(time.Nanosecond)
		if bytes.Equal(g.list.LocalNode().Meta, meta) {
			break
		}
	}
	return nil
}

// Close says good-bye to the others, so that they need not find out, and ends
// gossip. The good-bye takes about half a second, and no more than ctx's
// deadline leaves; it is left out if ctx has ended. What memberlist still waits
// for ends by itself within two seconds. Queries go on answering what was known
// last.
func (g *Gossip) Close(ctx context.Context) error {
	g.closing.Do(func() {
		var left error
		g.quiet()
		timeout := leaveTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		if ctx.Err() == nil && timeout > 0 {
			left = g.list.Leave(timeout)
		}
		if left != nil {
			left = fmt.Errorf("gossip: leave: %w", left)
		}
		g.closeErr = errors.Join(left, g.list.Shutdown())
	})
	return g.closeErr
}

// quiet ends the search for others.
func (g *Gossip) quiet() {
	g.stop()
	g.transport.endStreams()
	g.seeking.Wait()
}
