package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// StreamHeader begins a snapshot stream.
type StreamHeader struct {
	Partition entity.Partition
	Applied   uint64   // log index up to which the content has come
	Sizes     []uint64 // of the tables that follow, in order of their keys
}

const (
	streamMagic    = "TRLSNAP1"
	streamHead     = 8 + 4 + 8 + 4
	maxTables      = 1 << 18
	maxTableBytes  = 1 << 32
	spoolTableSize = 64 << 20
)

// AppendStreamHeader appends the header.
//
//	"TRLSNAP1" · partition 4 · applied 8 · tables 4 · size 8 of each · CRC-32C 4
//
// The tables follow, then the SHA-256 of everything before it.
func AppendStreamHeader(dst []byte, h *StreamHeader) []byte {
	start := len(dst)
	dst = append(dst, streamMagic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Partition))
	dst = binary.BigEndian.AppendUint64(dst, h.Applied)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.Sizes)))
	for _, size := range h.Sizes {
		dst = binary.BigEndian.AppendUint64(dst, size)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

// ReadStreamHeader reads what AppendStreamHeader wrote and nothing beyond it.
// Anything else is fault.Corrupt.
func ReadStreamHeader(r io.Reader) (StreamHeader, error) {
	var h StreamHeader
	bad := func(what string) error { return fault.New(fault.Corrupt, "snapshot stream: %s", what) }
	b := make([]byte, streamHead)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, fmt.Errorf("snapshot stream: read header: %w", err)
	}
	if string(b[:8]) != streamMagic {
		return h, bad("not one, or of another version")
	}
	h.Partition = entity.Partition(binary.BigEndian.Uint32(b[8:]))
	h.Applied = binary.BigEndian.Uint64(b[12:])
	tables := binary.BigEndian.Uint32(b[20:])
	if tables > maxTables {
		return StreamHeader{}, bad("too many tables")
	}
	for range tables { // the list grows with what has really arrived
		var size [8]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return StreamHeader{}, fmt.Errorf("snapshot stream: read header: %w", err)
		}
		b = append(b, size[:]...)
		n := binary.BigEndian.Uint64(size[:])
		if n == 0 || n > maxTableBytes {
			return StreamHeader{}, bad("table of impossible size")
		}
		h.Sizes = append(h.Sizes, n)
	}
	var sum [4]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return StreamHeader{}, fmt.Errorf("snapshot stream: read header: %w", err)
	}
	if binary.BigEndian.Uint32(sum[:]) != crc32.Checksum(b, castagnoli()) {
		return StreamHeader{}, bad("checksum of the header does not match")
	}
	return h, nil
}

// VerifyStream reads a whole snapshot stream, hands every table to each with
// its size, and returns the header if all checksums match and nothing follows.
// What each was given is to be trusted only then.
func VerifyStream(ctx context.Context, r io.Reader, each func(i int, size int64, table io.Reader) error) (StreamHeader, error) {
	sum := sha256.New()
	tee := &contextReader{ctx: ctx, r: io.TeeReader(r, sum)}
	h, err := ReadStreamHeader(tee)
	if err != nil {
		return h, err
	}
	for i, size := range h.Sizes {
		table := &io.LimitedReader{R: tee, N: int64(size)}
		if err := each(i, int64(size), table); err != nil {
			return h, fmt.Errorf("snapshot stream: table %d: %w", i, err)
		}
		if table.N != 0 {
			return h, fault.New(fault.Corrupt, "snapshot stream: table %d: ends %d bytes early", i, table.N)
		}
	}
	want := sum.Sum(nil)
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(r, got)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("snapshot stream: read checksum: %w", err)
	}
	if !bytes.Equal(got[:n], want) {
		return h, fault.New(fault.Corrupt, "snapshot stream: checksum does not match")
	}
	return h, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Spool is a partition written to scratch files, ready to be streamed. Its
// caller removes it.
type Spool struct {
	fs     FS
	dir    string
	head   []byte
	tables []string
	sum    []byte
	size   int64

	// Applied is the log index the content has come to.
	Applied uint64
}

