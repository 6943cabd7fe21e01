package entity_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
)

func TestMembersAndPlacementsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return rapid.String().Draw(t, label) }
		m := entity.Member{
			ID:          entity.NodeID(text("id")),
			State:       entity.MemberState(rapid.ByteRange(1, 3).Draw(t, "state")),
			ClusterAddr: text("cluster"), GossipAddr: text("gossip"), HTTPAddr: text("http"), Zone: text("zone"), Version: text("version"),
			Protocol: rapid.Uint32().Draw(t, "protocol"), Joined: rapid.Int64().Draw(t, "joined"),
		}
		if got, err := entity.DecodeMember(entity.AppendMember(nil, &m)); err != nil || got != m {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
		p := entity.Placement{
			Partition: entity.Partition(rapid.Uint32().Draw(t, "partition")),
			Version:   rapid.Uint64().Draw(t, "placement version"),
			Formed:    rapid.Bool().Draw(t, "formed"),
			Next:      rapid.Uint32().Draw(t, "next"),
		}
		for range rapid.IntRange(0, 6).Draw(t, "replicas") {
			p.Replicas = append(p.Replicas, entity.Replica{
				Node: entity.NodeID(text("node")), Number: rapid.Uint32().Draw(t, "number"), Voter: rapid.Bool().Draw(t, "voter"),
			})
		}
		got, err := entity.DecodePlacement(entity.AppendPlacement(nil, &p))
		if diff := cmp.Diff(p, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func TestServerIDs(t *testing.T) {
	want := entity.Replica{Node: "n1~0a1b2c3d", Number: 7}
	if got, ok := entity.ParseServerID(want.ServerID()); !ok || got != want {
		t.Errorf("%q became %+v, %v", want.ServerID(), got, ok)
	}
	if want.Node.Name() != "n1" {
		t.Errorf("name of %s is %q", want.Node, want.Node.Name())
	}
	for _, bad := range []string{"", "n1", "#1", "n1#", "n1#0", "n1#x", "n1#-1", "n1#4294967296"} {
		if r, ok := entity.ParseServerID(bad); ok {
			t.Errorf("%q is %+v", bad, r)
		}
	}
}

func TestNodeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"n1": true, "node-1.example_x": true, "A": true, strings.Repeat("n", 64): true,
		"": false, strings.Repeat("n", 65): false, "a~b": false, "a#b": false, "a b": false, "ä": false, "a/b": false, "a\n": false,
	} {
		if entity.ValidNodeName(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

// FuzzMembers: decoders of members and placements never panic, and what they
// accept survives another round.
func FuzzMembers(f *testing.F) {
	f.Add(entity.AppendMember(nil, &entity.Member{ID: "n1~0a1b2c3d", State: entity.Active, ClusterAddr: "h:1", Protocol: 1}))
	f.Add(entity.AppendPlacement(nil, &entity.Placement{Partition: 3, Next: 2, Replicas: []entity.Replica{{Node: "n1~0a1b2c3d", Number: 1, Voter: true}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := entity.DecodeMember(b); err == nil {
			if again, err := entity.DecodeMember(entity.AppendMember(nil, &m)); err != nil || again != m {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
		if p, err := entity.DecodePlacement(b); err == nil {
			again, err := entity.DecodePlacement(entity.AppendPlacement(nil, &p))
			if diff := cmp.Diff(p, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		if r, ok := entity.ParseServerID(string(b)); ok {
			if again, ok := entity.ParseServerID(r.ServerID()); !ok || again != r {
				t.Errorf("%+v became %+v", r, again)
			}
		}
	})
}
