package workload

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
)

// Kind is a workload.
type Kind string

// The workloads.
const (
	Create  Kind = "create"
	GetID   Kind = "get-id"
	GetName Kind = "get-name"
	Update  Kind = "update"
	List    Kind = "list"
	Mixed   Kind = "mixed"

	// GetIDStale is GetID with what the node asked has at hand.
	GetIDStale Kind = "get-id-stale"
)

// MixedReads is the share of reads in the mixed workload.
const MixedReads = 0.8

// Kinds lists the workloads in the order they run: what writes comes last.
func Kinds() []Kind { return []Kind{GetID, GetName, List, Mixed, Update, Create} }

// ClusterKinds lists the workloads that show what several nodes cost and bring,
// in the order they run.
func ClusterKinds() []Kind { return []Kind{GetID, GetIDStale, Update, Create} }

// ParseKind finds the workload of a name.
func ParseKind(name string) (Kind, error) {
	all := append(Kinds(), GetIDStale)
	if k := Kind(name); slices.Contains(all, k) {
		return k, nil
	}
	return "", fmt.Errorf("no workload is called %q: want one of %v", name, all)
}

// A stale read asks for one by a header, and is told by another how old the
// answer can be.
const (
	staleLine       = "X-Trellis-Consistency: stale"
	stalenessHeader = "X-Trellis-Staleness-Ms"
)

// errWrong marks an answer with a good status and the wrong content.
var errWrong = errors.New("the answer is not what was asked for")

// worker performs one kind of operation.
type worker struct {
	set    *Set
	target client.Target
	conn   *client.Conn
	rng    *rand.Rand
	do     func() load.Outcome
	tail   []byte // of a request without a body: from the path to the end
	buf    []byte // the request
	body   []byte // of the request
	want   []byte // what the answer must contain
	cursor []byte // of the list
}

// Worker makes a worker of a kind. Workers of one kind and connection draw the
// same keys in every run.
func (s *Set) Worker(kind Kind, connection int) (load.Worker, error) {
	return s.WorkerAt(s.target.Addr, kind, connection)
}

// WorkerAt makes a worker that asks another node of the cluster.
func (s *Set) WorkerAt(addr string, kind Kind, connection int) (load.Worker, error) {
	w := &worker{set: s, target: s.target.At(addr), conn: client.NewConn(addr, s.cfg.Timeout),
		rng: rand.New(rand.NewPCG(s.cfg.Seed, uint64(connection)))}
	var headers []string
	if kind == GetIDStale {
		headers = append(headers, staleLine)
		w.conn.Watch(stalenessHeader)
	}
	w.tail = client.AppendRequest(nil, "", "", addr, w.target.Token, nil, headers...)[1:] // without the space behind the method
	switch kind {
	case GetID:
		w.do = func() load.Outcome { return w.getID(w.rng.Uint64N(uint64(s.cfg.Entities))) }
	case GetIDStale:
		w.do = func() load.Outcome { return w.getIDStale(w.rng.Uint64N(uint64(s.cfg.Entities))) }
	case GetName:
		w.do = func() load.Outcome { return w.getName(w.rng.Uint64N(uint64(s.cfg.Entities))) }
	case Update:
		w.do = func() load.Outcome { return w.update(w.rng.Uint64N(uint64(s.cfg.Entities))) }
	case Mixed:
		w.do = func() load.Outcome {
			key := s.zipf.Next(w.rng)
			if w.rng.Float64() < MixedReads {
				return w.getID(key)
			}
			return w.update(key)
		}
	case List:
		w.do = w.list
	case Create:
		w.do = w.create
	default:
		return nil, fmt.Errorf("no workload is called %q", kind)
	}
	return w, nil
}

// Do implements load.Worker.
func (w *worker) Do() load.Outcome { return w.do() }

// Close implements load.Worker.
func (w *worker) Close() error { return w.conn.Close() }

