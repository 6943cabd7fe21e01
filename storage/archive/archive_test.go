package archive_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/archive"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

var header = archive.Header{Cluster: entity.ID{1, 2, 3}, Created: 1700000000000, Partitions: 2, Version: "1.2.3"}

// content counts what is open of it.
type content struct {
	io.Reader
	open *int
}

func (c content) Close() error { *c.open--; return nil }

func section(text string, open *int) archive.Section {
	*open++
	return archive.Section{ReadCloser: content{strings.NewReader(text), open}, Size: int64(len(text))}
}

func texts(p entity.Partition) string {
	return strings.Repeat(string(rune('a'+p)), 10+100*int(p))
}

func write(t testing.TB) []byte {
	t.Helper()
	open := 0
	w := archive.NewWriter(header, func(p entity.Partition) (archive.Section, error) {
		if open != 0 {
			t.Errorf("partition %d is opened beside another", p)
		}
		return section(texts(p), &open), nil
	})
	b, err := io.ReadAll(iotest.OneByteReader(w))
	if err = errors.Join(err, w.Close()); err != nil || open != 0 {
		t.Fatalf("%d open, %v", open, err)
	}
	return b
}

func read(r io.Reader) (map[entity.Partition]string, error) {
	a, err := archive.NewReader(r)
	if err != nil {
		return nil, err
	}
	got := map[entity.Partition]string{}
	for {
		p, section, err := a.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(section)
		if err != nil {
			return nil, err
		}
		got[p] = string(b)
	}
}

func TestReaderReadsWhatWriterWrote(t *testing.T) {
	b := write(t)
	got, err := read(iotest.HalfReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[entity.Partition]string{0: texts(0), 1: texts(1), 2: texts(2)}, got); diff != "" {
		t.Error(diff)
	}
}

// TestEveryDamageIsNoticed: each byte flipped, each length cut, a byte more.
func TestEveryDamageIsNoticed(t *testing.T) {
	b := write(t)
	for i := range b {
		b[i] ^= 0x10
		if _, err := read(bytes.NewReader(b)); err == nil {
			t.Errorf("byte %d flipped, and nobody noticed", i)
		}
		b[i] ^= 0x10
		if _, err := read(bytes.NewReader(b[:i])); !fault.Is(err, fault.Corrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := read(bytes.NewReader(append(b, 0))); err == nil {
		t.Error("a byte more, and nobody noticed")
	}
}

// TestUnfinishedArchiveIsRefused: a section that cannot be had, or ends early,
// leaves no archive, and nothing open.
func TestUnfinishedArchiveIsRefused(t *testing.T) {
	broken := errors.New("broken")
	for name, next := range map[string]func(entity.Partition, *int) (archive.Section, error){
		"missing": func(p entity.Partition, open *int) (archive.Section, error) {
			if p == 2 {
				return archive.Section{}, broken
			}
			return section("x", open), nil
		},
		"short": func(p entity.Partition, open *int) (archive.Section, error) {
			s := section("x", open)
			if p == 2 {
				s.Size = 5
			}
			return s, nil
		},
	} {
		open := 0
		w := archive.NewWriter(header, func(p entity.Partition) (archive.Section, error) { return next(p, &open) })
		b, err := io.ReadAll(w)
		if err == nil || w.Close() != nil || open != 0 {
			t.Errorf("%s: %d open, %v", name, open, err)
		}
		if _, err := read(bytes.NewReader(b)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: read as %v", name, err)
		}
	}
}

// FuzzHeader: what is accepted as a header, AppendHeader writes again.
func FuzzHeader(f *testing.F) {
	f.Add(archive.AppendHeader(nil, &header))
	f.Add(archive.AppendHeader(nil, &archive.Header{Partitions: 1}))
	f.Add([]byte("TRLBACK1\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := archive.ReadHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := archive.AppendHeader(nil, &h); !bytes.HasPrefix(b, again) {
			t.Errorf("%x was read as %+v, which is %x", b, h, again)
		}
	})
}
