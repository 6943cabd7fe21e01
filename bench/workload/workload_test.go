package workload

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/fake"
)

// serve runs a fake in this process.
func serve(t *testing.T, fault fake.Fault) client.Target {
	t.Helper()
	s, err := fake.Open("", fault)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client.Target{Addr: l.Addr().String(), Org: "o", App: "a", Token: "t"}
}

func prepare(t *testing.T, target client.Target, entities int) *Set {
	t.Helper()
	s, err := Prepare(t.Context(), target, Config{Seed: 1, Entities: entities, PageSize: 30, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrepareStoresOnceAndFindsAgain(t *testing.T) {
	target := serve(t, fake.None)
	first := prepare(t, target, 1234)
	second := prepare(t, target, 1234)
	for n := range first.ids {
		if string(first.ids[n]) != string(second.ids[n]) {
			t.Fatalf("entity %d is %s and %s", n, first.ids[n], second.ids[n])
		}
	}
	prepare(t, target, 1500) // more of the same seed: those there are kept
	c := client.NewConn(target.Addr, time.Second)
	defer c.Close()
	counts, err := target.Counts(c)
	if err != nil || counts[readCollection] != 1500 {
		t.Errorf("%d entities, %v; want 1500", counts[readCollection], err)
	}
}

func TestEveryWorkloadSucceeds(t *testing.T) {
	s := prepare(t, serve(t, fake.None), 100)
	for _, kind := range append(Kinds(), ClusterKinds()...) {
		w, err := s.Worker(kind, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if o := w.Do(); o.Class() != "" {
				t.Fatalf("%s, operation %d: %s %v", kind, i, o.Class(), o.Err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWorkersCreateUnderDifferentNames(t *testing.T) {
	target := serve(t, fake.None)
	s := prepare(t, target, 10)
	for i := range 4 {
		w, err := s.Worker(Create, i)
		if err != nil {
			t.Fatal(err)
		}
		for range 25 {
			if o := w.Do(); o.Class() != "" {
				t.Fatalf("%s %v", o.Class(), o.Err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	c := client.NewConn(target.Addr, time.Second)
	defer c.Close()
	if counts, err := target.Counts(c); err != nil || counts[createCollection] != 100 {
		t.Errorf("%d created, %v; want 100", counts[createCollection], err)
	}
}

func TestListWalksAllPagesAndBeginsAgain(t *testing.T) {
	s := prepare(t, serve(t, fake.None), 100)
	made, err := s.Worker(List, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := made.(*worker)
	var cursors []string
	for range 8 {
		if o := w.Do(); o.Class() != "" {
			t.Fatalf("%s %v", o.Class(), o.Err)
		}
		cursors = append(cursors, string(w.cursor))
	}
	if cursors[3] != "" || cursors[0] == "" || cursors[4] != cursors[0] {
		t.Errorf("cursors %q, want four pages and then the first again", cursors)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestWrongAnswerIsNoSuccess(t *testing.T) {
	s := prepare(t, serve(t, fake.Wrong), 100)
	w, err := s.Worker(GetID, 0)
	if err != nil {
		t.Fatal(err)
	}
	classes := make(map[string]int)
	for range 100 {
		classes[w.Do().Class()]++
	}
	if classes["wrong answer"] != 2 {
		t.Errorf("%v, want two wrong answers", classes)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestWorkerAsksTheNodeItIsGiven(t *testing.T) {
	here, there := serve(t, fake.None), serve(t, fake.None)
	s := prepare(t, here, 10)
	w, err := s.WorkerAt(there.Addr, Create, 0)
	if err != nil {
		t.Fatal(err)
	}
	if o := w.Do(); o.Class() != "" {
		t.Fatalf("%s %v", o.Class(), o.Err)
	}
	for addr, want := range map[string]int{here.Addr: 0, there.Addr: 1} {
		c := client.NewConn(addr, time.Second)
		if counts, err := here.At(addr).Counts(c); err != nil || counts[createCollection] != want {
			t.Errorf("%d created, %v; want %d", counts[createCollection], err, want)
		}
		c.Close()
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestStaleReadMustSayThatItIsOne(t *testing.T) {
	s := prepare(t, serve(t, fake.Strict), 10)
	w, err := s.Worker(GetIDStale, 0)
	if err != nil {
		t.Fatal(err)
	}
	if o := w.Do(); o.Class() != "wrong answer" {
		t.Errorf("class %q, %v", o.Class(), o.Err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnknownEntityIsCountedByStatus(t *testing.T) {
	s := prepare(t, serve(t, fake.None), 10)
	s.ids[0] = []byte(strings.Repeat("0", idBytes))
	made, err := s.Worker(GetID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if o := made.(*worker).getID(0); o.Class() != "404" {
		t.Errorf("class %q", o.Class())
	}
	if err := made.Close(); err != nil {
		t.Error(err)
	}
}

func TestStoredChecksWhatIsMissing(t *testing.T) {
	const two = `{"entities":[{"uuid":"1"},{"uuid":"2"}]`
	for answer, good := range map[string]bool{
		two + `}`: false,
		two + `,"errors":[{"index":2,"error":"duplicate_unique_property_exists"}]}`: true,
		two + `,"errors":[{"index":2,"error":"illegal_argument"}]}`:                 false,
		`{"entities":[{"uuid":"1"},{"uuid":"2"},{"uuid":"3"}]}`:                     true,
	} {
		if err := checkStored(200, []byte(answer), 3); (err == nil) != good {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if checkStored(503, []byte(two), 2) == nil {
		t.Error("a 503 stored something")
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range append(Kinds(), ClusterKinds()...) {
		if got, err := ParseKind(string(k)); got != k || err != nil {
			t.Errorf("%s: %s, %v", k, got, err)
		}
	}
	if _, err := ParseKind("delete"); err == nil {
		t.Error("an unknown workload was accepted")
	}
}
