package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestSendEndsAfterARefusal: the library's reader of a pipeline returns with the
// first refusal, and its sender, which may be in the middle of a send, must come
// to know it. The library's own pipeline lets it wait for ever.
func TestSendEndsAfterARefusal(t *testing.T) {
	d := &directory{}
	sender, receiver := startTransport(t, "a", listen(t), d), startTransport(t, "b", listen(t), d)
	d.set("b", receiver.cfg.Stream.Addr().String())
	defer closeAll(t, sender, receiver)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case rpc := <-receiver.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: false}, nil)
			case <-stop:
				return
			}
		}
	}()
	p, err := sender.AppendEntriesPipeline("b", "b")
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-p.Consumer() }() // reads the refusal, and then no more
	ended := make(chan error, 1)
	go func() {
		for i := uint64(1); ; i++ {
			req := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: i, PrevLogTerm: 1, Entries: []*raft.Log{{Index: i + 1, Term: 1}}}
			if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the sender waits for ever")
	}
	if err := p.Close(); err != nil {
		t.Log(err) // the connection is closed already
	}
}

func closeAll(t *testing.T, list ...*Transport) {
	t.Helper()
	for _, tr := range list {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}
