package raftfsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// benchEntity is 255 bytes of client JSON with a unique name.
func benchEntity(n int) []byte {
	head := fmt.Sprintf(`{"name":"item-%012d","price":12.5,"tags":["steel","hand"],"text":"`, n)
	return []byte(head + strings.Repeat("x", 255-len(head)-2) + `"}`)
}

// BenchmarkCreate applies creations of 255-byte entities, one an entry, in
// batches of so many entries. Times and allocations are those of one entity,
// decoding, dedup record and commit included.
func BenchmarkCreate(b *testing.B) {
	rules := command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			f := newFixture(b, 3, 0)
			log := make([]*raft.Log, b.N)
			for i := range log {
				log[i] = entryOf(uint64(i+1), command.Command{
					Request: requestOf(i + 1), Time: 1600000000000, App: 16,
					Op: command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: entity.NewID(), Created: 1600000000000, Modified: 1600000000000, JSON: benchEntity(i)}}},
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < len(log); i += size {
				f.machine.ApplyBatch(log[i:min(i+size, len(log))])
			}
			b.StopTimer()
			if f.machine.Applied() != uint64(b.N) || f.halted != nil {
				b.Fatalf("applied %d of %d: %v", f.machine.Applied(), b.N, f.halted)
			}
		})
	}
}

// BenchmarkUpdate applies patches of one property to 255-byte entities.
func BenchmarkUpdate(b *testing.B) {
	rules := command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}
	const entities = 1000
	f := newFixture(b, 3, 0)
	for i := range entities {
		f.apply(command.Command{App: 16, Op: command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: idOf(i + 1), JSON: benchEntity(i)}}}})
	}
	log := make([]*raft.Log, b.N)
	for i := range log {
		log[i] = entryOf(f.index+uint64(i)+1, command.Command{Request: requestOf(i + 1), App: 16, Op: command.UpdateEntity{
			Rules: rules, Target: command.Target{ID: idOf(1 + i%entities)}, Patch: []byte(fmt.Sprintf(`{"price":%d}`, i)),
		}})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < len(log); i += 16 {
		f.machine.ApplyBatch(log[i:min(i+16, len(log))])
	}
}

// productOf is an entity of 12 properties: some 400 bytes, 30 words.
func productOf(n int) []byte {
	return fmt.Appendf(nil, `{"name":"item-%012d","price":%d.5,"category":"Tools","stock":%d,"tags":["steel","hand","workshop"],`+
		`"location":{"latitude":%d.77,"longitude":-122.41},"active":%v,"rating":4.5,"brand":"Hammer & Sons","colour":"grey",`+
		`"description":"A hammer of good steel, hardly used, with a handle of ash wood; comes in a box","seller":{"city":"San Francisco"}}`,
		n, n%500, n%40, n%80, n%3 == 0)
}

// BenchmarkCreateIndexed applies creations of entities of 12 properties in batches of
// 16 entries, with no index, with all, and with two composite indexes besides. keys
// and bytes are what an entity adds to the batch.
func BenchmarkCreateIndexed(b *testing.B) {
	rules := command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}
	composites := [][]entity.CompositeKey{{{Property: "category"}, {Property: "price", Desc: true}}, {{Property: "brand"}, {Property: "created", Desc: true}}}
	for name, settings := range map[string]command.PutSettings{
		"none":       {Collection: "items", Fields: &command.Fields{None: true}},
		"all":        {Collection: "items"},
		"composites": {Collection: "items", Composites: &composites},
	} {
		b.Run(name, func(b *testing.B) {
			f := newFixture(b, 3, 0)
			f.apply(command.Command{App: 16, Op: settings})
			log := make([]*raft.Log, b.N)
			for i := range log {
				log[i] = entryOf(uint64(i+2), command.Command{
					Request: requestOf(i + 1), Time: 1600000000000, App: 16,
					Op: command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: entity.NewID(), Created: 1600000000000 + int64(i), JSON: productOf(i)}}},
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < len(log); i += 16 {
				f.machine.ApplyBatch(log[i:min(i+16, len(log))])
			}
			b.StopTimer()
			if f.machine.Applied() != uint64(b.N)+1 || f.halted != nil {
				b.Fatalf("applied %d of %d: %v", f.machine.Applied(), b.N, f.halted)
			}
			if _, err := f.machine.run(entryOf(uint64(b.N)+2, command.Command{App: 16, Op: command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: idOf(1), JSON: productOf(b.N)}}}})); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(f.machine.batch.Len()), "keys")
			b.ReportMetric(float64(f.machine.batch.Size()), "bytes")
		})
	}
}
