package assets

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWantsData(t *testing.T) {
	for _, tc := range []struct {
		accept string
		want   bool
	}{
		{"", false},
		{"*/*", false},
		{"*", false},
		{"application/*", false},
		{"application/json", false},
		{"application/hal+json; charset=utf-8", false},
		{"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", false},
		{"application/javascript", false},
		{"image/jpeg", true},
		{"IMAGE/JPEG", true},
		{"image/*", true},
		{"application/octet-stream", true},
		{"text/plain", true},
		{"application/json;q=0.5, image/png", true},
		{"image/png;q=0.5, application/json", false},
		{"image/png;q=0, */*;q=0.1", false},
		{"image/png;q=0", false},
		{"image/png;q=nonsense", true},
		{";;;", false},
	} {
		t.Run(tc.accept, func(t *testing.T) {
			if got := WantsData(tc.accept); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	const size = 10
	for _, tc := range []struct {
		header string
		want   Range
		whole  bool
		ok     bool
	}{
		{"", Range{0, 10}, true, true},
		{"bytes=0-0", Range{0, 1}, false, true},
		{"bytes=2-5", Range{2, 4}, false, true},
		{"Bytes = 2 - 5", Range{2, 4}, false, true},
		{"bytes=2-", Range{2, 8}, false, true},
		{"bytes=2-100", Range{2, 8}, false, true},
		{"bytes=2-99999999999999999999999", Range{2, 8}, false, true},
		{"bytes=-3", Range{7, 3}, false, true},
		{"bytes=-30", Range{0, 10}, false, true},
		{"bytes=-0", Range{10, 0}, false, false},
		{"bytes=10-", Range{}, false, false},
		{"bytes=99999999999999999999999-", Range{}, false, false},
		{"bytes=5-2", Range{0, 10}, true, true},
		{"bytes=-", Range{0, 10}, true, true},
		{"bytes=1-2,4-5", Range{0, 10}, true, true},
		{"bytes=+1-2", Range{0, 10}, true, true},
		{"lines=1-2", Range{0, 10}, true, true},
	} {
		t.Run(tc.header, func(t *testing.T) {
			if got, whole, ok := ParseRange(tc.header, size); got != tc.want || whole != tc.whole || ok != tc.ok {
				t.Errorf("%v %v %v", got, whole, ok)
			}
		})
	}
}

// FuzzRequests: what clients say in headers never leads outside of the data, and nothing
// panics.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "image/jpeg;q=0.5, */*", `"x", W/"y"`, "Thu, 26 Nov 2026 16:28:05 GMT", "text/html; charset"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size &= 1<<40 - 1
		r, whole, ok := ParseRange(header, size)
		if ok && (r.Offset < 0 || r.Size < 0 || r.Offset+r.Size > size || !whole && r.Size == 0) || whole && r != (Range{0, size}) {
			t.Errorf("%q of %d: %v %v %v", header, size, r, whole, ok)
		}
		WantsData(header)
		Unchanged(header, header, `"x"`, time.Now())
		StillSame(header, `"x"`, time.Now())
		if kind := TypeOf([]byte(header), header, header); bareType(kind) != kind {
			t.Errorf("%q is of type %q", header, kind)
		}
	})
}

// FuzzForm: whatever bytes come as a form, reading ends with a form within the bounds or
// with an error that is the client's, and the file is what its part has.
func FuzzForm(f *testing.F) {
	whole := "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nclouds\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nThis is text\r\n--x--\r\n"
	f.Add([]byte(whole), "x")
	f.Add([]byte(strings.ReplaceAll(whole, "\r\n", "\n")), "x")
	f.Add([]byte(whole[:len(whole)-9]), "x")
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n\r\n--x--"), "x")
	f.Add([]byte("--x--"), "x")
	f.Add([]byte("--x\r\n"+strings.Repeat("A: b\r\n", 5000)+"\r\n\r\n--x--"), "x")
	f.Add([]byte(""), "")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		var file []byte
		form, err := ReadForm(bytes.NewReader(body), boundary, func(content io.Reader) (err error) {
			if file, err = io.ReadAll(content); err != nil {
				return arriving{err}
			}
			return nil
		})
		if err != nil {
			switch fault.CodeOf(err) {
			case fault.BadRequest, fault.IllegalArgument, fault.EntityTooLarge:
			default:
				t.Errorf("%v", err)
			}
			return
		}
		total := 0
		for _, p := range form.Properties {
			total += len(p.Name) + len(p.Value)
		}
		if total > MaxFormProperties || len(form.Properties) > maxParts || len(file) > len(body) || file != nil && !form.HasFile {
			t.Errorf("%d bytes of properties, %d of file, of %d", total, len(file), len(body))
		}
	})
}

