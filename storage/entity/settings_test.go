package entity_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
)

func drawPlan(t *rapid.T, generation uint32) entity.IndexPlan {
	name := rapid.StringMatching(`[a-c](\.[a-c])?`)
	p := entity.IndexPlan{Generation: generation, None: rapid.Bool().Draw(t, "none"), All: rapid.Bool().Draw(t, "all")}
	for range rapid.IntRange(0, 3).Draw(t, "fields") {
		p.Fields = append(p.Fields, name.Draw(t, "field"))
	}
	if rapid.Bool().Draw(t, "some declared") {
		p.Declared = []string{name.Draw(t, "declared")}
	}
	for range rapid.IntRange(0, 2).Draw(t, "composites") {
		c := entity.Composite{Number: rapid.Uint32().Draw(t, "number")}
		for range rapid.IntRange(2, 4).Draw(t, "keys") {
			c.Keys = append(c.Keys, entity.CompositeKey{Property: name.Draw(t, "key"), Desc: rapid.Bool().Draw(t, "desc")})
		}
		p.Composites = append(p.Composites, c)
	}
	return p
}

func TestSettingsSurviveTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 5, 20)
		want := entity.Settings{
			Plan: drawPlan(t, 9), Composites: rapid.Uint32().Draw(t, "composites"), Declared: rapid.Bool().Draw(t, "declared"),
			Updated: rapid.Int64().Draw(t, "updated"), Reindexed: rapid.Int64().Draw(t, "reindexed"),
			UpdatedBy: text.Draw(t, "by"), QueueIndex: text.Draw(t, "queue"), IndexConsistency: text.Draw(t, "consistency"), Region: text.Draw(t, "region"),
			Job: entity.ID{15: rapid.Byte().Draw(t, "job")},
		}
		for g := range rapid.IntRange(0, 3).Draw(t, "older") {
			want.Older = append(want.Older, drawPlan(t, uint32(g)))
		}
		raw := entity.AppendSettings(nil, &want)
		got, err := entity.DecodeSettings(raw)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("-want +got\n%s", d)
		}
		if _, err := entity.DecodeSettings(raw[:len(raw)-1]); err == nil {
			t.Fatal("half a record is read")
		}
	})
}

// FuzzDecodeSettings states that what is read is what is written, and that no input
// makes it panic.
func FuzzDecodeSettings(f *testing.F) {
	settings := entity.Defaults()
	settings.Plan.Composites = []entity.Composite{{Number: 1, Keys: []entity.CompositeKey{{Property: "a"}, {Property: "b", Desc: true}}}}
	settings.Older = []entity.IndexPlan{{}}
	f.Add(entity.AppendSettings(nil, &settings))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := entity.DecodeSettings(b)
		if err != nil {
			return
		}
		again, err := entity.DecodeSettings(entity.AppendSettings(nil, &s))
		if d := cmp.Diff(s, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func TestUsableIndexes(t *testing.T) {
	composite := entity.Composite{Number: 3, Keys: []entity.CompositeKey{{Property: "a"}, {Property: "b"}}}
	s := entity.Settings{
		Plan:  entity.IndexPlan{Generation: 4, Fields: []string{"a", "b.c"}, Declared: []string{"d"}, Composites: []entity.Composite{composite}},
		Older: []entity.IndexPlan{{Generation: 3, All: true}},
	}
	for path, want := range map[string]bool{"a": true, "a.x": true, "d": true, "d.x": true, "dx": false, "b": false, "b.c": true, "b.cd": false, "name": true, "created": true} {
		if got := s.Usable(path); got != want {
			t.Errorf("%s is usable: %v", path, got)
		}
	}
	if s.Ready(&composite) {
		t.Error("a composite index is ready while an older plan lacks it")
	}
	s.Older[0].Composites = s.Plan.Composites
	if !s.Ready(&composite) {
		t.Error("a composite index is not ready")
	}
	s.Older = append(s.Older, entity.IndexPlan{})
	if s.Usable("a") || s.Usable("name") || s.Ready(&composite) {
		t.Error("an index is usable with entities that have no entries")
	}
	if p, ok := s.PlanOf(3); !ok || !p.All {
		t.Errorf("plan of generation 3 is %v %v", p, ok)
	}
	if _, ok := s.PlanOf(2); ok {
		t.Error("there is a plan of generation 2")
	}
}
