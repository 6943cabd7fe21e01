package gossip

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"

	"github.com/trellisdb/trellis/storage/entity"
)

func fullPeer() Peer {
	return Peer{
		ID: "paris~0011aabb", Cluster: entity.ID{1, 2, 15: 3},
		ClusterAddr: "paris.example:7100", GossipAddr: "[2001:db8::1]:7101", HTTPAddr: "10.0.0.1:8080",
		Zone: "west", Version: "1.2.0", Protocol: 300, Expect: 3,
	}
}

// TestPeerBytes keeps the layout that other releases read.
func TestPeerBytes(t *testing.T) {
	p := fullPeer()
	const want = "01" + "01020000000000000000000000000003" + "ac02" + "03" +
		"12" + "70617269732e6578616d706c653a37313030" +
		"12" + "5b323030313a6462383a3a315d3a37313031" +
		"0d" + "31302e302e302e313a38303830" +
		"04" + "77657374" + "05" + "312e322e30"
	got := appendPeer(nil, &p)
	if diff := cmp.Diff(want, hex.EncodeToString(got)); diff != "" {
		t.Errorf("encoding (-want +got):\n%s", diff)
	}
	// A later release has more to say.
	back, err := decodePeer(p.ID, append(got, "more"...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestPeerUnreadable(t *testing.T) {
	p := fullPeer()
	good := appendPeer(nil, &p)
	for n := range good {
		if _, err := decodePeer(p.ID, good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are read", n, len(good))
		}
	}
	other := append([]byte{2}, good[1:]...)
	notText := append([]byte(nil), good...)
	notText[len(notText)-1] = 0xff
	for name, b := range map[string][]byte{
		"version 2":    other,
		"not UTF-8":    notText,
		"huge number":  append(append([]byte(nil), good[:17]...), 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0),
		"over 512":     append(append([]byte(nil), good...), make([]byte, memberlist.MetaMaxSize)...),
		"other format": []byte(`{"id":"paris"}`),
	} {
		if _, err := decodePeer(p.ID, b); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	for _, id := range []entity.NodeID{"", "~0011aabb", "a b~0011aabb", "paris~", "paris~00#1", "paris~0011AABB", "a/b", entity.NodeID(strings.Repeat("a", 65))} {
		if _, err := decodePeer(id, good); err == nil {
			t.Errorf("a node called %q is read", id)
		}
		p.ID = id
		if _, err := encodePeer(&p); err == nil {
			t.Errorf("a node called %q may speak", id)
		}
	}
}

// FuzzPeer: what decodes is the same after another round, and nothing panics.
func FuzzPeer(f *testing.F) {
	p := fullPeer()
	f.Add(string(p.ID), appendPeer(nil, &p))
	f.Add("a", appendPeer(nil, &Peer{}))
	f.Add("a~0", []byte{2})
	f.Fuzz(func(t *testing.T, id string, b []byte) {
		p, err := decodePeer(entity.NodeID(id), b)
		if err != nil {
			return
		}
		again, err := encodePeer(&p)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodePeer(p.ID, again)
		if err != nil || back != p {
			t.Fatalf("%+v came back as %+v, %v", p, back, err)
		}
	})
}