// TestFormIsBounded: heads of parts, properties and parts too many are refused, long before
// they are in memory.
func TestFormIsBounded(t *testing.T) {
	part := func(name, content string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + content + "\r\n"
	}
	for name, tc := range map[string]struct {
		body string
		want fault.Code
	}{
		"head":       {"--x\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n\r\n--x--", fault.BadRequest},
		"preamble":   {strings.Repeat("a\r\n", 1<<20) + part("a", "b") + "--x--", fault.BadRequest},
		"name":       {part(strings.Repeat("a", 2000), "b") + "--x--", fault.IllegalArgument},
		"property":   {part("a", strings.Repeat("a", 1<<20)) + "--x--", fault.EntityTooLarge},
		"properties": {strings.Repeat(part("a", strings.Repeat("a", 1<<18)), 5) + "--x--", fault.EntityTooLarge},
		"parts":      {strings.Repeat(part("a", ""), 1001) + "--x--", fault.IllegalArgument},
		"UTF-8":      {part("a", "\xff") + "--x--", fault.IllegalArgument},
		"no end":     {part("a", "b"), fault.BadRequest},
		"in bounds":  {strings.Repeat(part("a", strings.Repeat("a", 900)), 1000) + "--x--\r\nepilogue", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadForm(strings.NewReader(tc.body), "x", func(io.Reader) error { return nil })
			if fault.CodeOf(err) != tc.want {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
	_, err := ReadForm(strings.NewReader(part("file", "abc")+"--x--"), "x", func(io.Reader) error { return errors.New("disk") })
	if fault.CodeOf(err) != fault.Uncaught {
		t.Errorf("a failing disk is the client's mistake: %v", err)
	}
}

func TestTypeOf(t *testing.T) {
	for _, tc := range []struct{ head, declared, filename, want string }{
		{"\xff\xd8\xff\xe0\x00\x10JFIF", "multipart/form-data", "a.txt", "image/jpeg"},
		{"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "", "", "image/png"},
		{"%PDF-1.4", "", "", "application/pdf"},
		{"hello", "image/png", "", "text/plain"},
		{"\x00\x01\x02\x03", "application/x-thing; v=1", "", "application/x-thing"},
		{"\x00\x01\x02\x03", "multipart/form-data; boundary=x", "a.png", "image/png"},
		{"\x00\x01\x02\x03", "nonsense", "a.unknown", "application/octet-stream"},
		{"\x00\x01\x02\x03", "a/b\r\nX: y", "", "application/octet-stream"},
		{"", "image/png", "", "image/png"},
	} {
		if got := TypeOf([]byte(tc.head), tc.declared, tc.filename); got != tc.want {
			t.Errorf("%q as %q, %q: %s, want %s", tc.head, tc.declared, tc.filename, got, tc.want)
		}
	}
}

// TestSpoolIsBounded: files take no more than they may alone and together, and give all of
// it back, whatever becomes of them.
func TestSpoolIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/left", []byte("over"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSpool(SpoolConfig{Dir: dir, FileBytes: MinFileBytes, AllBytes: 2 * MinFileBytes})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	take := func(size int) (*File, error) { return s.Take(ctx, io.LimitReader(zeros{}, int64(size))) }
	var files []*File
	for range 2 {
		f, err := take(MinFileBytes)
		if err != nil || f.TooLarge || f.Size != MinFileBytes {
			t.Fatalf("%+v %v", f, err)
		}
		files = append(files, f)
	}
	if _, err := take(1); fault.CodeOf(err) != fault.Overloaded {
		t.Errorf("a full spool takes more: %v", err)
	}
	if err := files[0].Close(); err != nil {
		t.Fatal(err)
	}
	f, err := take(MinFileBytes + 12345)
	if err != nil || !f.TooLarge || f.Size != MinFileBytes+12345 || s.Used() != MinFileBytes {
		t.Errorf("%+v %v, %d used", f, err, s.Used())
	}
	for _, f := range []*File{f, files[0], files[1], files[1]} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	broken := errors.New("broken")
	if _, err := s.Take(ctx, io.MultiReader(io.LimitReader(zeros{}, 1<<20), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := s.Take(stopped, zeros{}); fault.CodeOf(err) != fault.Stopping {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 || s.Used() != 0 {
		t.Errorf("%v %v, %d bytes used", left, err, s.Used())
	}
	for _, cfg := range []SpoolConfig{{Dir: dir, FileBytes: MinFileBytes - 1, AllBytes: 1 << 30}, {Dir: dir, FileBytes: 1 << 30, AllBytes: 1 << 29}} {
		if _, err := OpenSpool(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestFileIsWhatArrived compares size, checksum and bytes of files with their sources, read
// in pieces of any size.
func TestFileIsWhatArrived(t *testing.T) {
	s, err := OpenSpool(DefaultSpoolConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		want := make([]byte, rng.IntN(300_000))
		for i := range want {
			want[i] = byte(rng.Uint32())
		}
		f, err := s.Take(context.Background(), &pieced{bytes.NewReader(want), rng})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, f.Size)
		if _, err := f.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || f.Checksum != fmt.Sprintf("%x", md5.Sum(want)) || !bytes.Equal(f.Head, want[:min(len(want), headBytes)]) {
			t.Errorf("%d bytes are not what arrived", len(want))
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type pieced struct {
	*bytes.Reader

	rng *rand.Rand
}

func (p *pieced) Read(b []byte) (int, error) { return p.Reader.Read(b[:1+p.rng.IntN(len(b))]) }
