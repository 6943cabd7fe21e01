package raftfsm

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// sum adds up the fingerprints of the index entries that entities have, and of those
// that are there. Two sums that are equal are of the same entries, so nothing need be
// looked up; where they differ, it is found out which entries it is.
type sum struct{ wanted, found uint64 }

func (n *census) sum(kind byte) *sum {
	s := n.sums[kind]
	if s == nil {
		s = new(sum)
		n.sums[kind] = s
	}
	return s
}

func (c *checker) fingerprint(key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	_, _ = h.Write(key)
	_, _ = h.Write(value)
	_ = h.WriteByte(byte(len(value)))
	return h.Sum64()
}

// fingerprintOf is that of a bit that is set.
func (c *checker) fingerprintOf(property entity.PropertyID, seq entity.Seq) uint64 {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(property))
	binary.BigEndian.PutUint64(b[4:], uint64(seq))
	return maphash.Bytes(c.seed, b[:])
}

// indexEntry takes an entry into the sum of its index.
func (c *checker) indexEntry(k, v []byte) error {
	kind, id, _, rest, ok := keys.DecodeIndex(k)
	if !ok || len(rest) < 8 {
		c.problem(k, "damaged key of an index")
		return nil
	}
	n, err := c.of(c.app, id)
	if err == nil {
		n.sum(kind).found += c.fingerprint(k, v)
	}
	return err
}

// present takes the bits of a bitmap into their sum.
func (c *checker) present(k, v []byte) error {
	return c.eachPresent(k, v, func(n *census, property entity.PropertyID, seq entity.Seq) error {
		n.sum(keys.KindPresent).found += c.fingerprintOf(property, seq)
		return nil
	})
}

