package providertest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// maxBody bounds what a service reads of a request.
const maxBody = 1 << 20

// maxKept bounds the requests that a service remembers.
const maxKept = 10_000

// Answer is what a service answers for a device. The zero value is success.
type Answer struct {
	Status int    // 0: 200, or what the service says for success
	Reason string // the service's name of what is wrong: reason of APNs, errorCode of FCM, error of GCM, X-WNS-Status
	Body   string // instead of the body that the service makes of Status and Reason
	Header http.Header

	Timestamp int64  // APNs: since when the token is dead, in ms
	Canonical string // GCM: the token to use from now on

	Delay  time.Duration // before the answer
	Hang   bool          // no answer at all, until the client leaves
	GoAway bool          // this answer is the last one on its connection
	Cut    bool          // the connection ends without an answer
	Echo   bool          // the message repeats all headers and the token of the request

	Times int // how often it is given; 0: once; less: for ever
}

// Request is one that a service has got.
type Request struct {
	Device     string // by name
	Path       string
	Proto      string
	Header     http.Header
	Body       []byte // of web push: what was encrypted
	Connection string // tells connections apart
	At         time.Time
}

// service is what all of them have.
type service struct {
	t      testing.TB
	server *httptest.Server
	quit   chan struct{}
	mu     struct {
		sync.Mutex
		scripts     map[string][]Answer
		counts      map[string]int
		total       int
		requests    []Request
		complaints  []string
		arrived     map[string]chan struct{}
		connections int
	}
}

// start starts a service; the test ends it.
func (s *service) start(t testing.TB, h http.Handler, configure func(*httptest.Server)) {
	t.Helper()
	s.t, s.quit = t, make(chan struct{})
	s.mu.scripts, s.mu.counts, s.mu.arrived = map[string][]Answer{}, map[string]int{}, map[string]chan struct{}{}
	s.server = httptest.NewUnstartedServer(h)
	s.server.EnableHTTP2 = true
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if configure != nil {
		configure(s.server)
	}
	s.server.Config.ConnState = func(_ net.Conn, to http.ConnState) {
		if to == http.StateNew {
			s.mu.Lock()
			s.mu.connections++
			s.mu.Unlock()
		}
	}
	s.server.StartTLS()
	t.Cleanup(func() {
		close(s.quit)
		s.server.CloseClientConnections()
		s.server.Close()
		for _, complaint := range s.TakeComplaints() {
			t.Errorf("a push service complains: %s", complaint)
		}
	})
}

// URL is where the service listens: https, loopback, a port.
func (s *service) URL() string { return s.server.URL }

// Die ends the service as if its machine had: all connections break, and nobody listens
// any more.
func (s *service) Die() {
	_ = s.server.Listener.Close() // whatever comes of it, the test ends the server
	s.server.CloseClientConnections()
}

// On scripts the answers for a device, one after the other; after the last one it is
// success again.
func (s *service) On(device string, answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.scripts[device] = append(s.mu.scripts[device], slices.Clone(answers)...)
}

// Always scripts one answer for a device, from now on.
func (s *service) Always(device string, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Times = -1
	s.mu.scripts[device] = []Answer{a}
}

// Count is how many requests there were for a device, whatever was answered.
func (s *service) Count(device string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.counts[device]
}

// Counts are those of all devices.
func (s *service) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.counts)
}

// Total is how many requests there were for devices.
func (s *service) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.total
}

// Requests are the first 10,000, in the order in which they came.
func (s *service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.requests)
}

// Last is the last of those for a device; it fails the test if there is none.
func (s *service) Last(device string) Request {
	s.t.Helper()
	for _, r := range slices.Backward(s.Requests()) {
		if r.Device == device {
			return r
		}
	}
	s.t.Fatalf("the service has got nothing for %q", device)
	return Request{}
}

// Arrived is closed when a request for a device is there, perhaps still unanswered.
func (s *service) Arrived(device string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrival(device)
}

func (s *service) arrival(device string) chan struct{} {
	if s.mu.arrived[device] == nil {
		s.mu.arrived[device] = make(chan struct{})
	}
	return s.mu.arrived[device]
}

// Connections is how many there have been.
func (s *service) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.connections
}

// TakeComplaints returns what no right client would have sent, and forgets it.
func (s *service) TakeComplaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.mu.complaints
	s.mu.complaints = nil
	return taken
}

func (s *service) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.complaints) < 100 {
		s.mu.complaints = append(s.mu.complaints, fmt.Sprintf(format, args...))
	}
}

// RootCAs vouch for the service, and for all others of this package.
func (s *service) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.server.Certificate())
	return pool
}

// CAFile is the same in PEM, for a process of its own.
func (s *service) CAFile() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// got notes a request for a device and takes the answer from the script.
func (s *service) got(r *http.Request, device string, body []byte) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.counts[device]++
	s.mu.total++
	if len(s.mu.requests) < maxKept {
		s.mu.requests = append(s.mu.requests, Request{
			Device: device, Path: r.URL.Path, Proto: r.Proto, Header: r.Header.Clone(), Body: body, Connection: r.RemoteAddr, At: time.Now(),
		})
	}
	arrival := s.arrival(device)
	select {
	case <-arrival:
	default:
		close(arrival)
	}
	script := s.mu.scripts[device]
	if len(script) == 0 {
		return Answer{}
	}
	a := script[0]
	if a.Times >= 0 {
		if script[0].Times--; script[0].Times <= 0 {
			s.mu.scripts[device] = script[1:]
		}
	}
	return a
}

// hold does what an answer wants before it is given; false: it is not given.
func (s *service) hold(w http.ResponseWriter, r *http.Request, a Answer) bool {
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return false
		case <-s.quit:
			return false
		}
	}
	if a.Hang {
		select {
		case <-r.Context().Done():
		case <-s.quit:
		}
		return false
	}
	if a.Cut {
		panic(http.ErrAbortHandler)
	}
	if a.GoAway {
		w.Header().Set("Connection", "close") // with HTTP/2 it becomes a GOAWAY
	}
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	return true
}

// body reads a request's.
func (s *service) body(r *http.Request) []byte {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil // the client has left
	}
	return body
}

// echo is what a request said of itself, for services that repeat it.
func echo(r *http.Request, device string) string {
	text := device
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			text += " " + name + ": " + value
		}
	}
	return text
}
