package storage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// What entry n of a partition does to its state is a function of n, so that a
// state can be checked knowing nothing but how far it says it has come: entry n
// sets key n%40, and every seventh deletes key (n+11)%40.

const stateKeys = 40

func stateKey(p entity.Partition, n uint64) []byte {
	k := binary.BigEndian.AppendUint32(nil, uint32(p))
	return append(k, fmt.Sprintf("key-%02d", n%stateKeys)...)
}

func stateValue(p entity.Partition, n uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "value %d of %d;", n, p), 6)
}

func applyEntry(b *storage.Batch, n uint64) {
	b.Set(stateKey(b.Partition(), n), stateValue(b.Partition(), n))
	if n%7 == 0 {
		b.Delete(stateKey(b.Partition(), n+11))
	}
}

// stateAt is the state after entry applied, by the simplest way.
func stateAt(p entity.Partition, applied uint64) map[string]string {
	m := make(map[string]string)
	for n := uint64(1); n <= applied; n++ {
		m[string(stateKey(p, n))] = string(stateValue(p, n))
		if n%7 == 0 {
			delete(m, string(stateKey(p, n+11)))
		}
	}
	return m
}

func entryData(p entity.Partition, n, version uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "entry %d of %d, version %d.", n, p, version), 4)
}

// partModel is what is known to be acknowledged of one partition.
type partModel struct {
	replica uint32 // 0: none, and then there is nothing else
	log     map[uint64]string
	stable  map[string]string
	marker  uint64
	applied uint64 // committed, not necessarily on disk
	durable uint64 // state that a flush or a marker made durable
}

func (m partModel) clone() partModel {
	m.log, m.stable = maps.Clone(m.log), maps.Clone(m.stable)
	return m
}

// nothing is a partition never seen, and one that was dropped.
func nothing() partModel {
	return partModel{log: map[uint64]string{}, stable: map[string]string{}}
}

func (m partModel) last() uint64 {
	var last uint64
	for n := range m.log {
		last = max(last, n)
	}
	return last
}

// script drives a store and keeps the model of what it was promised. before and
// after are the promises around the operation under way: one of them holds.
type script struct {
	store         *storage.Store
	rng           *rand.Rand
	streams       map[entity.Partition][]byte // snapshots at index streamAt
	before, after map[entity.Partition]partModel
	version       uint64
	received      int
	replicas      uint32 // numbers given
}

const streamAt = 150

var partitions = []entity.Partition{0, 1, 5}

func newScript(rng *rand.Rand, streams map[entity.Partition][]byte) *script {
	s := &script{rng: rng, streams: streams, before: make(map[entity.Partition]partModel)}
	for _, p := range partitions {
		s.before[p] = nothing()
	}
	s.after = cloneModels(s.before)
	return s
}

func cloneModels(m map[entity.Partition]partModel) map[entity.Partition]partModel {
	c := make(map[entity.Partition]partModel, len(m))
	for p, part := range m {
		c[p] = part.clone()
	}
	return c
}

// operation is a step of a script: what it does, and what holds afterwards.
type operation struct {
	model partModel
	do    func() error
}

// plan chooses the next operation.
func (s *script) plan() (entity.Partition, operation) {
	p := partitions[s.rng.IntN(len(partitions))]
	next := s.before[p].clone()
	do := s.choose(p, &next)
	return p, operation{next, do}
}

// begin notes what will hold after the operation that is about to start.
func (s *script) begin(p entity.Partition, model partModel) {
	s.after = cloneModels(s.before)
	s.after[p] = model
}

// step runs one operation. Only then its promise is taken for given.
func (s *script) step() error {
	p, next := s.plan()
	s.begin(p, next.model)
	if err := next.do(); err != nil {
		return err
	}
	s.before = s.after
	return nil
}

