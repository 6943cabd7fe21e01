package entity

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// NodeID names one data directory of one node: the node's name, a tilde, and
// eight hex digits made up when the directory was. A node that comes back with
// an empty disk has its old name and a new id, and so none of the votes it has
// forgotten.
type NodeID string

// Name returns the part that people chose.
func (id NodeID) Name() string {
	name, _, _ := strings.Cut(string(id), "~")
	return name
}

// MaxNodeName is how long the name of a node may be, in bytes.
const MaxNodeName = 64

// ValidNodeName reports whether a node may be called so: 1 to MaxNodeName letters,
// digits, dots, dashes and underscores of ASCII.
func ValidNodeName(name string) bool {
	if name == "" || len(name) > MaxNodeName {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Replica is a node's copy of a partition. A node that gives its copy up and
// gets one again has another number, so that two copies are never taken for
// one: the number is part of the name under which a copy votes.
type Replica struct {
	Node   NodeID
	Number uint32 // unique within the partition, 1 and up
	Voter  bool   // else it follows the log and never votes
}

// ServerID is the name under which a replica takes part in its Raft group.
//
//	node · '#' · number
func (r Replica) ServerID() string {
	return string(r.Node) + "#" + strconv.FormatUint(uint64(r.Number), 10)
}

// ParseServerID is the inverse of Replica.ServerID, but for Voter.
func ParseServerID(s string) (Replica, bool) {
	node, number, ok := strings.Cut(s, "#")
	if !ok || node == "" {
		return Replica{}, false
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 {
		return Replica{}, false
	}
	return Replica{Node: NodeID(node), Number: uint32(n)}, true
}

// MemberState is what a cluster expects of a member.
type MemberState byte

// States of a member.
const (
	Active   MemberState = 1 // holds replicas
	Draining MemberState = 2 // its replicas move to others; it still serves
	Removed  MemberState = 3 // belongs to the cluster no more, and never will again under this id
)

// String returns the state in words.
func (s MemberState) String() string {
	switch s {
	case Active:
		return "active"
	case Draining:
		return "draining"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// Member is a node of the cluster, as the system partition knows it.
type Member struct {
	ID          NodeID
	State       MemberState
	ClusterAddr string // HOST:PORT at which other nodes reach it
	GossipAddr  string // HOST:PORT of gossip
	HTTPAddr    string // HOST:PORT of the REST API
	Zone        string // where it stands; replicas are spread over zones. Empty: nowhere in particular
	Version     string // of its program, for people
	Protocol    uint32 // newest commands and messages it understands
	Joined      int64  // ms since the epoch
}

// Placement says which nodes are to hold a partition.
type Placement struct {
	Partition Partition
	Version   uint64 // grows by one with every change
	// Formed: the Raft group has had a leader. Nobody forms it any more: who has
	// no copy waits to be given one.
	Formed   bool
	Next     uint32    // number of the next replica
	Replicas []Replica // the first is to lead
}

// Replica returns the replica a node is to hold.
func (p *Placement) Replica(id NodeID) (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Node == id {
			return r, true
		}
	}
	return Replica{}, false
}

const memberVersion = 1

// AppendMember appends the stored form: version 1 · state 1 · id · cluster,
// gossip and HTTP address · zone · version · protocol uvarint · joined varint;
// strings with their length as uvarint before them.
func AppendMember(dst []byte, m *Member) []byte {
	dst = append(dst, memberVersion, byte(m.State))
	for _, s := range []string{string(m.ID), m.ClusterAddr, m.GossipAddr, m.HTTPAddr, m.Zone, m.Version} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	dst = binary.AppendUvarint(dst, uint64(m.Protocol))
	return binary.AppendVarint(dst, m.Joined)
}

// DecodeMember reads what AppendMember wrote, or returns fault.Corrupt.
func DecodeMember(b []byte) (Member, error) {
	bad := fault.New(fault.Corrupt, "member record: damaged or of another version")
	if len(b) < 2 || b[0] != memberVersion || b[1] < byte(Active) || b[1] > byte(Removed) {
		return Member{}, bad
	}
	m := Member{State: MemberState(b[1])}
	b = b[2:]
	var id string
	var ok bool
	for _, s := range []*string{&id, &m.ClusterAddr, &m.GossipAddr, &m.HTTPAddr, &m.Zone, &m.Version} {
		if *s, b, ok = text(b); !ok {
			return Member{}, bad
		}
	}
	m.ID = NodeID(id)
	protocol, n := binary.Uvarint(b)
	if n <= 0 || protocol > 1<<32-1 {
		return Member{}, bad
	}
	m.Protocol = uint32(protocol)
	if m.Joined, b, ok = varint(b[n:]); !ok || len(b) != 0 {
		return Member{}, bad
	}
	return m, nil
}

// AppendPlacement appends the stored form: version 1 · formed 1 · partition,
// version, next and number of replicas, uvarints · for each replica its number,
// uvarint, 1 if it votes, and its node with the length as uvarint before it.
func AppendPlacement(dst []byte, p *Placement) []byte {
	dst = append(dst, memberVersion, flag(p.Formed))
	dst = binary.AppendUvarint(dst, uint64(p.Partition))
	dst = binary.AppendUvarint(dst, p.Version)
	dst = binary.AppendUvarint(dst, uint64(p.Next))
	dst = binary.AppendUvarint(dst, uint64(len(p.Replicas)))
	for _, r := range p.Replicas {
		dst = binary.AppendUvarint(dst, uint64(r.Number))
		dst = append(dst, flag(r.Voter))
		dst = append(binary.AppendUvarint(dst, uint64(len(r.Node))), r.Node...)
	}
	return dst
}

// DecodePlacement reads what AppendPlacement wrote, or returns fault.Corrupt.
func DecodePlacement(b []byte) (Placement, error) {
	bad := fault.New(fault.Corrupt, "placement record: damaged or of another version")
	if len(b) < 2 || b[0] != memberVersion || b[1] > 1 {
		return Placement{}, bad
	}
	p := Placement{Formed: b[1] == 1}
	b = b[2:]
	var fields [4]uint64
	for i := range fields {
		v, n := binary.Uvarint(b)
		if n <= 0 || (i != 1 && v > 1<<32-1) {
			return Placement{}, bad
		}
		fields[i], b = v, b[n:]
	}
	p.Partition, p.Version, p.Next = Partition(fields[0]), fields[1], uint32(fields[2])
	if fields[3] > uint64(len(b))/3 {
		return Placement{}, bad
	}
	for range fields[3] {
		number, n := binary.Uvarint(b)
		if n <= 0 || number > 1<<32-1 || len(b) == n || b[n] > 1 {
			return Placement{}, bad
		}
		r := Replica{Number: uint32(number), Voter: b[n] == 1}
		var node string
		var ok bool
		if node, b, ok = text(b[n+1:]); !ok {
			return Placement{}, bad
		}
		r.Node = NodeID(node)
		p.Replicas = append(p.Replicas, r)
	}
	if len(b) != 0 {
		return Placement{}, bad
	}
	return p, nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// text takes a string with its length before it off the front of b.
func text(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	return string(b[n : n+int(size)]), b[n+int(size):], true
}
