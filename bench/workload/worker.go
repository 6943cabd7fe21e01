package workload

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
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
)

// MixedReads is the share of reads in the mixed workload.
const MixedReads = 0.8

// Kinds lists the workloads in the order they run: what writes comes last.
func Kinds() []Kind { return []Kind{GetID, GetName, List, Mixed, Update, Create} }

// ParseKind finds the workload of a name.
func ParseKind(name string) (Kind, error) {
	for _, k := range Kinds() {
		if string(k) == name {
			return k, nil
		}
	}
	return "", fmt.Errorf("no workload is called %q: want one of %v", name, Kinds())
}

// errWrong marks an answer with a good status and the wrong content.
var errWrong = errors.New("the answer is not what was asked for")

// worker performs one kind of operation.
type worker struct {
	set    *Set
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
	w := &worker{set: s, conn: client.NewConn(s.target.Addr, s.cfg.Timeout),
		rng: rand.New(rand.NewPCG(s.cfg.Seed, uint64(connection)))}
	w.tail = client.AppendRequest(nil, "", "", s.target.Addr, s.target.Token, nil)[1:] // without the space behind the method
	switch kind {
	case GetID:
		w.do = func() load.Outcome { return w.getID(w.rng.Uint64N(uint64(s.cfg.Entities))) }
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
	w.buf = client.AppendRequest(w.buf[:0], http.MethodPut, path, w.set.target.Addr, w.set.target.Token, w.body)
	w.want = w.set.ids[n]
	o, _ := w.send()
	return o
}

func (w *worker) create() load.Outcome {
	n := w.set.created.Add(1)
	w.body = data.AppendEntity(w.body[:0], "order", w.set.run, n)
	w.buf = client.AppendRequest(w.buf[:0], http.MethodPost, w.set.createPath, w.set.target.Addr, w.set.target.Token, w.body)
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
