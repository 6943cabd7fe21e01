package peer

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Reason says why an accepted connection was refused.
type Reason string

// Reasons of refusals.
const (
	WrongSecret  Reason = "wrong_secret"  // the dialler does not know the cluster secret, or replays
	OtherCluster Reason = "other_cluster" // the dialler belongs to another cluster
	NoLane       Reason = "no_lane"       // nobody has registered the lane
	Busy         Reason = "busy"          // the queue of the lane is full
	Malformed    Reason = "malformed"     // what came is no handshake, or one of another version
	Timeout      Reason = "timeout"       // the handshake took too long
	TLSFailed    Reason = "tls"           // no certificate, or one of another authority
	Crowded      Reason = "crowded"       // too many handshakes were under way
	Broken       Reason = "broken"        // the connection ended during the handshake
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{WrongSecret, OtherCluster, NoLane, Busy, Malformed, Timeout, TLSFailed, Crowded, Broken}
}

// Stats counts what a network has done since Listen.
type Stats struct {
	Accepted uint64 // connections handed to a lane
	Dialled  uint64 // connections Dial returned
	// Refused counts accepted connections that were closed, with an entry for
	// each of Reasons. WrongSecret and TLSFailed rise when somebody else, or a
	// node with the wrong configuration, tries to get in; Busy when a lane's user
	// does not keep up; Crowded when the port is flooded.
	Refused map[Reason]uint64
	// Handshakes is how many accepted connections are in theirs now.
	Handshakes int
}

// refusalLogPause is how long refusals of one reason go unlogged after one that
// was logged: a stranger must not fill the log.
const refusalLogPause = 10 * time.Second

// counts are the numbers behind Stats. The zero value is ready.
type counts struct {
	mu struct {
		sync.Mutex
		accepted, dialled uint64
		refused           map[Reason]uint64
		logged            map[Reason]time.Time
	}
}

func (c *counts) accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.accepted++
}

func (c *counts) dial() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.dialled++
}

// refuse counts a refusal; it returns how many there were of the reason, and
// whether it is time for a line in the log.
func (c *counts) refuse(r Reason, now time.Time) (total uint64, tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.refused == nil {
		c.mu.refused, c.mu.logged = make(map[Reason]uint64), make(map[Reason]time.Time)
	}
	c.mu.refused[r]++
	if last, ok := c.mu.logged[r]; !ok || now.Sub(last) >= refusalLogPause {
		c.mu.logged[r] = now
		tell = true
	}
	return c.mu.refused[r], tell
}

// Stats returns the counts up to now.
func (n *Network) Stats() Stats {
	c := &n.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Accepted:   c.mu.accepted,
		Dialled:    c.mu.dialled,
		Refused:    make(map[Reason]uint64),
		Handshakes: len(n.slots),
	}
	for _, r := range Reasons() {
		s.Refused[r] = c.mu.refused[r]
	}
	return s
}

// refused counts and, now and then, logs a connection that was closed.
func (n *Network) refused(raw net.Conn, r Reason, err error) {
	total, tell := n.counts.refuse(r, time.Now())
	switch r {
	case NoLane, Broken:
		return // nodes that start and stop, and probes of the port
	}
	if !tell {
		return
	}
	args := []any{"reason", r, "remote", raw.RemoteAddr(), "total", total}
	var told *refusal
	if errors.As(err, &told) {
		args = append(args, "node", told.dialler.id, "cluster", told.dialler.cluster, "lane", told.dialler.lane)
	} else if err != nil {
		args = append(args, "err", err)
	}
	n.cfg.Log.Warn("peer refused", args...)
}