func (c *checker) eachPresent(k, v []byte, visit func(n *census, property entity.PropertyID, seq entity.Seq) error) error {
	_, id, property, rest, ok := keys.DecodeIndex(k)
	bitmap, valid := storage.DecodeBitmap(v)
	if !ok || len(rest) != 8 || !valid {
		c.problem(k, "damaged bitmap")
		return nil
	}
	n, err := c.of(c.app, id)
	if err != nil {
		return err
	}
	first := entity.Seq(^binary.BigEndian.Uint64(rest)) * keys.PresentBlock
	for seq := first; seq < first+keys.PresentBlock; seq++ {
		if bitmap.Has(seq) {
			if err := visit(n, property, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// described notes that a collection has settings or statistics, which are read with it.
func (c *checker) described(k []byte) error {
	if len(k) < 9+4 {
		c.problem(k, "damaged key of a collection")
		return nil
	}
	_, err := c.of(c.app, entity.CollectionID(binary.BigEndian.Uint32(k[9:])))
	return err
}

// compareIndexes checks what is counted of the indexes, and looks through those whose
// sums differ.
func (c *checker) compareIndexes(ctx context.Context) error {
	for _, at := range c.order {
		n := c.collections[at]
		c.app = at.app
		c.compareGenerations(n)
		for i, p := range n.numbered {
			if got := n.uses[i]; p.with != got.with || p.several != got.several {
				key := keys.AppendPropertyStats(nil, n.Partition, n.App, n.ID, p.id)
				c.problem(key, "counts %d entities with property %s, %d with several values; there are %d and %d", p.with, p.name, p.several, got.with, got.several)
			}
		}
		for _, kind := range []byte{keys.KindOrdered, keys.KindComposite, keys.KindWord, keys.KindGeo, keys.KindPresent} {
			if s := n.sum(kind); s.wanted != s.found {
				if err := c.lookThrough(ctx, n, kind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compareGenerations checks that the older plans are those that entities have, and
// count them.
func (c *checker) compareGenerations(n *census) {
	key := keys.AppendCollection(nil, n.Partition, n.App, n.ID)
	counted := map[uint32]bool{n.settings.Plan.Generation: true}
	for _, o := range n.older {
		counted[o.Generation] = true
		if _, ok := n.settings.PlanOf(o.Generation); !ok {
			c.problem(key, "counts entities of generation %d, which the settings do not know", o.Generation)
		}
		if got := n.generations[o.Generation]; got != o.Count || got == 0 {
			c.problem(key, "counts %d entities of generation %d; there are %d", o.Count, o.Generation, got)
		}
	}
	for _, p := range n.settings.Older {
		if !counted[p.Generation] {
			c.problem(key, "does not count the entities of generation %d", p.Generation)
		}
	}
}

// errEnough ends a walk: what it would find is not listed any more.
var errEnough = errors.New("enough problems")

// lookThrough reports which entries of an index of a collection are missing, not as
// they should be, or should not be there.
func (c *checker) lookThrough(ctx context.Context, n *census, kind byte) error {
	lower, upper := keys.EntityRange(n.Partition, n.App, n.ID)
	err := c.each(ctx, lower, upper, func(k, v []byte) error { return c.lookUp(n, kind, k, v) })
	if err == nil {
		lower, upper = keys.IndexRange(n.Partition, n.App, n.ID, kind)
		err = c.each(ctx, lower, upper, func(k, v []byte) error { return c.lookBack(n, kind, k, v) })
	}
	return err
}

// each shows the keys of a range while there is room for problems.
func (c *checker) each(ctx context.Context, lower, upper []byte, visit func(k, v []byte) error) error {
	err := scan(c.view, lower, upper, func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.report.Found >= maxProblems {
			return errEnough
		}
		return visit(k, v)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// lookUp reports entries of an entity that an index does not hold as they should be.
func (c *checker) lookUp(n *census, kind byte, k, v []byte) error {
	e, err := entity.DecodeRecord(v)
	if err != nil || c.build(n, &e) != nil {
		return nil // is reported
	}
	if kind == keys.KindPresent {
		for _, u := range c.entries.Uses() {
			key := keys.AppendPresent(nil, n.Partition, n.App, n.ID, u.Property, e.Seq)
			bitmap, err := storage.ReadPresent(c.view, n.App, n.ID, u.Property, e.Seq)
			if err != nil && !fault.Is(err, fault.Corrupt) {
				return err
			}
			if !bitmap.Has(e.Seq) {
				c.problem(key, "missing: entity %s at %x has property %d", e.ID, k, u.Property)
			}
		}
		return nil
	}
	entries := c.entries.Entries()
	for i := range entries {
		want := &entries[i]
		if want.Key[8] != kind {
			continue
		}
		got, ok, err := c.get(want.Key)
		if err != nil {
			return err
		}
		c.compare(k, &e, want, got, ok)
	}
	return nil
}

// lookBack reports an entry of an index that its entity does not have.
func (c *checker) lookBack(n *census, kind byte, k, v []byte) error {
	if kind == keys.KindPresent {
		return c.eachPresent(k, v, func(_ *census, property entity.PropertyID, seq entity.Seq) error {
			err := c.entriesOf(n, seq)
			_, has := slices.BinarySearchFunc(c.entries.Uses(), property, func(u index.Use, p entity.PropertyID) int { return cmp.Compare(u.Property, p) })
			if err == nil && !has {
				c.problem(k, "superfluous: entity number %d does not have property %d", seq, property)
			}
			return err
		})
	}
	_, _, property, rest, ok := keys.DecodeIndex(k)
	if !ok || len(rest) < 8 {
		return nil // is reported
	}
	seq := keys.Tail(k)
	if kind == keys.KindOrdered && (property == keys.PropCreated || property == keys.PropModified) {
		seq = keys.TimeTail(k)
	}
	err := c.entriesOf(n, seq)
	if err == nil && !c.entries.Has(k) {
		c.problem(k, "superfluous: entity number %d does not have this index entry", seq)
	}
	return err
}

// entriesOf makes c.entries those of the entity with a number: none if there is no
// such entity.
func (c *checker) entriesOf(n *census, seq entity.Seq) error {
	c.entries.Reset()
	c.key = keys.AppendEntity(c.key[:0], n.Partition, n.App, n.ID, seq)
	raw, ok, err := c.get(c.key)
	if err != nil || !ok {
		return err
	}
	if e, err := entity.DecodeRecord(raw); err == nil {
		_ = c.build(n, &e) // is reported
	}
	return nil
}