// Spool writes the partition, as it stands now, into tables in dir, which it
// creates. Writers are not held up. A node spools one partition at a time; the
// others wait.
func (s *State) Spool(ctx context.Context, p entity.Partition, dir string) (_ *Spool, err error) {
	s.spools.Lock()
	defer s.spools.Unlock()
	fs := s.store.fs
	if err := fs.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("partition %d: spool: %w", p, err)
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("partition %d: spool: %w", p, err)
	}
	sp := &Spool{fs: fs, dir: dir}
	defer func() {
		if err != nil {
			err = fmt.Errorf("partition %d: spool: %w", p, errors.Join(err, sp.Remove()))
		}
	}()
	v := s.View(p)
	defer func() { err = errors.Join(err, v.Close()) }()
	if sp.Applied, err = v.Applied(); err != nil {
		return nil, err
	}
	it, err := v.Scan(nil, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	h := StreamHeader{Partition: p, Applied: sp.Applied}
	for ok := it.First(); ok; {
		name := fs.PathJoin(dir, fmt.Sprintf("%06d.sst", len(sp.tables)))
		var size int64
		if size, ok, err = s.writeTable(ctx, name, it); err != nil {
			return nil, err
		}
		sp.tables = append(sp.tables, name)
		h.Sizes = append(h.Sizes, uint64(size))
		sp.size += size
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	sp.head = AppendStreamHeader(nil, &h)
	sp.size += int64(len(sp.head)) + sha256.Size
	sp.sum, err = sp.checksum(ctx)
	return sp, err
}

// writeTable fills one table from where the iterator stands.
func (s *State) writeTable(ctx context.Context, name string, it *Iterator) (size int64, more bool, err error) {
	f, err := s.store.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, false, err
	}
	format := s.db.TableFormat()
	opts := s.opts.MakeWriterOptions(0, format)
	opts.MergerName = "nullptr" // nothing in it is to be merged: it is welcome everywhere
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), opts)
	more = true
	for n := 0; more; n++ {
		if n%1024 == 0 && (ctx.Err() != nil || w.Raw().EstimatedSize() >= spoolTableSize) {
			break
		}
		if err := w.Set(it.Key(), it.Value()); err != nil {
			return 0, false, errors.Join(err, w.Close())
		}
		more = it.Next()
	}
	if err := errors.Join(ctx.Err(), it.Err(), w.Close()); err != nil {
		return 0, false, err
	}
	info, err := s.store.fs.Stat(name)
	if err != nil {
		return 0, false, err
	}
	return info.Size(), more, nil
}

func (sp *Spool) checksum(ctx context.Context) ([]byte, error) {
	sum := sha256.New()
	sum.Write(sp.head)
	for _, name := range sp.tables {
		if err := sp.hashFile(ctx, sum, name); err != nil {
			return nil, err
		}
	}
	return sum.Sum(nil), nil
}

func (sp *Spool) hashFile(ctx context.Context, sum hash.Hash, name string) error {
	f, err := sp.fs.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(sum, &contextReader{ctx: ctx, r: f})
	return errors.Join(err, f.Close())
}

// Size returns the exact length of the stream.
func (sp *Spool) Size() int64 { return sp.size }

// Open returns the stream. The caller closes it; it can be opened again.
func (sp *Spool) Open() (io.ReadCloser, error) {
	s := &spoolStream{}
	readers := []io.Reader{bytes.NewReader(sp.head)}
	for _, name := range sp.tables {
		f, err := sp.fs.Open(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.Close())
		}
		s.files = append(s.files, f)
		readers = append(readers, f)
	}
	s.Reader = io.MultiReader(append(readers, bytes.NewReader(sp.sum))...)
	return s, nil
}

type spoolStream struct {
	io.Reader
	files []vfs.File
}

func (s *spoolStream) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// Remove deletes the scratch files.
func (sp *Spool) Remove() error { return sp.fs.RemoveAll(sp.dir) }
