package storage

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// pictureInterval is how long views may share one snapshot, and how long one
// that nobody uses stays open.
const pictureInterval = 250 * time.Millisecond

// picture is a Pebble snapshot that views of one partition share while nothing
// is committed to it. To close a snapshot makes Pebble look for compactions,
// which costs more than the reads of a small request.
type picture struct {
	snap    snapshot
	commits uint64 // of the partition, when it was taken
	settled bool   // no commit was under way then
	epoch   uint64
	views   int  // open, guarded by pictures.Mutex
	current bool // new views may share it, guarded by pictures.Mutex
}

// snapshot is what Pebble's two kinds of snapshot have in common.
type snapshot interface{ pebble.Reader }

// pictures are those of one partition.
type pictures struct {
	sync.Mutex
	current *picture // nil: the next view takes one
}

// open returns a picture that shows everything committed before the call.
func (s *State) openPicture(part *statePart) *picture {
	part.pictures.Lock()
	defer part.pictures.Unlock()
	// Both are read before the snapshot is taken: it shows at least as much.
	commits, epoch := part.commits.Load(), part.epoch.Load()
	settled := part.begun.Load() == commits
	cur := part.pictures.current
	if cur == nil || cur.commits != commits || cur.epoch != epoch {
		part.retire()
		cur = &picture{snap: s.db.NewSnapshot(), commits: commits, settled: settled, epoch: epoch, current: true}
		part.pictures.current = cur
	}
	cur.views++
	return cur
}

// isCommitted reports whether the picture is the committed state: no commit was
// under way when it was taken, and none has begun since.
func (part *statePart) isCommitted(pic *picture) bool {
	return pic.settled && part.begun.Load() == pic.commits
}

// retire lets no further view share the current picture, and closes it if none
// does. The lock is held.
func (part *statePart) retire() {
	cur := part.pictures.current
	if cur == nil {
		return
	}
	part.pictures.current, cur.current = nil, false
	if cur.views == 0 {
		part.closed(cur.snap.Close())
	}
}

// closed notes what closing a snapshot said. It fails only for one that was
// closed before, which the counts rule out.
func (part *statePart) closed(err error) {
	if err != nil {
		panic(err)
	}
}

// closePicture gives a view's share back.
func (part *statePart) closePicture(pic *picture) error {
	part.pictures.Lock()
	defer part.pictures.Unlock()
	pic.views--
	if pic.views > 0 || pic.current {
		return nil
	}
	return pic.snap.Close()
}

// retireAll retires the pictures of all partitions.
func (s *State) retireAll() {
	for _, part := range *s.parts.all.Load() {
		part.pictures.Lock()
		part.retire()
		part.pictures.Unlock()
	}
}

// runPictures retires pictures now and then, so that none holds up compaction
// for long, and looks after reads of bulk. It ends with stopPictures.
func (s *State) runPictures() {
	defer close(s.picturesDone)
	tick := time.NewTicker(pictureInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.stopPictures:
			s.retireAll()
			return
		case <-tick.C:
			s.retireAll()
			s.reads.look()
		}
	}
}
