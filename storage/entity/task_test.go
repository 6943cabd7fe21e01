package entity_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func sampleTask() entity.Task {
	return entity.Task{
		ID: entity.ID{1, 15: 2}, Kind: "purge-application", App: 16, Priority: entity.Idle, State: entity.TaskDead,
		Created: 1600000000000, NotBefore: 1600000001000, Step: 3, Turn: 9, Attempts: 2, Done: 5, Total: 7,
		Body: []byte("body"), LastError: "it rained",
	}
}

func TestTasksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := entity.Task{
			Kind: rapid.StringMatching(`[a-z0-9-]{1,64}`).Draw(t, "kind"), App: entity.AppID(rapid.Uint32().Draw(t, "app")),
			Priority: entity.Priority(rapid.Byte().Draw(t, "priority")), State: entity.TaskState(rapid.ByteRange(1, 2).Draw(t, "state")),
			Created: rapid.Int64().Draw(t, "created"), NotBefore: rapid.Int64Min(0).Draw(t, "not before"),
			Step: rapid.Uint64().Draw(t, "step"), Turn: rapid.Uint64().Draw(t, "turn"), Attempts: rapid.Uint32().Draw(t, "attempts"),
			Done: rapid.Uint64().Draw(t, "done"), Total: rapid.Uint64().Draw(t, "total"),
			LastError: rapid.StringN(0, 20, 80).Draw(t, "error"),
		}
		copy(want.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		if b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "body"); len(b) > 0 {
			want.Body = b
		}
		got, err := entity.DecodeTask(entity.AppendTask(nil, &want))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Error(err, d)
		}
	})
}

// TestTaskBytes pins the stored form.
func TestTaskBytes(t *testing.T) {
	task := sampleTask()
	const want = "0102030100000000000000000000000000000210" + "8080f4f6905d" + "e887babbc82e" + "0309020507" + "1170757267652d6170706c69636174696f6e" + "04626f6479" + "096974207261696e6564"
	if got := hex.EncodeToString(entity.AppendTask(nil, &task)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTaskKinds(t *testing.T) {
	for kind, want := range map[string]bool{
		"mail": true, "purge-application": true, "v2": true, strings.Repeat("k", 64): true,
		"": false, "Mail": false, "a b": false, "a/b": false, "é": false, strings.Repeat("k", 65): false,
	} {
		if got := entity.ValidTaskKind(kind); got != want {
			t.Errorf("ValidTaskKind(%q) = %v", kind, got)
		}
	}
}

// FuzzDecodeTask: what is taken for a task is written as it was read; all else is refused as damage.
func FuzzDecodeTask(f *testing.F) {
	task := sampleTask()
	f.Add(entity.AppendTask(nil, &task))
	f.Add(entity.AppendTask(nil, &entity.Task{Kind: "mail", State: entity.TaskReady}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := entity.DecodeTask(b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Errorf("error is %v, want corrupt", err)
			}
			return
		}
		again, err := entity.DecodeTask(entity.AppendTask(nil, &got))
		if d := cmp.Diff(got, again); err != nil || d != "" {
			t.Error(err, d)
		}
		if n := len(entity.AppendTask(nil, &got)); n > len(b) || (n == len(b) && !bytes.Equal(entity.AppendTask(nil, &got), b)) {
			t.Errorf("%x became %x", b, entity.AppendTask(nil, &got))
		}
	})
}

func TestJobID(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 256, 1<<40 - 1} {
		if got := entity.JobCount(entity.NewJobID(n)); got != n {
			t.Errorf("%d: %d", n, got)
		}
	}
	if got := entity.JobCount(entity.NewJobID(1 << 41)); got != 1<<40-1 {
		t.Errorf("of too many: %d", got)
	}
	seen := map[entity.ID]bool{}
	for range 10_000 {
		id := entity.NewJobID(7)
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
	}
	if entity.JobCount(entity.NewID()) != 0 {
		t.Error("an id of another kind has a count")
	}
}