func (s *script) choose(p entity.Partition, m *partModel) func() error {
	log, state := s.store.Log(), s.store.State()
	last := max(m.last(), m.marker)
	if m.replica == 0 {
		s.replicas++
		number := s.replicas
		m.replica = number
		return func() error { return s.store.Adopt(p, number) }
	}
	if s.rng.IntN(24) == 0 {
		*m = nothing()
		return func() error { return s.store.Drop(context.Background(), p) }
	}
	switch n := s.rng.IntN(20); {
	case n < 7: // append
		s.version++
		var entries []storage.LogEntry
		for i := range uint64(1 + s.rng.IntN(5)) {
			e := storage.LogEntry{Index: last + 1 + i, Data: entryData(p, last+1+i, s.version)}
			m.log[e.Index] = string(e.Data)
			entries = append(entries, e)
		}
		return func() error { return log.Append(p, entries) }
	case n < 12: // apply
		from := m.applied + 1
		m.applied = min(last, m.applied+uint64(1+s.rng.IntN(6)))
		to := m.applied
		return func() error { return apply(state, p, from, to) }
	case n < 14: // truncate a tail that is not applied
		if m.last() <= m.applied {
			return func() error { return nil }
		}
		from := m.applied + 1 + uint64(s.rng.Int64N(int64(m.last()-m.applied)))
		for i := from; i <= last; i++ {
			delete(m.log, i)
		}
		return func() error { return log.DeleteSuffix(p, from) }
	case n < 16: // vote
		s.version++
		term, name := fmt.Sprint(s.version), fmt.Sprintf("node %d", s.version)
		m.stable["term"], m.stable["name"] = term, name
		return func() error {
			return log.SetStable(p, storage.KV{Key: []byte("term"), Value: []byte(term)}, storage.KV{Key: []byte("name"), Value: []byte(name)})
		}
	case n < 18: // marker, and truncation behind it
		index := m.applied
		if index == 0 {
			return func() error { return nil }
		}
		m.marker, m.durable = index, index
		through := uint64(s.rng.Int64N(int64(index) + 1))
		for i := range m.log {
			if i <= through {
				delete(m.log, i)
			}
		}
		return func() error { return errors.Join(setMarker(log, p, index, ""), log.DeletePrefix(p, through)) }
	case n < 19:
		m.durable = m.applied // of the others too, which need not be known
		return state.Flush
	default:
		return s.install(p, m)
	}
}

// install is what happens when a snapshot is received.
func (s *script) install(p entity.Partition, m *partModel) func() error {
	if m.applied >= streamAt || m.last() >= streamAt || s.streams == nil {
		return func() error { return nil }
	}
	s.received++
	name := fmt.Sprintf("received-%d-%d", p, s.received)
	stream := s.streams[p]
	m.marker, m.durable, m.applied = streamAt, streamAt, streamAt
	return func() error {
		in, err := s.store.Receive(p, name)
		if err != nil {
			return err
		}
		if _, err := in.Write(stream); err != nil {
			return errors.Join(err, in.Abort())
		}
		if err := in.Commit(context.Background()); err != nil {
			return err
		}
		if err := setMarker(s.store.Log(), p, streamAt, name); err != nil {
			return err
		}
		r, _, err := s.store.OpenReceived(name)
		if err != nil {
			return err
		}
		err = s.store.State().Restore(context.Background(), p, r)
		return errors.Join(err, r.Close())
	}
}

func apply(state *storage.State, p entity.Partition, from, to uint64) error {
	b := state.NewBatch(p)
	for n := from; n <= to; n++ {
		applyEntry(b, n)
	}
	b.SetApplied(to)
	return errors.Join(b.Commit(), b.Close())
}

func setMarker(log *storage.Log, p entity.Partition, index uint64, spool string) error {
	_, err := log.SetMarker(p, storage.Marker{Index: index, Term: 1, Configuration: []byte("conf"), Spool: spool}, nil)
	return err
}

// makeStreams writes the snapshots that scripts receive.
func makeStreams(t testing.TB) map[entity.Partition][]byte {
	t.Helper()
	store := storagetest.Open(t, storagetest.NewDisk())
	streams := make(map[entity.Partition][]byte)
	for _, p := range partitions {
		if err := apply(store.State(), p, 1, streamAt); err != nil {
			t.Fatal(err)
		}
		streams[p] = spoolOf(t, store, p)
	}
	return streams
}

