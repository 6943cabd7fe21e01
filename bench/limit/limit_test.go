package limit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/load"
)

func TestLogStoreKeepsWhatRaftGivesIt(t *testing.T) {
	disk := vfs.NewCrashableMem()
	db, err := pebble.Open("log", &pebble.Options{FS: disk, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &logStore{db: db}
	if first, err := s.FirstIndex(); first != 0 || err != nil {
		t.Errorf("first index of an empty log is %d, %v", first, err)
	}
	at := time.Unix(1700000000, 5)
	var logs []*raft.Log
	for i := uint64(5); i <= 260; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, int(i)), AppendedAt: at})
	}
	if err := errors.Join(s.StoreLogs(logs), s.DeleteRange(5, 6), s.SetUint64([]byte("term"), 3), s.Set([]byte("vote"), []byte("me"))); err != nil {
		t.Fatal(err)
	}
	// A crash that keeps nothing unsynced keeps all of it.
	db, err = pebble.Open("log", &pebble.Options{FS: disk.CrashClone(vfs.CrashCloneCfg{}), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	s = &logStore{db: db}
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	if first != 7 || last != 260 || err1 != nil || err2 != nil {
		t.Errorf("log from %d to %d (%v, %v), want 7 to 260", first, last, err1, err2)
	}
	var l raft.Log
	if err := s.GetLog(9, &l); err != nil || l.Index != 9 || l.Term != 3 || l.Type != raft.LogCommand || !bytes.Equal(l.Data, logs[4].Data) || !l.AppendedAt.Equal(at) {
		t.Errorf("entry 9: %+v, %v", l, err)
	}
	if err := s.GetLog(5, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a deleted entry: %v", err)
	}
	if v, err := s.GetUint64([]byte("term")); v != 3 || err != nil {
		t.Errorf("term %d, %v", v, err)
	}
	if _, err := s.Get([]byte("none")); err == nil || err.Error() != "not found" {
		t.Errorf("an absent value: %v", err)
	}
}

func TestGroupCommitsWhatIsProposed(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(strconv.Itoa(nodes), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			g, err := OpenGroup(ctx, t.TempDir(), nodes)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			}()
			const entries, size = 200, 255
			r, err := g.Commit(ctx, load.Plan{Connections: 8, Operations: entries}, size, nil)
			if err != nil || r.Succeeded != entries {
				t.Fatalf("%+v, %v", r, err)
			}
			for i, m := range g.members {
				if n := await(ctx, t, m.state, size, entries); n != entries {
					t.Errorf("%d entries are in the state of node %d, want %d", n, i, entries)
				}
			}
		})
	}
}

// await waits until a database has so many values of a size, and counts them: a
// follower applies an entry after the leader has answered.
func await(ctx context.Context, t *testing.T, db *pebble.DB, size, want int) int {
	t.Helper()
	for {
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for valid := it.First(); valid; valid = it.Next() {
			if len(it.Value()) == size {
				n++
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		if n >= want || ctx.Err() != nil {
			return n
		}
		time.Sleep(time.Millisecond)
	}
}

func TestGroupThatCannotBeIsRefused(t *testing.T) {
	if _, err := OpenGroup(t.Context(), t.TempDir(), 0); err == nil {
		t.Error("a group of no nodes was opened")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenGroup(ctx, t.TempDir(), 3); !errors.Is(err, context.Canceled) {
		t.Errorf("without time for an election: %v", err)
	}
}

func TestBareHandlerAnswersTheSizeAskedFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ServeHTTP(ctx, "127.0.0.1:0", in) }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)
	c := client.NewConn(addr, time.Second)
	for _, n := range []int{1, 612, 61_200} {
		status, body, err := c.Do(client.AppendRequest(nil, "GET", Path(n), addr, "token", nil))
		if err != nil || status != 200 || len(body) != n {
			t.Errorf("asked for %d bytes: status %d, %d bytes, %v", n, status, len(body), err)
		}
	}
	if status, _, err := c.Do(client.AppendRequest(nil, "GET", "/size/huge", addr, "", nil)); status != 400 || err != nil {
		t.Errorf("asked for nonsense: %d, %v", status, err)
	}
	cancel()
	if err := errors.Join(c.Close(), <-ended); err != nil {
		t.Error(err)
	}
}
