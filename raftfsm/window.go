package raftfsm

import (
	"math"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	// windowEpochs is how many parts the window is divided into.
	windowEpochs = 16
	// maxRequests bounds the request ids of a window, and so its memory: while
	// there are more, the oldest epoch goes before its time.
	maxRequests = 1 << 18
)

// window is the dedup window: which requests were seen in the last entries, by
// epoch of their index. The ids in memory are exactly those in the state DB
// with the writes of the current batch, so what is evicted when depends on
// nothing but the log.
type window struct {
	partition entity.Partition
	epochLen  uint64 // entries an epoch has
	keep      uint64 // whole epochs kept before the current one
	most      int    // request ids

	epoch  uint64 // of the entry being applied
	seen   map[command.RequestID]uint64
	epochs []epochRequests // oldest first
	// evicted epochs, [from, to), that the batch must delete.
	evictFrom, evictTo uint64

	pending []pendingRecord // of this batch
	arena   []byte          // their bytes
	key     []byte
}

type epochRequests struct {
	epoch    uint64
	requests []command.RequestID
}

type pendingRecord struct {
	epoch      uint64
	request    command.RequestID
	start, end int // in the arena
}

// load makes w the window that the view holds.
func (w *window) load(view *storage.View, entries uint64) error {
	epochLen := (entries + windowEpochs - 1) / windowEpochs
	*w = window{
		partition: view.Partition(),
		epochLen:  epochLen,
		keep:      (entries + epochLen - 1) / epochLen,
		most:      maxRequests,
		seen:      make(map[command.RequestID]uint64),
	}
	it, err := view.Scan(keys.DedupRange(w.partition, 0, math.MaxUint64))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		epoch, request, ok := keys.DecodeDedup(it.Key())
		if !ok {
			continue
		}
		w.note(epoch, request)
	}
	if err := it.Err(); err != nil {
		_ = it.Close()
		return err
	}
	return it.Close()
}

func (w *window) note(epoch uint64, request command.RequestID) {
	if n := len(w.epochs); n == 0 || w.epochs[n-1].epoch != epoch {
		w.epochs = append(w.epochs, epochRequests{epoch: epoch})
	}
	last := &w.epochs[len(w.epochs)-1]
	last.requests = append(last.requests, request)
	w.seen[request] = epoch
}

// advance moves the window to an entry and forgets what falls out of it.
func (w *window) advance(index uint64) {
	w.epoch = index / w.epochLen
	for len(w.epochs) > 0 {
		oldest := &w.epochs[0]
		expired := oldest.epoch+w.keep < w.epoch
		crowded := len(w.seen) > w.most && oldest.epoch < w.epoch
		if !expired && !crowded {
			return
		}
		for _, request := range oldest.requests {
			delete(w.seen, request)
		}
		if w.evictFrom == w.evictTo {
			w.evictFrom = oldest.epoch
		}
		w.evictTo = oldest.epoch + 1
		w.epochs = append(w.epochs[:0], w.epochs[1:]...)
	}
}

func (w *window) holds(request command.RequestID) bool {
	_, ok := w.seen[request]
	return ok
}

func (w *window) remember(request command.RequestID, rec *command.Record) {
	start := len(w.arena)
	w.arena = command.AppendRecord(w.arena, rec)
	w.pending = append(w.pending, pendingRecord{epoch: w.epoch, request: request, start: start, end: len(w.arena)})
	w.note(w.epoch, request)
}

// record returns what was remembered of a request that the window holds; false
// if it is not there after all. It is a copy.
func (w *window) record(b *storage.Batch, request command.RequestID) ([]byte, bool, error) {
	for i := range w.pending {
		if p := &w.pending[i]; p.request == request {
			return append([]byte(nil), w.arena[p.start:p.end]...), true, nil
		}
	}
	w.key = keys.AppendDedup(w.key[:0], w.partition, w.seen[request], request)
	return b.Get(nil, w.key)
}

// flush puts what the batch's entries changed into it. A record that has left
// the window within the batch is not written: the batch deletes ranges before
// it sets keys.
func (w *window) flush(b *storage.Batch) {
	if w.evictFrom < w.evictTo {
		b.DeleteRange(keys.DedupRange(w.partition, w.evictFrom, w.evictTo))
	}
	for i := range w.pending {
		p := &w.pending[i]
		if p.epoch >= w.evictTo || w.evictFrom == w.evictTo {
			w.key = keys.AppendDedup(w.key[:0], w.partition, p.epoch, p.request)
			b.Set(w.key, w.arena[p.start:p.end])
		}
	}
	w.evictFrom, w.evictTo = 0, 0
	w.pending = w.pending[:0]
	w.arena = w.arena[:0]
	if cap(w.arena) > maxArena {
		w.arena = nil
	}
}

// maxArena is how much memory is kept from batch to batch.
const maxArena = 1 << 20
