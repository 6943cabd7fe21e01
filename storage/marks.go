package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Mark is how far the log DB had come for a partition.
type Mark struct {
	Partition  entity.Partition
	Generation uint64 // counts the synced writes of the partition
	Last       uint64 // last log index after that write
}

const (
	markSize  = 32
	markMagic = 0x54524d31 // "TRM1"
	markSync  = time.Second
)

// AppendMark appends a slot of the marks file.
//
//	"TRM1" · partition 4 · generation 8 · last 8 · zero 4 · CRC-32C 4
func AppendMark(dst []byte, m Mark) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, markMagic)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Partition))
	dst = binary.BigEndian.AppendUint64(dst, m.Generation)
	dst = binary.BigEndian.AppendUint64(dst, m.Last)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

// DecodeMark is the inverse of AppendMark; ok is false for anything else.
func DecodeMark(b []byte) (m Mark, ok bool) {
	if len(b) != markSize || binary.BigEndian.Uint32(b) != markMagic || binary.BigEndian.Uint32(b[24:]) != 0 ||
		binary.BigEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli()) {
		return m, false
	}
	m.Partition = entity.Partition(binary.BigEndian.Uint32(b[4:]))
	m.Generation = binary.BigEndian.Uint64(b[8:])
	m.Last = binary.BigEndian.Uint64(b[16:])
	return m, true
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// marks is the file of high-water marks. The log DB alone cannot tell a WAL
// whose last records were damaged from one that ended there; the marks lie in
// another file and can. Each partition has two slots, written in turn by plain
// writes: they survive the process at once, and a power loss within a second.
// A mark is written only after what it speaks of was synced, so it is never
// ahead of an undamaged log.
type marks struct {
	file vfs.File
	read map[entity.Partition]Mark // as found at the start
	stop chan struct{}
	done chan struct{}

	mu struct {
		sync.Mutex
		dirty bool
		err   error // of the periodic sync
	}
}

func openMarks(fs FS, path string, exists bool) (*marks, error) {
	m := &marks{read: make(map[entity.Partition]Mark), stop: make(chan struct{}), done: make(chan struct{})}
	if exists {
		if err := m.load(fs, path); err != nil {
			return nil, err
		}
	}
	var err error
	if m.file, err = fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	if err := m.file.Sync(); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	go m.syncLoop()
	return m, nil
}

// load reads all slots. One of a partition's two may be damaged: the other is
// an older mark, and weaker, but true.
func (m *marks) load(fs FS, path string) error {
	b, err := readFile(fs, path, maxPartition*2*markSize)
	if err != nil {
		return fmt.Errorf("read marks: %w", err)
	}
	zero := [markSize]byte{}
	for p := 0; p*2*markSize < len(b); p++ {
		bad := 0
		for i := range 2 {
			at := (2*p + i) * markSize
			if at >= len(b) {
				continue
			}
			slot := b[at:min(at+markSize, len(b))]
			if string(slot) == string(zero[:len(slot)]) {
				continue
			}
			mark, ok := DecodeMark(slot)
			if !ok || int(mark.Partition) != p {
				bad++
				continue
			}
			if old, ok := m.read[mark.Partition]; !ok || old.Generation < mark.Generation {
				m.read[mark.Partition] = mark
			}
		}
		if _, ok := m.read[entity.Partition(p)]; bad > 0 && !ok {
			return fault.New(fault.Corrupt, "partition %d: its high-water mark is damaged", p)
		}
	}
	return nil
}

// set notes how far a partition has come.
func (m *marks) set(mark Mark) error {
	var buf [markSize]byte
	slot := int64(mark.Partition)*2 + int64(mark.Generation%2)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.err != nil {
		return m.mu.err
	}
	m.mu.dirty = true
	_, err := m.file.WriteAt(AppendMark(buf[:0], mark), slot*markSize)
	return err
}

func (m *marks) syncLoop() {
	defer close(m.done)
	tick := time.NewTicker(markSync)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			if err := m.sync(); err != nil {
				m.mu.Lock()
				m.mu.err = err
				m.mu.Unlock()
				return
			}
		}
	}
}

func (m *marks) sync() error {
	m.mu.Lock()
	dirty := m.mu.dirty
	m.mu.dirty = false
	m.mu.Unlock()
	if !dirty {
		return nil
	}
	return m.file.Sync()
}

func (m *marks) close() error {
	close(m.stop)
	<-m.done
	return errors.Join(m.sync(), m.file.Close())
}
