// Package objectstest runs an S3-compatible object store on loopback, for tests. It
// keeps objects in memory and answers nobody whose signature is not right.
package objectstest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/trellisdb/trellis/storage/objects"
)

// Credentials that the server takes, and the region that requests are signed for.
const (
	AccessKey = "trellis-test"
	SecretKey = "not-much-of-a-secret"
	Region    = "eu-test-1"
)

// Server is an object store. It is safe for concurrent use.
type Server struct {
	URL      string
	backend  *s3mem.Backend
	down     atomic.Bool
	requests atomic.Int64
	refused  atomic.Int64
}

// Start runs a server with one empty bucket until the test ends.
func Start(tb testing.TB, bucket string) *Server {
	tb.Helper()
	s := &Server{backend: s3mem.New()}
	if err := s.backend.CreateBucket(bucket); err != nil {
		tb.Fatal(err)
	}
	store := gofakes3.New(s.backend, gofakes3.WithoutVersioning()).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		switch {
		case s.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case !signed(r):
			s.refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<Error><Code>SignatureDoesNotMatch</Code></Error>`)
		case unchunk(r) != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			store.ServeHTTP(w, r)
		}
	}))
	tb.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Config returns how to reach a bucket of the server.
func (s *Server) Config(bucket string) objects.Config {
	return objects.Config{Endpoint: s.URL, Region: Region, Bucket: bucket, AccessKey: AccessKey, SecretKey: SecretKey, PathStyle: true}
}

// SetDown makes the server answer everything with 503, or ends that.
func (s *Server) SetDown(down bool) { s.down.Store(down) }

// Requests returns how many requests came, and how many of them were refused for
// their signature.
func (s *Server) Requests() (all, refused int64) { return s.requests.Load(), s.refused.Load() }

// Keys returns the names of the objects in a bucket, in order.
func (s *Server) Keys(tb testing.TB, bucket string) []string {
	tb.Helper()
	list, err := s.backend.ListBucket(bucket, nil, gofakes3.ListBucketPage{MaxKeys: 1000})
	if err != nil {
		tb.Fatal(err)
	}
	var keys []string
	for _, c := range list.Contents {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	return keys
}

// Object returns what is stored under a key; nil if nothing is.
func (s *Server) Object(tb testing.TB, bucket, key string) []byte {
	tb.Helper()
	o, err := s.backend.GetObject(bucket, key, nil)
	if gofakes3.HasErrorCode(err, gofakes3.ErrNoSuchKey) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	body, err := io.ReadAll(o.Contents)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// PutObject stores bytes under a key.
func (s *Server) PutObject(tb testing.TB, bucket, key string, body []byte) {
	tb.Helper()
	modified := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)} // as what clients send has
	if _, err := s.backend.PutObject(bucket, key, modified, bytes.NewReader(body), int64(len(body)), nil); err != nil {
		tb.Fatal(err)
	}
}

// signed reports whether a request is signed with the server's key, version 4, in its
// Authorization header (AWS General Reference, "Signature Version 4"), and whether its
// body is what was signed, unless that is signed piece by piece.
func signed(r *http.Request) bool {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if scheme != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[0] != AccessKey || scope[2] != Region || scope[3] != "s3" || scope[4] != "aws4_request" {
		return false
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") || !slices.Contains(names, "x-amz-content-sha256") {
		return false
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if !strings.HasPrefix(payload, "STREAMING-") && payload != "UNSIGNED-PAYLOAD" {
		body, err := io.ReadAll(r.Body)
		if err != nil || hexHash(body) != payload {
			return false
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	date := r.Header.Get("X-Amz-Date")
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + strings.Join(scope[1:], "/") + "\n" + hexHash([]byte(canonical(r, names, payload)))
	key := []byte("AWS4" + SecretKey)
	for _, part := range scope[1:] {
		key = mac(key, part)
	}
	want := hex.EncodeToString(mac(key, toSign))
	return strings.HasPrefix(date, scope[1]) && subtle.ConstantTimeCompare([]byte(want), []byte(fields["Signature"])) == 1
}

// canonical is the request as its signature covers it.
func canonical(r *http.Request, names []string, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20") + "\n")
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
		}
		b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + payload)
	return b.String()
}

// unchunk makes the body what it says, if it came in signed pieces: hexadecimal
// length, signature, bytes. The signatures of the pieces are not checked.
func unchunk(r *http.Request) error {
	if r.ContentLength >= 0 {
		r.Header.Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return nil
	}
	var whole []byte
	for in := bufio.NewReader(r.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		length, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseUint(length, 16, 31)
		if err != nil || n == 0 {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(whole)), int64(len(whole))
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			r.Header.Set("Content-Length", strconv.Itoa(len(whole)))
			return err
		}
		piece := make([]byte, n+2) // and the end of the line
		if _, err := io.ReadFull(in, piece); err != nil {
			return err
		}
		whole = append(whole, piece[:n]...)
	}
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}
