package collections_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// limitedRest is a server with its configuration changed.
func limitedRest(t *testing.T, opts apitest.Options) *rest {
	t.Helper()
	s, err := apitest.OpenWith(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rest{T: t, Server: s}
}

// until waits for a fact.
func (r *rest) until(what string, is func() bool) {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("timed out waiting until %s", what)
		}
	}
}

// dial sends the head of a request below the sandbox on a connection of its own.
func (r *rest) dial(head string) net.Conn {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
	if err == nil {
		_, err = io.WriteString(conn, head)
	}
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() }) // it may be closed
	return conn
}

// TestFullDiskRefusesUploads: without room on the disk an upload is refused before any of
// it has arrived, and one that has arrived meanwhile at once; both say so, and nothing is
// left. What is there can be read, and when there is room uploads go on.
func TestFullDiskRefusesUploads(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(1 << 40)
	r := limitedRest(t, apitest.Options{Node: func(c *node.Config) {
		c.Storage.FS = storagetest.Room(storagetest.NewDisk(), &free)
		c.SpaceInterval = time.Millisecond
	}})
	t.Cleanup(func() { // what was counted is written at the end
		free.Store(1 << 40)
		r.until("the disk has room", func() bool { return !r.Node.DiskFull() })
	})
	r.ok("POST", "/items", `{"name":"a"}`)
	r.bytes("PUT", "/items/a", jpeg(600<<10), "Content-Type", "image/jpeg")
	before := r.sound(1)

	// One that has begun to arrive is held up in the middle.
	const size = 2 << 20
	late := r.dial(fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", r.App, size))
	if _, err := late.Write(jpeg(size)[:size/2]); err != nil {
		t.Fatal(err)
	}
	r.until("half of it has arrived", func() bool { return r.Assets.Spool().Used() == size/2 })
	free.Store(1 << 20)
	r.until("the disk is full", r.Node.DiskFull)

	announced := r.dial(fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s", r.App, 1<<30, jpeg(16<<10)))
	if _, err := late.Write(jpeg(size)[size/2:]); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"announced": announced, "arrived": late} {
		begun := time.Now()
		if err := conn.SetReadDeadline(begun.Add(10 * time.Second)); err != nil { // patience is 15
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: no answer: %v", name, err)
		}
		text, _ := io.ReadAll(res.Body) // what is cut short does not match
		_ = res.Body.Close()
		if res.StatusCode != 503 || !strings.Contains(string(text), `"error":"disk_full"`) || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", name, res.StatusCode, res.Header, text)
		}
	}
	r.wantBytes(r.get("/items/a", "image/jpeg"), jpeg(600<<10), "image/jpeg")
	r.fails("PUT", "/items/a", `{"b":1}`, 503, "disk_full")
	r.until("the spool is empty", func() bool { return r.Assets.Spool().Used() == 0 })
	if r.sound(1) != before {
		t.Error("tasks are left")
	}
	free.Store(1 << 40)
	r.until("the disk has room", func() bool { return !r.Node.DiskFull() })
	if a := r.bytes("PUT", "/items/a", jpeg(700<<10), "Content-Type", "image/jpeg"); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	r.wantBytes(r.get("/items/a", "image/jpeg"), jpeg(700<<10), "image/jpeg")
}

// sip reads a byte now and then for a while, and then all that has been sent meanwhile. It
// returns how much that is.
func sip(conn net.Conn, patience time.Duration) int64 {
	taken := int64(0)
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(15 * time.Millisecond) {
		n, _ := conn.Read(make([]byte, 1)) // the rest tells
		taken += int64(n)
	}
	rest, _ := io.Copy(io.Discard, conn) // likewise
	return taken + rest
}

// TestSlowClientsAreCut: who takes or sends a byte now and then is cut when the server's
// time is over, and meanwhile holds little memory, however large the file is; a client
// that is slower than the time for a whole reply, but steady, gets all of its file. It
// runs beside no other test: what those hold is not to be counted.
func TestSlowClientsAreCut(t *testing.T) {
	const limit, clients, size = 300 * time.Millisecond, 10, 16 << 20
	r := limitedRest(t, apitest.Options{FileBytes: size, API: func(c *api.Config) { c.WriteTimeout, c.BodyTimeout = limit, limit }})
	r.ok("POST", "/items", `{"name":"a"}`)
	data := jpeg(size)
	if a := r.bytes("PUT", "/items/a", data, "Content-Type", "image/jpeg"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ask := fmt.Sprintf("GET %s/items/a HTTP/1.1\r\nHost: x\r\nAccept: image/jpeg\r\n\r\n", r.App)
	send := fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s", r.App, size, jpeg(16<<10))
	cut := make(chan bool, 2*clients)
	served := r.Assets.Stats().Served
	for range clients {
		reader, writer := r.dial(ask), r.dial(send)
		go func() {
			got := sip(reader, 4*limit)
			for patience := 8 * limit; got >= size && patience < time.Minute; patience *= 2 { // it was sent later than all that was waited
				if again, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://")); err == nil {
					_, _ = io.WriteString(again, ask) // what comes tells
					got = sip(again, patience)
					_ = again.Close()
				}
			}
			cut <- got < size
		}()
		go func() {
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				_, _ = io.ReadAll(writer) // an answer, or the end
			}()
			for begun := time.Now(); time.Since(begun) < time.Minute; {
				select {
				case <-answered:
					cut <- true
					return
				case <-time.After(limit / 20):
					_, _ = writer.Write([]byte{0xff}) // it may be cut
				}
			}
			cut <- false
		}()
	}
	r.until("all are served", func() bool { return r.Assets.Stats().Served == served+clients })
	runtime.GC()
	runtime.ReadMemStats(&now)
	if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > clients*size/8 {
		t.Errorf("%d slow readers and as many writers hold %d bytes", clients, grown)
	}
	for range 2 * clients {
		if !<-cut {
			t.Error("a slow client was not cut")
		}
	}
	r.until("the spool is empty", func() bool { return r.Assets.Spool().Used() == 0 })

	begun := time.Now()
	res, err := http.ReadResponse(bufio.NewReader(r.dial(ask)), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, buf := 0, make([]byte, 256<<10)
	for err == nil {
		var n int
		n, err = io.ReadFull(res.Body, buf)
		if string(buf[:n]) != string(data[got:got+n]) {
			t.Fatalf("other bytes from %d on", got)
		}
		got += n
		time.Sleep(6 * limit * time.Duration(n) / size)
	}
	if got != size || time.Since(begun) < 2*limit {
		t.Errorf("%d bytes in %v: %v", got, time.Since(begun), err)
	}
	r.sound(1)
}
