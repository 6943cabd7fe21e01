package objects_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/objects/objectstest"
)

const bucket = "the-bucket"

func open(t *testing.T, cfg objects.Config) *objects.Bucket {
	t.Helper()
	b, err := objects.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func someBytes(n int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = rng.Read(b) // never fails
	return b
}

func read(t *testing.T, b *objects.Bucket, key string, offset, length int64) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestObjectsAreReadAsWritten(t *testing.T) {
	s := objectstest.Start(t, bucket)
	b := open(t, s.Config(bucket))
	long := someBytes(20 << 20) // several parts
	for key, body := range map[string][]byte{"a/empty": {}, "a/short": []byte("hello"), "b/long": long, "b/ü and +&= $@": []byte("odd")} {
		if err := b.Put(t.Context(), key, bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
		if got := read(t, b, key, 0, -1); !bytes.Equal(got, body) {
			t.Errorf("%s: read %d bytes that are not the %d written", key, len(got), len(body))
		}
		if info, err := b.Stat(t.Context(), key); err != nil || info.Size != int64(len(body)) {
			t.Errorf("stat %s: %+v, %v", key, info, err)
		}
	}
	for _, r := range []struct{ offset, length int64 }{{0, 1}, {5, 100}, {19 << 20, -1}, {7, 0}} {
		end := r.offset + r.length
		if r.length < 0 {
			end = int64(len(long))
		}
		if got := read(t, b, "b/long", r.offset, r.length); !bytes.Equal(got, long[r.offset:end]) {
			t.Errorf("%d bytes from %d on: not what was written", r.length, r.offset)
		}
	}
	if err := b.Put(t.Context(), "c/unknown size", strings.NewReader("streamed"), -1); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, "c/unknown size", 0, -1); string(got) != "streamed" {
		t.Errorf("got %q", got)
	}
	if _, refused := s.Requests(); refused > 0 {
		t.Errorf("%d requests had a wrong signature", refused)
	}
}

func TestListGoesOnAfterAKey(t *testing.T) {
	s := objectstest.Start(t, bucket)
	b := open(t, s.Config(bucket))
	var want []string
	for i := range 7 {
		key := fmt.Sprintf("in/%d", i)
		want = append(want, key)
		s.PutObject(t, bucket, key, []byte("x"))
	}
	s.PutObject(t, bucket, "out", []byte("x"))
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := b.List(t.Context(), "in/", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page {
			got = append(got, o.Key)
		}
		if len(page) < 3 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestObjectsOfOthersAreRead: what a test puts into the store by itself is read like
// what the client has put there.
func TestObjectsOfOthersAreRead(t *testing.T) {
	s := objectstest.Start(t, bucket)
	b := open(t, s.Config(bucket))
	s.PutObject(t, bucket, "seeded", []byte("seeded by hand"))
	if got := read(t, b, "seeded", 7, -1); string(got) != "by hand" {
		t.Errorf("got %q", got)
	}
	if info, err := b.Stat(t.Context(), "seeded"); err != nil || info.Size != 14 || info.Modified.IsZero() {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestUploadInParts(t *testing.T) {
	s := objectstest.Start(t, bucket)
	first, second := someBytes(objects.MinPart), []byte("the end")
	upload, err := open(t, s.Config(bucket)).Begin(t.Context(), "whole")
	if err != nil {
		t.Fatal(err)
	}
	var parts []objects.Part
	for i, body := range [][]byte{first, second} {
		another := open(t, s.Config(bucket)) // as after a change of leader
		if s.Object(t, bucket, "whole") != nil {
			t.Fatal("seen before it is whole")
		}
		p, err := another.PutPart(t.Context(), "whole", upload, i+1, bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	b := open(t, s.Config(bucket))
	if err := b.Finish(t.Context(), "whole", upload, parts); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, "whole", 0, -1); !bytes.Equal(got, append(first, second...)) {
		t.Error("the parts do not make the whole")
	}
	gone, err := b.Begin(t.Context(), "never")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Abandon(t.Context(), "never", gone); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PutPart(t.Context(), "never", gone, 1, strings.NewReader("x"), 1); !fault.Is(err, fault.EntityNotFound) {
		t.Errorf("part of an abandoned upload: %v", err)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	s := objectstest.Start(t, bucket)
	b := open(t, s.Config(bucket))
	stranger := s.Config(bucket)
	stranger.SecretKey = "a guess"
	away := s.Config(bucket)
	elsewhere := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	away.Endpoint = elsewhere.URL
	missing := func(b *objects.Bucket) error {
		_, err := b.Get(t.Context(), "missing", 0, -1)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want fault.Code
	}{
		"missing":         {missing(b), fault.EntityNotFound},
		"other bucket":    {missing(open(t, s.Config("no-such-bucket"))), fault.EntityNotFound},
		"wrong secret":    {missing(open(t, stranger)), fault.Unauthorized},
		"redirected":      {missing(open(t, away)), fault.NoQuorum},
		"path out of it":  {b.Put(t.Context(), "a/../../b", strings.NewReader(""), 0), fault.IllegalArgument},
		"no name":         {b.Delete(t.Context(), ""), fault.IllegalArgument},
		"negative offset": {func() error { _, err := b.Get(t.Context(), "x", -5, 3); return err }(), fault.IllegalArgument},
	} {
		if !fault.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %s", name, c.err, c.want)
		}
		if c.err != nil && strings.Contains(c.err.Error(), objectstest.SecretKey) {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
	if err := b.Delete(t.Context(), "missing"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, "x", strings.NewReader(""), 0); err == nil || fault.Is(err, fault.NoQuorum) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAStoreThatIsDown(t *testing.T) {
	s := objectstest.Start(t, bucket)
	b := open(t, s.Config(bucket))
	s.SetDown(true)
	if _, err := b.Stat(t.Context(), "x"); !fault.Is(err, fault.NoQuorum) {
		t.Errorf("got %v", err)
	}
	s.SetDown(false)
	if _, err := b.Stat(t.Context(), "x"); !fault.Is(err, fault.EntityNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	good := objects.Config{Endpoint: "https://s3.example.test", Bucket: "abc", AccessKey: "a", SecretKey: "s"}
	for name, change := range map[string]func(*objects.Config){
		"no scheme":      func(c *objects.Config) { c.Endpoint = "s3.example.test" },
		"other scheme":   func(c *objects.Config) { c.Endpoint = "file:///etc" },
		"path":           func(c *objects.Config) { c.Endpoint += "/x" },
		"user":           func(c *objects.Config) { c.Endpoint = "https://a:b@s3.example.test" },
		"no key":         func(c *objects.Config) { c.SecretKey = "" },
		"short bucket":   func(c *objects.Config) { c.Bucket = "ab" },
		"path in bucket": func(c *objects.Config) { c.Bucket = "ab/../cd" },
	} {
		cfg := good
		change(&cfg)
		if _, err := objects.Open(cfg); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := objects.Open(good); err != nil {
		t.Error(err)
	}
}
