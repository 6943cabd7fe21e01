package gossip

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"

	"github.com/trellisdb/trellis/storage/entity"
)

// How much the roster remembers for no peer that is there.
const (
	maxLost = 1024 // nodes that were here and are not
	maxTold = 256  // things that were logged, so as not to log them again
)

var errForeign = errors.New("it belongs to another cluster")

// roster is what this node knows of itself and the others. It is memberlist's
// delegate for everything that happens to nodes, and answers from memory.
type roster struct {
	log     *slog.Logger
	changed chan struct{} // for who watches the peers
	gone    chan struct{} // for the seeker: an address may have become free
	ignored atomic.Uint64
	mu      struct {
		sync.RWMutex
		self  Peer
		meta  []byte // self, encoded; replaced, never written to
		at    netip.AddrPort
		nodes map[entity.NodeID]node // the others whom memberlist holds for alive
		lost  map[entity.NodeID]struct{}
		told  map[string]uint64
	}
}

// node is another node that memberlist holds for alive. It is a peer if it can
// be read and does not belong to another cluster.
type node struct {
	peer     Peer
	at       netip.AddrPort
	readable bool
}

var (
	_ memberlist.Delegate         = (*roster)(nil)
	_ memberlist.AliveDelegate    = (*roster)(nil)
	_ memberlist.EventDelegate    = (*roster)(nil)
	_ memberlist.ConflictDelegate = (*roster)(nil)
)

func newRoster(self Peer, meta []byte, at netip.AddrPort, log *slog.Logger) *roster {
	r := &roster{log: log, changed: make(chan struct{}, 1), gone: make(chan struct{}, 1)}
	r.mu.self, r.mu.meta, r.mu.at = self, meta, at
	r.mu.nodes = make(map[entity.NodeID]node)
	r.mu.lost = make(map[entity.NodeID]struct{})
	r.mu.told = make(map[string]uint64)
	return r
}

// wake leaves a message in a channel of capacity one, unless there is one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// foreign tells whether a node belongs to another cluster than this one.
// Call it with r.mu held.
func (r *roster) foreign(p *Peer) bool {
	return !p.Cluster.IsZero() && !r.mu.self.Cluster.IsZero() && p.Cluster != r.mu.self.Cluster
}

// visible tells whether a node is a peer. Call it with r.mu held.
func (r *roster) visible(n *node) bool { return n.readable && !r.foreign(&n.peer) }

// tell counts what happened under key and tells whether it is the first time,
// and so worth a line in the log.
func (r *roster) tell(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.mu.told[key]; !ok && len(r.mu.told) >= maxTold {
		clear(r.mu.told)
	}
	r.mu.told[key]++
	return r.mu.told[key] == 1
}

// peer returns this node or another that is alive.
func (r *roster) peer(id entity.NodeID) (Peer, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if id == r.mu.self.ID {
		return r.mu.self, true
	}
	n, ok := r.mu.nodes[id]
	if !ok || !r.visible(&n) {
		return Peer{}, false
	}
	return n.peer, true
}

// peers returns this node and the others that are alive, by id.
func (r *roster) peers() []Peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]Peer, 1, 1+len(r.mu.nodes))
	all[0] = r.mu.self
	for _, n := range r.mu.nodes {
		if r.visible(&n) {
			all = append(all, n.peer)
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// suspects tells whether a node was here and is not any more.
func (r *roster) suspects(id entity.NodeID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, lost := r.mu.lost[id]
	return lost
}

// addresses returns the gossip addresses that this node and its peers give out,
// and places those at which memberlist reaches them.
func (r *roster) addresses() (names map[string]bool, places map[netip.AddrPort]bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names = map[string]bool{r.mu.self.GossipAddr: true}
	places = map[netip.AddrPort]bool{r.mu.at: true}
	for _, n := range r.mu.nodes {
		if r.visible(&n) {
			names[n.peer.GossipAddr], places[n.at] = true, true
		}
	}
	return names, places
}

// say replaces what this node says of itself.
func (r *roster) say(self Peer, meta []byte) {
	r.mu.Lock()
	r.mu.self, r.mu.meta = self, meta
	r.mu.Unlock()
	wake(r.changed)
	wake(r.gone) // with another cluster of ours, other nodes are foreign
}

// NotifyAlive is asked before memberlist believes that a node is there, and at
// everything new that a node says of itself.
//
// A node that is already known is always let through, even if it has become
// unreadable or foreign: refusing would freeze what it said before, and so let
// it go on as a peer. The roster hides it instead, until it falls silent.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	id := entity.NodeID(n.Name)
	peer, err := decodePeer(id, n.Meta)

	r.mu.RLock()
	self := id == r.mu.self.ID
	_, known := r.mu.nodes[id]
	if err == nil && r.foreign(&peer) {
		err = errForeign
	}
	r.mu.RUnlock()

	if self || err == nil {
		return nil
	}
	if errors.Is(err, errUnreadable) {
		r.ignored.Add(1)
	}
	if r.tell(err.Error() + " " + n.Name) {
		r.log.Warn("node ignored", "node", n.Name, "address", n.Address(), "because", err)
	}
	if known {
		return nil
	}
	return err
}

// NotifyJoin notes a node that is new, or back.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.put(n) }

// NotifyUpdate notes what a node now says of itself.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.put(n) }

func (r *roster) put(n *memberlist.Node) {
	id := entity.NodeID(n.Name)
	peer, err := decodePeer(id, n.Meta)
	ip, _ := netip.AddrFromSlice(n.Addr)

	r.mu.Lock()
	defer r.mu.Unlock()
	if id == r.mu.self.ID {
		return
	}
	r.mu.nodes[id] = node{peer: peer, at: netip.AddrPortFrom(ip.Unmap(), n.Port), readable: err == nil}
	delete(r.mu.lost, id)
	wake(r.changed)
}

// NotifyLeave notes that a node has said good-bye or fallen silent.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := entity.NodeID(n.Name)
	was, known := r.mu.nodes[id]
	if !known {
		return
	}
	delete(r.mu.nodes, id)
	if r.visible(&was) {
		for some := range r.mu.lost {
			if len(r.mu.lost) < maxLost {
				break
			}
			delete(r.mu.lost, some)
		}
		r.mu.lost[id] = struct{}{}
	}
	wake(r.changed)
	wake(r.gone)
}

// NotifyConflict is told of a node that claims an id which a living one has.
// memberlist has refused it. That happens again with every message of the
// claimant, so it is logged once for each address. A node that comes back at
// another address before the old one is held for dead is such a claimant too.
func (r *roster) NotifyConflict(existing, other *memberlist.Node) {
	if r.tell(conflictKey(other)) {
		r.log.Warn("node id claimed at a second address",
			"node", existing.Name, "believed", existing.Address(), "refused", other.Address())
	}
}

func conflictKey(n *memberlist.Node) string { return "conflict " + n.Name + " " + n.Address() }

// NodeMeta is what memberlist sends as this node's metadata.
func (r *roster) NodeMeta(int) []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.meta
}

// NotifyMsg drops what other nodes send as user messages: there are none.
func (r *roster) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to add to what memberlist spreads.
func (r *roster) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add to an exchange of states.
func (r *roster) LocalState(bool) []byte { return nil }

// MergeRemoteState drops what LocalState of a later release may add.
func (r *roster) MergeRemoteState([]byte, bool) {}
