package portage

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// maxLines is how many lines one request may bring, maxErrors how many of what went
// wrong it is told; the rest is counted.
const (
	maxLines  = 10_000
	maxErrors = 1000
)

// counts is what became of lines.
type counts struct {
	Imported uint64    `json:"imported"` // entities that were added or replaced
	Existing uint64    `json:"existing"` // entities that were there
	Linked   uint64    `json:"linked"`   // connections and memberships that there are now
	Attached uint64    `json:"attached"` // entities whose data was brought
	Had      uint64    `json:"had"`      // entities that had their data, or other data
	Listed   uint64    `json:"listed"`   // activities that are in their feeds now
	Counted  uint64    `json:"counted"`  // parts of counters that were brought
	Failed   uint64    `json:"failed"`   // lines nothing came of
	Errors   []problem `json:"errors"`
}

type problem struct {
	Line        uint64 `json:"line"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// Import runs the lines in the body of a request: some of a file, which the client sends
// piece by piece. Parameters: part, entities or edges: which lines are imported, the
// others are passed over, as are objects without members, for lines that the client left
// out; from=usergrid: what the lines are, if not of our own format;
// line: the number of the first in the file; replace; credentials. A retry does no harm.
func (h *Handlers) Import(req *wire.Request, app Placed, open bool, credentials bool) (*wire.Reply, error) {
	body, err := req.Body()
	if err != nil {
		return nil, err
	}
	o := Options{Replace: req.Query("replace") == "true", Credentials: credentials, Now: req.Time().UnixMilli()}
	at := portable.Place{Source: portable.Trellis}
	if req.Query("from") == "usergrid" {
		at.Source = portable.Usergrid
	}
	switch part := req.Query("part"); part {
	case "entities":
		o.Part = Entities
	case "edges":
		o.Part = Edges
	default:
		return nil, fault.New(fault.IllegalArgument, "part must be entities or edges, not %.40q", part)
	}
	if text := req.Query("line"); text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil || n == 0 {
			return nil, fault.New(fault.IllegalArgument, "line must be the number of a line")
		}
		at.Number = n - 1
	}
	if bytes.Count(body, []byte("\n")) > maxLines {
		return nil, fault.New(fault.IllegalArgument, "more than %d lines in one request", maxLines)
	}
	o.Had = h.skipper(req.Context(), app.Number, o.Replace)
	if _, err := h.dir.SeedRoles(req.Context(), app.Number, open, false); err != nil {
		return nil, err
	}
	c := counts{Errors: []problem{}}
	p := NewPlanner(portable.Resume(bytes.NewReader(body), at), Point{Place: at}, o)
	for {
		b, err := p.Next()
		if err != nil {
			return nil, err
		}
		if err := h.run(req, app, &b, &o, &c); err != nil {
			return nil, err
		}
		if b.End {
			return wire.Management("import").Field("status", "ok").Field("data", c), nil
		}
	}
}

// run runs a batch and counts what became of it.
func (h *Handlers) run(req *wire.Request, app Placed, b *Batch, o *Options, c *counts) error {
	ctx := req.Context()
	for i := range b.Refused {
		c.fail(b.Refused[i].Line, b.Refused[i].Code, b.Refused[i].Message)
	}
	for _, op := range b.Then {
		if _, err := h.do(ctx, app.Number, op); err != nil {
			return err
		}
	}
	c.Had += b.Had
	if b.Data != nil {
		return h.attach(req, app, b, o, c)
	}
	if b.Op == nil {
		return nil
	}
	out, err := h.do(ctx, app.Number, b.Op)
	if err != nil {
		return err
	}
	for _, e := range out.Errors {
		c.fail(b.Lines(e.Index), e.Code, e.Message)
	}
	done := uint64(out.Handled)
	switch op := b.Op.(type) {
	case command.ImportEntities:
		c.Imported += done
		c.Existing += uint64(len(op.Items)) - done - uint64(len(out.Errors))
	case command.ImportEdges:
		c.Linked += done
	case command.ImportFeeds:
		c.Listed += done
	case command.ImportCounters:
		c.Counted += done
	}
	return nil
}

// objectTime is how long an object may take that is stored while a client waits.
const objectTime = 10 * time.Minute

// attach brings a piece of data. To store an object may take longer than requests do.
func (h *Handlers) attach(req *wire.Request, app Placed, b *Batch, o *Options, c *counts) error {
	long, cancel := context.WithTimeout(req.StreamContext(), objectTime)
	defer cancel()
	op, err := h.place(req.Context(), long, app, b.Data, o)
	if b.Data.Last() && h.data.Remote() {
		req.Renew()
	}
	var out command.Outcome
	if err == nil && op != nil {
		out, err = h.do(req.Context(), app.Number, op)
	}
	if f, ours := lineFault(err); ours {
		c.fail(b.dataLine, f.Code, f.Message)
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range out.Errors {
		c.fail(b.dataLine, e.Code, e.Message)
	}
	if b.Data.Last() {
		c.Attached += uint64(out.Handled)
	}
	return nil
}

func (c *counts) fail(line uint64, code fault.Code, message string) {
	c.Failed++
	if len(c.Errors) < maxErrors {
		c.Errors = append(c.Errors, problem{line, string(code), message})
	}
}

func (h *Handlers) do(ctx context.Context, app entity.AppID, op command.Op) (command.Outcome, error) {
	out, err := h.cluster.Propose(ctx, app, command.Command{App: app, Op: op})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return out, err
}
