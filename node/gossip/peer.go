package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"

	"github.com/trellisdb/trellis/storage/entity"
)

// Peer is what a node tells the others about itself. Its encoding must fit the
// 512 bytes that memberlist has for it.
type Peer struct {
	ID          entity.NodeID
	Cluster     entity.ID // zero while the node belongs to none
	ClusterAddr string    // HOST:PORT at which other nodes reach it
	GossipAddr  string    // HOST:PORT of gossip; Start fills it in
	HTTPAddr    string    // HOST:PORT of the REST API
	Zone        string    // where it stands
	Version     string    // of its program, for people
	Protocol    uint32    // newest commands and messages it understands
	Expect      uint32    // nodes it waits for to form a cluster, 0 once it belongs to one
}

const peerVersion = 1

var errUnreadable = errors.New("what it says of itself is damaged or of another version")

// texts are the strings of a peer in the order of the encoding.
func (p *Peer) texts() []*string {
	return []*string{&p.ClusterAddr, &p.GossipAddr, &p.HTTPAddr, &p.Zone, &p.Version}
}

// appendPeer appends the metadata of a peer:
//
//	version 1 · cluster 16 · protocol, expect uvarint · cluster, gossip and HTTP address · zone · version
//
// with the length of each string as uvarint before it. The id is not in it:
// memberlist carries that as the name of the node.
//
// A later release adds its fields at the end, where this one does not look, so
// that nodes of both see each other while a cluster is upgraded. Another
// version byte says that a node must not be understood by halves.
func appendPeer(dst []byte, p *Peer) []byte {
	dst = append(dst, peerVersion)
	dst = append(dst, p.Cluster[:]...)
	dst = binary.AppendUvarint(dst, uint64(p.Protocol))
	dst = binary.AppendUvarint(dst, uint64(p.Expect))
	for _, s := range p.texts() {
		dst = append(binary.AppendUvarint(dst, uint64(len(*s))), *s...)
	}
	return dst
}

// decodePeer reads what appendPeer wrote, or returns errUnreadable. It keeps
// nothing of b.
func decodePeer(id entity.NodeID, b []byte) (Peer, error) {
	p := Peer{ID: id}
	if !validID(id) || len(b) < 1+len(p.Cluster) || len(b) > memberlist.MetaMaxSize || b[0] != peerVersion {
		return Peer{}, errUnreadable
	}
	b = b[1+copy(p.Cluster[:], b[1:]):]
	for _, number := range []*uint32{&p.Protocol, &p.Expect} {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<32-1 {
			return Peer{}, errUnreadable
		}
		*number, b = uint32(v), b[n:]
	}
	for _, s := range p.texts() {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Peer{}, errUnreadable
		}
		*s, b = string(b[n:n+int(size)]), b[n+int(size):]
		if !utf8.ValidString(*s) {
			return Peer{}, errUnreadable
		}
	}
	return p, nil
}

// encodePeer checks what this node is about to say of itself and encodes it.
func encodePeer(p *Peer) ([]byte, error) {
	if !validID(p.ID) {
		return nil, fmt.Errorf("gossip: %q is no node id", p.ID)
	}
	for _, s := range p.texts() {
		if !utf8.ValidString(*s) {
			return nil, fmt.Errorf("gossip: %q is no UTF-8", *s)
		}
	}
	b := appendPeer(nil, p)
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("gossip: what node %s says of itself takes %d bytes, at most %d fit: its addresses, zone and version are too long",
			p.ID, len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

// validID tells whether an id is a node's name, or that and a tilde and hex
// digits.
func validID(id entity.NodeID) bool {
	suffix, tagged := strings.CutPrefix(string(id[len(id.Name()):]), "~")
	return entity.ValidNodeName(id.Name()) && len(suffix) <= 16 &&
		tagged == (suffix != "") && strings.Trim(suffix, "0123456789abcdef") == ""
}
