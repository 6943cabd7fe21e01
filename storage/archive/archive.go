// Package archive is the container of a backup: a header, one section for each
// partition of a cluster, and a checksum of all of it.
//
// A section is what storage calls a snapshot stream; the package does not look
// into it. It neither reads a disk nor a clock: the writer is a stream that asks for
// one section after another, the reader hands them out one after another, and
// both hold a few kilobytes whatever the size of the cluster is.
//
// The application partitions come first and the system partition last, each
// once. A reader that has seen the end has seen all of them and knows that every
// byte is what was written; before the end nothing is to be trusted.
package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Header begins an archive.
type Header struct {
	Cluster    entity.ID // that was backed up
	Created    int64     // ms since the epoch: all that was acknowledged before is in the archive
	Partitions uint32    // application partitions 1…Partitions
	Version    string    // of the program that wrote it, for people
}

const (
	magic         = "TRLBACK1"
	headerSize    = 8 + 4
	fixedBody     = 16 + 8 + 4
	maxVersion    = 256
	maxPartitions = 1 << 14
	sectionSize   = 1 + 4 + 8 + 4
	sectionByte   = 'P'
	trailerByte   = 'E'
)

// AppendHeader appends the header. A version is cut at 256 bytes.
//
//	"TRLBACK1" · length of what follows but the CRC 4 · cluster 16 · created 8 ·
//	partitions 4 · version · CRC-32C of all before 4
func AppendHeader(dst []byte, h *Header) []byte {
	start := len(dst)
	version := h.Version[:min(len(h.Version), maxVersion)]
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(fixedBody+len(version)))
	dst = append(dst, h.Cluster[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Created))
	dst = binary.BigEndian.AppendUint32(dst, h.Partitions)
	dst = append(dst, version...)
	return binary.BigEndian.AppendUint32(dst, checksum(dst[start:]))
}

// ReadHeader reads what AppendHeader wrote and nothing beyond it. Anything else
// is fault.Corrupt.
func ReadHeader(r io.Reader) (Header, error) {
	b := make([]byte, headerSize, headerSize+fixedBody+maxVersion+4)
	if _, err := io.ReadFull(r, b); err != nil {
		return Header{}, short(err, "header")
	}
	if string(b[:8]) != magic {
		return Header{}, corrupt("not one, or of another version")
	}
	size := binary.BigEndian.Uint32(b[8:])
	if size < fixedBody || size > fixedBody+maxVersion {
		return Header{}, corrupt("header of impossible size")
	}
	b = b[:headerSize+int(size)+4]
	if _, err := io.ReadFull(r, b[headerSize:]); err != nil {
		return Header{}, short(err, "header")
	}
	body, sum := b[headerSize:len(b)-4], b[len(b)-4:]
	if binary.BigEndian.Uint32(sum) != checksum(b[:len(b)-4]) {
		return Header{}, corrupt("checksum of the header does not match")
	}
	h := Header{
		Created:    int64(binary.BigEndian.Uint64(body[16:])),
		Partitions: binary.BigEndian.Uint32(body[24:]),
		Version:    string(body[fixedBody:]),
	}
	copy(h.Cluster[:], body)
	if h.Partitions == 0 || h.Partitions > maxPartitions {
		return Header{}, corrupt("impossible number of partitions")
	}
	return h, nil
}

// partitionAt is which partition the i-th section, from 0, is of.
func (h *Header) partitionAt(i uint32) entity.Partition {
	if i == h.Partitions {
		return entity.System
	}
	return entity.Partition(i + 1)
}

// Section is the content of one partition.
type Section struct {
	io.ReadCloser
	Size int64 // exactly
}

// Writer is an archive being made, as a stream. It is not safe for concurrent use.
type Writer struct {
	header  Header
	next    func(entity.Partition) (Section, error)
	sum     hash.Hash
	pending []byte // to be read before anything else
	open    *Section
	left    int64
	done    uint32 // sections begun
	ended   bool
	err     error
}

// NewWriter returns an archive whose sections next opens when it is their turn.
// A section is closed before the next is opened.
func NewWriter(h Header, next func(entity.Partition) (Section, error)) *Writer {
	w := &Writer{header: h, next: next, sum: sha256.New()}
	w.pend(AppendHeader(nil, &h))
	return w
}

func (w *Writer) pend(b []byte) {
	w.sum.Write(b)
	w.pending = b
}