func spoolOf(t testing.TB, store *storage.Store, p entity.Partition) []byte {
	t.Helper()
	sp, err := store.State().Spool(context.Background(), p, store.FS().PathJoin(store.SpoolDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := sp.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close(), sp.Remove()); err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != sp.Size() {
		t.Fatalf("spool says it has %d bytes, its stream has %d", sp.Size(), len(b))
	}
	return b
}

// found is what a store holds of a partition.
type found struct {
	replica uint32
	log     map[uint64]string
	stable  map[string]string
	marker  uint64
	applied uint64
	state   map[string]string
}

func readPart(store *storage.Store, p entity.Partition) (f found, err error) {
	f = found{log: map[uint64]string{}, stable: map[string]string{}, state: map[string]string{}}
	err = store.Log().Scan(p, 0, ^uint64(0), func(n uint64, data []byte) error {
		f.log[n] = string(data)
		return nil
	})
	if err != nil {
		return f, err
	}
	for _, key := range []string{"term", "name"} {
		v, ok, err := store.Log().GetStable(p, []byte(key))
		if err != nil {
			return f, err
		}
		if ok {
			f.stable[key] = string(v)
		}
	}
	m, _, err := store.Log().Marker(p)
	if err != nil {
		return f, err
	}
	f.marker = m.Index
	if f.replica, err = store.Replica(p); err != nil {
		return f, err
	}
	v := store.State().View(p)
	defer func() { err = errors.Join(err, v.Close()) }()
	if f.applied, err = v.Applied(); err != nil {
		return f, err
	}
	it, err := v.Scan(nil, nil)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.Contains(it.Key(), []byte("key-")) {
			f.state[string(it.Key())] = string(it.Value())
		}
	}
	return f, it.Err()
}

// check says what is wrong with what was found, given what was promised.
func (m partModel) check(p entity.Partition, f found) error {
	if f.replica != m.replica {
		return fmt.Errorf("partition %d: replica %d, was %d", p, f.replica, m.replica)
	}
	for n, data := range m.log {
		if f.log[n] != data {
			return fmt.Errorf("partition %d: log entry %d is %.40q, was %.40q", p, n, f.log[n], data)
		}
	}
	for n := range f.log { // a truncation behind the marker may come undone
		if _, ok := m.log[n]; !ok && n > m.marker {
			return fmt.Errorf("partition %d: log entry %d is back", p, n)
		}
	}
	if !maps.Equal(m.stable, f.stable) {
		return fmt.Errorf("partition %d: stable values %v, were %v", p, f.stable, m.stable)
	}
	if f.marker != m.marker {
		return fmt.Errorf("partition %d: marker at %d, was at %d", p, f.marker, m.marker)
	}
	if f.applied > m.applied || f.applied < m.durable {
		return fmt.Errorf("partition %d: state at %d, was at %d and durable to %d", p, f.applied, m.applied, m.durable)
	}
	if want := stateAt(p, f.applied); !maps.Equal(want, f.state) {
		return fmt.Errorf("partition %d: state at %d is not what its entries make: %d keys, want %d", p, f.applied, len(f.state), len(want))
	}
	for n := f.applied + 1; n <= m.applied; n++ {
		if _, ok := f.log[n]; !ok {
			return fmt.Errorf("partition %d: state at %d, and log entry %d is missing", p, f.applied, n)
		}
	}
	return nil
}

// verify checks a whole store against the promises around the last operation.
func verify(store *storage.Store, before, after map[entity.Partition]partModel) error {
	for _, p := range partitions {
		f, err := readPart(store, p)
		if err != nil {
			return err
		}
		if err := before[p].check(p, f); err != nil {
			if later := after[p].check(p, f); later != nil {
				return errors.Join(err, later)
			}
		}
	}
	return nil
}
