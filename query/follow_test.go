package query

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// TestWalkGivesUpOnASetElsewhere: what an equality selects may all lie at the far end of the
// order. The walk must not go there: the set costs less.
func TestWalkGivesUpOnASetElsewhere(t *testing.T) {
	w := newWorld(t)
	k := w.kind("things", "thing")
	const all, few = 6000, 150
	rng := rand.New(rand.NewPCG(1, 2))
	w.commit(func(b *storage.Batch) {
		for i := range all {
			country := "de"
			if i%(all/few) == 0 {
				country = "pk"
			}
			n := rng.IntN(1000)
			if country == "de" {
				n += 1000
			}
			k.add(b, entity.NewID(), int64(i), int64(i), fmt.Sprintf(`{"country":%q,"number":%d}`, country, n))
		}
		k.putCounters(b)
	})
	req, err := k.request("country = 'pk' order by number desc", 10)
	if err != nil {
		t.Fatal(err)
	}
	before := w.engine.Stats().Examined
	page, err := w.page(req)
	if err != nil || len(page.Rows) != 10 {
		t.Fatalf("%d rows, %v", len(page.Rows), err)
	}
	if examined := w.engine.Stats().Examined - before; examined > all {
		t.Errorf("%d keys examined for %d of %d entities", examined, few, all)
	}
}
