package history

import (
	"os"
	"strings"
	"testing"
	"time"
)

// op makes an operation that lasts from call to answer milliseconds.
func op(client int, kind Kind, outcome Outcome, value uint64, call, answer int) Op {
	return Op{Client: client, Key: "k", Kind: kind, Outcome: outcome, Value: value,
		Call: time.Duration(call) * time.Millisecond, Return: time.Duration(answer) * time.Millisecond}
}

func TestHistoriesAreJudged(t *testing.T) {
	for _, tc := range []struct {
		name string
		ops  []Op
		want bool
	}{
		{"nothing", nil, true},
		{"absent first", []Op{op(0, Read, Done, Absent, 0, 1)}, true},
		{"read of a write", []Op{op(0, Create, Done, 7, 0, 1), op(1, Read, Done, 7, 2, 3)}, true},
		{"stale read", []Op{op(0, Update, Done, 7, 0, 1), op(0, Update, Done, 8, 2, 3), op(1, Read, Done, 7, 4, 5)}, false},
		{"read during a write", []Op{op(0, Update, Done, 7, 0, 9), op(1, Read, Done, 7, 1, 2), op(1, Read, Done, 7, 3, 4)}, true},
		{"back in time", []Op{op(0, Update, Done, 7, 0, 9), op(1, Read, Done, 7, 1, 2), op(1, Read, Done, Absent, 3, 4)}, false},
		{"lost write", []Op{op(0, Update, Done, 7, 0, 1), op(1, Read, Done, Absent, 2, 3)}, false},
		{"created twice", []Op{op(0, Create, Done, 7, 0, 5), op(1, Create, Done, 8, 0, 5)}, false},
		{"created, deleted, created", []Op{op(0, Create, Done, 7, 0, 1), op(0, Delete, Done, 7, 2, 3), op(1, Create, Done, 8, 4, 5)}, true},
		{"refused as taken", []Op{op(0, Create, Done, 7, 0, 1), op(1, Create, Refused, 8, 2, 3)}, true},
		{"refused though free", []Op{op(1, Create, Refused, 8, 2, 3)}, false},
		{"delete of what is not there", []Op{op(0, Delete, Done, 7, 0, 1)}, false},
		{"delete of another state", []Op{op(0, Update, Done, 7, 0, 1), op(0, Delete, Done, 6, 2, 3)}, false},
		{"delete of something", []Op{op(0, Update, Done, 7, 0, 1), op(0, Delete, Done, Something, 2, 3), op(0, Read, Done, Absent, 4, 5)}, true},
		{"delete of something that is not there", []Op{op(0, Delete, Done, Something, 2, 3)}, false},
		{"delete refused though there", []Op{op(0, Update, Done, 7, 0, 1), op(0, Delete, Refused, 0, 2, 3)}, false},
		{"deleted comes back", []Op{op(0, Update, Done, 7, 0, 1), op(0, Delete, Done, 7, 2, 3), op(0, Read, Done, 7, 4, 5)}, false},
		{"unknown happens late", []Op{op(0, Update, Unknown, 7, 0, 0), op(1, Read, Done, Absent, 5, 6), op(1, Read, Done, 7, 7, 8)}, true},
		{"unknown never happens", []Op{op(0, Update, Unknown, 7, 0, 0), op(1, Update, Done, 8, 5, 6), op(1, Read, Done, 8, 7, 8)}, true},
		{"unknown happens once", []Op{op(0, Update, Unknown, 7, 0, 0), op(1, Read, Done, 7, 1, 2), op(1, Update, Done, 8, 3, 4), op(1, Read, Done, 7, 5, 6)}, false},
		{"unknown create loses", []Op{op(0, Create, Done, 7, 0, 1), op(1, Create, Unknown, 8, 2, 0), op(0, Read, Done, 8, 5, 6)}, false},
		{"unknown create wins after a delete", []Op{op(0, Create, Done, 7, 0, 1), op(1, Create, Unknown, 8, 2, 0), op(0, Delete, Done, 7, 3, 4), op(0, Read, Done, 8, 5, 6)}, true},
		{"unknown delete", []Op{op(0, Create, Done, 7, 0, 1), op(1, Delete, Unknown, 0, 2, 0), op(0, Read, Done, Absent, 5, 6)}, true},
		{"read before the call of an unknown write", []Op{op(1, Read, Done, 7, 1, 2), op(0, Update, Unknown, 7, 3, 0)}, false},
	} {
		h := &History{Ops: tc.ops}
		v, err := h.Check(time.Minute, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if legal := len(v.Illegal) == 0; legal != tc.want || len(v.GaveUp) > 0 {
			t.Errorf("%s: linearizable %t, want %t (gave up on %v)", tc.name, legal, tc.want, v.GaveUp)
		}
	}
}

func TestIllegalHistoryIsDrawn(t *testing.T) {
	h := &History{Ops: []Op{op(0, Create, Done, 1<<clientShift|2, 0, 1), op(1, Read, Done, Absent, 2, 3)}}
	h.Ops[0].Key, h.Ops[1].Key = "app0/key-1", "app0/key-1"
	v, err := h.Check(time.Minute, t.TempDir())
	if err != nil || len(v.Files) != 1 || len(v.Illegal) != 1 || v.Illegal[0] != "app0/key-1" {
		t.Fatalf("%+v, %v", v, err)
	}
	picture, err := os.ReadFile(v.Files[0])
	if err != nil || !strings.Contains(string(picture), "create 1.2") {
		t.Errorf("the picture does not show the operation, %v", err)
	}
}

func TestUndecidedKeysAreNamed(t *testing.T) {
	h := &History{}
	for i := range 60 { // unknown writes that overlap all, and a read that none explains
		h.Ops = append(h.Ops, op(i, Update, Unknown, uint64(i+1), 0, 0))
	}
	h.Ops = append(h.Ops, op(99, Read, Done, 1000, 1, 2))
	v, err := h.Check(time.Millisecond, t.TempDir())
	if err != nil || len(v.GaveUp) != 1 || len(v.Illegal) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestStaleReadsKeepWhatTheySay(t *testing.T) {
	writes := []Op{op(0, Create, Done, 7, 100, 110), op(0, Update, Done, 8, 200, 210), op(1, Update, Unknown, 9, 220, 0)}
	for _, tc := range []struct {
		name  string
		value uint64
		call  int
		age   int // -1 is not said
		want  bool
	}{
		{"current", 8, 300, 0, true},
		{"older than it says", 7, 300, 50, false},
		{"as old as it says", 7, 300, 95, true},
		{"does not say", 7, 300, -1, true},
		{"of an unknown write", 9, 300, 0, true},
		{"never written", 55, 300, -1, false},
		{"not yet written", 8, 150, -1, false},
		{"absent since before", Absent, 300, 10, false},
		{"absent, old enough", Absent, 300, 200, true},
	} {
		r := StaleRead{Op: op(2, Read, Done, tc.value, tc.call, tc.call+1), Aged: tc.age >= 0, Age: time.Duration(tc.age) * time.Millisecond}
		h := &History{Ops: writes, Stale: []StaleRead{r}}
		if wrong := h.CheckStale(); (len(wrong) == 0) != tc.want {
			t.Errorf("%s: %q", tc.name, wrong)
		}
	}
}

func TestGapIsTheLongestTimeWithoutAnAcknowledgedWrite(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	h := &History{Acks: []Ack{{At: ms(10)}, {At: ms(20)}, {At: ms(25), App: 1}, {At: ms(60)}, {At: ms(70)}}}
	for _, tc := range []struct{ app, from, to, want int }{
		{0, 0, 100, 40},
		{0, 12, 65, 40},
		{0, 30, 58, 28},
		{0, 65, 200, 130},
		{1, 0, 100, 75},
		{2, 0, 100, 100},
	} {
		if got := h.Gap(tc.app, ms(tc.from), ms(tc.to)); got != ms(tc.want) {
			t.Errorf("application %d from %d to %d: %s, want %d ms", tc.app, tc.from, tc.to, got, tc.want)
		}
	}
}