// send sends what is in buf and looks for want in the answer.
func (w *worker) send() (load.Outcome, []byte) {
	status, answer, err := w.conn.Do(w.buf)
	if err != nil {
		return load.Outcome{Err: err}, nil
	}
	if status == http.StatusOK && !bytes.Contains(answer, w.want) {
		return load.Outcome{Status: status, Err: fmt.Errorf("%w: no %s in %.200q", errWrong, w.want, answer)}, answer
	}
	return load.Outcome{Status: status}, answer
}

// get begins a GET of a path below the collection that is read.
func (w *worker) get() {
	w.buf = append(w.buf[:0], "GET "...)
	w.buf = append(w.buf, w.set.readPath...)
}

func (w *worker) getID(n uint64) load.Outcome {
	w.get()
	w.buf = append(w.buf, '/')
	w.buf = append(w.buf, w.set.ids[n]...)
	w.buf = append(w.buf, w.tail...)
	w.want = w.set.ids[n]
	o, _ := w.send()
	return o
}

// getIDStale wants to be told that the read may be stale: else it was not.
func (w *worker) getIDStale(n uint64) load.Outcome {
	o := w.getID(n)
	if o.Class() == "" && w.conn.Watched() == "" {
		o.Err = fmt.Errorf("%w: no %s", errWrong, stalenessHeader)
	}
	return o
}

func (w *worker) getName(n uint64) load.Outcome {
	w.get()
	w.buf = append(w.buf, '/')
	w.buf = append(w.buf, data.Name(namePrefix, w.set.cfg.Seed, n)...)
	w.buf = append(w.buf, w.tail...)
	w.want = w.set.ids[n]
	o, _ := w.send()
	return o
}

func (w *worker) update(n uint64) load.Outcome {
	path := w.set.readPath + "/" + string(w.set.ids[n])
	w.body = data.AppendUpdate(w.body[:0], w.rng)
	w.buf = client.AppendRequest(w.buf[:0], http.MethodPut, path, w.target.Addr, w.target.Token, w.body)
	w.want = w.set.ids[n]
	o, _ := w.send()
	return o
}

func (w *worker) create() load.Outcome {
	n := w.set.created.Add(1)
	w.body = data.AppendEntity(w.body[:0], "order", w.set.run, n)
	w.buf = client.AppendRequest(w.buf[:0], http.MethodPost, w.set.createPath, w.target.Addr, w.target.Token, w.body)
	w.want = append(w.want[:0], '"')
	w.want = append(w.want, data.Name("order", w.set.run, n)...)
	w.want = append(w.want, '"')
	o, _ := w.send()
	return o
}

// list asks for the next page, and begins again after the last.
func (w *worker) list() load.Outcome {
	w.get()
	w.buf = append(w.buf, "?limit="...)
	w.buf = strconv.AppendInt(w.buf, int64(w.set.cfg.PageSize), 10)
	if len(w.cursor) > 0 {
		w.buf = append(w.buf, "&cursor="...)
		w.buf = append(w.buf, w.cursor...)
	}
	w.buf = append(w.buf, w.tail...)
	w.want = nil
	o, answer := w.send()
	if o.Class() != "" {
		w.cursor = w.cursor[:0]
		return o
	}
	w.cursor = append(w.cursor[:0], findCursor(answer)...)
	if n := countEntities(answer); n != w.set.cfg.PageSize && (n > w.set.cfg.PageSize || len(w.cursor) > 0) {
		o.Err = fmt.Errorf("%w: %d entities on a page of %d", errWrong, n, w.set.cfg.PageSize)
	}
	return o
}

// findCursor gives the cursor of an envelope, or nothing. It stands before or
// behind the entities, never within one: generated entities have no such
// property. Behind is where it is looked for first, since that is cheap.
func findCursor(answer []byte) []byte {
	const behind = 2048
	for _, part := range [][]byte{answer[max(0, len(answer)-behind):], answer} {
		if _, rest, ok := bytes.Cut(part, []byte(`"cursor":"`)); ok {
			cursor, _, _ := bytes.Cut(rest, []byte{'"'})
			return cursor
		}
	}
	return nil
}