// Read implements io.Reader.
func (w *Writer) Read(p []byte) (int, error) {
	for w.err == nil && len(w.pending) == 0 && w.open == nil {
		w.err = w.advance()
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(w.pending) > 0:
		n := copy(p, w.pending)
		w.pending = w.pending[n:]
		return n, nil
	}
	n, err := w.open.Read(p[:min(int64(len(p)), w.left)])
	w.sum.Write(p[:n])
	w.left -= int64(n)
	switch {
	case w.left == 0:
		err = w.open.Close()
		w.open = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		w.err = fmt.Errorf("backup: partition %d: %w", w.header.partitionAt(w.done-1), err)
	}
	return n, w.err
}

// advance begins the next section, or the end.
func (w *Writer) advance() error {
	if w.ended {
		return io.EOF
	}
	if w.done > w.header.Partitions {
		w.ended = true
		end := binary.BigEndian.AppendUint32([]byte{trailerByte}, w.done)
		w.sum.Write(end)
		w.pending = w.sum.Sum(end)
		return nil
	}
	p := w.header.partitionAt(w.done)
	s, err := w.next(p)
	if err != nil {
		return fmt.Errorf("backup: partition %d: %w", p, err)
	}
	w.done++
	w.open, w.left = &s, s.Size
	if s.Size <= 0 {
		return fmt.Errorf("backup: partition %d: stream of %d bytes", p, s.Size)
	}
	w.pend(appendSection(nil, p, s.Size))
	return nil
}

// Close closes the section that is open, if one is. An archive closed before
// its end is refused by readers.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = io.ErrClosedPipe
	}
	if w.open == nil {
		return nil
	}
	err := w.open.Close()
	w.open = nil
	return err
}

// appendSection appends the head of a section.
//
//	'P' · partition 4 · size of what follows 8 · CRC-32C of these 4
func appendSection(dst []byte, p entity.Partition, size int64) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(append(dst, sectionByte), uint32(p))
	dst = binary.BigEndian.AppendUint64(dst, uint64(size))
	return binary.BigEndian.AppendUint32(dst, checksum(dst[start:]))
}

// Reader reads an archive. It is not safe for concurrent use.
type Reader struct {
	Header Header

	r    io.Reader // what is read through it is summed up
	raw  io.Reader
	sum  hash.Hash
	open *io.LimitedReader
	done uint32
}

// NewReader reads the header of an archive.
func NewReader(r io.Reader) (*Reader, error) {
	sum := sha256.New()
	a := &Reader{r: io.TeeReader(r, sum), raw: r, sum: sum}
	var err error
	a.Header, err = ReadHeader(a.r)
	return a, err
}

// Next returns the partition of the next section and its content, which is to be
// read to its end before Next is called again. After the last one the error is
// io.EOF, if the archive is whole and nothing follows. Fault: Corrupt.
func (a *Reader) Next() (entity.Partition, io.Reader, error) {
	if a.open != nil && a.open.N != 0 {
		return 0, nil, corrupt("a section was not read to its end")
	}
	if a.done > a.Header.Partitions {
		return 0, nil, a.end()
	}
	var b [sectionSize]byte
	if _, err := io.ReadFull(a.r, b[:]); err != nil {
		return 0, nil, short(err, "section")
	}
	p, size := entity.Partition(binary.BigEndian.Uint32(b[1:])), int64(binary.BigEndian.Uint64(b[5:]))
	switch {
	case b[0] != sectionByte || binary.BigEndian.Uint32(b[13:]) != checksum(b[:13]) || size <= 0:
		return 0, nil, corrupt("damaged head of section %d", a.done)
	case p != a.Header.partitionAt(a.done):
		return 0, nil, corrupt("partition %d in the place of %d", p, a.Header.partitionAt(a.done))
	}
	a.done++
	a.open = &io.LimitedReader{R: a.r, N: size}
	return p, a.open, nil
}

func (a *Reader) end() error {
	var b [5]byte
	if _, err := io.ReadFull(a.r, b[:]); err != nil {
		return short(err, "end")
	}
	if b[0] != trailerByte || binary.BigEndian.Uint32(b[1:]) != a.done {
		return corrupt("damaged end")
	}
	want := a.sum.Sum(nil)
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(a.raw, got)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("backup: read the checksum: %w", err)
	}
	if !bytes.Equal(got[:n], want) {
		return corrupt("checksum does not match, or something follows it")
	}
	return io.EOF
}

// short is the error of a read that wanted more: an archive that ends there was
// cut off.
func short(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("ends within or before its %s", what) // not an io.EOF, which would say that all is well
	}
	return fmt.Errorf("backup: read %s: %w", what, err)
}

func corrupt(format string, args ...any) error {
	return fault.New(fault.Corrupt, "backup: "+format, args...)
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
