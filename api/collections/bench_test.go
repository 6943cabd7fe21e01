package collections_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
)

func open(tb testing.TB, dir string) *apitest.Server {
	tb.Helper()
	s, err := apitest.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkRead measures reads by id, by name, and of a page, over a socket:
// the time is that of client and server together.
func BenchmarkRead(b *testing.B) {
	s := apitest.Start(b)
	var id string
	for i := range 1000 {
		a, err := s.Do("POST", s.App+"/items", s.Admin, fmt.Sprintf(`{"name":"n%d","price":3.25,"stock":17,"text":"%s"}`, i, strings.Repeat("x", 180)))
		if err != nil || a.Status != 200 {
			b.Fatal(err, a.Body)
		}
		id = fmt.Sprint(a.Entity()["uuid"])
	}
	for name, path := range map[string]string{"id": "/items/" + id, "name": "/items/n500", "page10": "/items", "page100": "/items?limit=100"} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }() // nothing is lost with it
			r := bufio.NewReader(conn)
			target := s.App + path
			request := []byte("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.Admin + "\r\n\r\n")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if err := skipResponse(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func skipResponse(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(line), "HTTP/1.1 200") {
		return fmt.Errorf("status %q", line)
	}
	size := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := strings.Cut(string(line), ":"); textproto.CanonicalMIMEHeaderKey(name) == "Content-Length" {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(size))
	return err
}

// BenchmarkRights is what a request costs whose caller has 100 roles of 50 permissions
// each, of which the last grants: to find out what he may do, and to ask.
func BenchmarkRights(b *testing.B) {
	for _, roles := range []int{1, 100} {
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			s := apitest.Start(b)
			do := func(method, path, body string) {
				b.Helper()
				if a, err := s.Do(method, s.App+path, s.Admin, body); err != nil || a.Status != 200 {
					b.Fatalf("%s %s: %v %s", method, path, err, a.Body)
				}
			}
			do("DELETE", "/roles/default", "")
			do("POST", "/users", `{"username":"ana","password":"sunny-day-1"}`)
			for i := range roles {
				var list []string
				for j := range 50 {
					list = append(list, fmt.Sprintf(`"get,put:/things%d-%d/*"`, i, j))
				}
				do("POST", "/users/ana/roles", fmt.Sprintf(`{"name":"r%d"}`, i))
				do("POST", fmt.Sprintf("/roles/r%d/permissions", i), `{"permission":[`+strings.Join(list, ",")+`]}`)
			}
			do("POST", fmt.Sprintf("/roles/r%d/permissions", roles-1), `{"permission":"get:/items/*"}`)
			ctx := b.Context()
			dir, err := directory.Open(ctx, directory.DefaultConfig(), s.Node)
			if err != nil {
				b.Fatal(err)
			}
			app, err := dir.Application(ctx, "acme", "sandbox")
			if err != nil {
				b.Fatal(err)
			}
			a, err := s.Do("POST", s.App+"/token", "", `{"grant_type":"password","username":"ana","password":"sunny-day-1"}`)
			if err != nil {
				b.Fatal(err)
			}
			token := fmt.Sprint(a.Fields["access_token"])
			p, err := dir.Authenticate(ctx, directory.Credentials{AccessToken: token})
			if err != nil {
				b.Fatal(err)
			}
			path := []string{"items", "hammer"}
			b.ReportAllocs()
			for b.Loop() {
				access, err := dir.Access(ctx, p, &app.Application.Application, app.Number)
				if err != nil || !access.May(auth.Get, path) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCounters measures increments of one hot counter at 64 connections, against
// updates of plain entities in the same run: events that are created, events that are
// counted again, updates of one entity, and updates of an entity a connection.
func BenchmarkCounters(b *testing.B) {
	s := apitest.Start(b)
	const connections = 64
	const event = "b11217fc-9d3a-11e7-b24e-699740088e05"
	put := func(path, body string) {
		if a, err := s.Do("PUT", s.App+path, s.Admin, body); err != nil || a.Status != 200 {
			b.Fatal(err, a.Body)
		}
	}
	put("/events/"+event, `{"timestamp":1500000000000}`)
	for i := range connections {
		put(fmt.Sprintf("/items/n%d", i), `{"price":3.25,"stock":17}`)
	}
	for _, kind := range []struct {
		name string
		ask  func(connection, n int) (method, path, body string)
	}{
		{"post-event", func(int, int) (string, string, string) {
			return "POST", "/events", `{"timestamp":1500000000000,"counters":{"ad_clicks":1}}`
		}},
		{"put-event", func(int, int) (string, string, string) {
			return "PUT", "/events/" + event, `{"timestamp":1500000000000,"counters":{"ad_clicks":1}}`
		}},
		{"update-one", func(_, n int) (string, string, string) {
			return "PUT", "/items/n0", fmt.Sprintf(`{"stock":%d}`, n)
		}},
		{"update-each", func(c, n int) (string, string, string) {
			return "PUT", fmt.Sprintf("/items/n%d", c), fmt.Sprintf(`{"stock":%d}`, n)
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism((connections + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				c := int(next.Add(1)-1) % connections
				conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
				if err != nil {
					b.Error(err)
					return
				}
				defer func() { _ = conn.Close() }() // nothing is lost with it
				r := bufio.NewReader(conn)
				for n := 0; pb.Next(); n++ {
					method, path, body := kind.ask(c, n)
					if _, err := fmt.Fprintf(conn, "%s %s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
						method, s.App, path, s.Admin, len(body), body); err != nil {
						b.Error(err)
						return
					}
					if err := skipResponse(r); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
