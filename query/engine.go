package query

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Config is what an engine allows a query.
type Config struct {
	CursorKey cursor.Key // authenticates cursors; derived from the cluster's
	MaxKeys   int        // keys a query may examine
	MaxSet    int        // entities a set may have that a query keeps in memory
	PageBytes int        // a page of larger entities ends early, with a cursor
}

// DefaultConfig returns the usual limits.
func DefaultConfig() Config {
	return Config{MaxKeys: 1_000_000, MaxSet: 50_000, PageBytes: 16 << 20}
}

// Engine runs queries. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	tune   tuning
	counts counters
}

// New returns an engine.
func New(cfg Config) *Engine { return &Engine{cfg: cfg, tune: defaultTuning()} }

// Run answers a request on a view. It returns fault.IllegalArgument for a cursor that is
// not one of this request, fault.QueryTooCostly for a query that would examine too many
// keys, fault.Timeout if the context ends.
func (e *Engine) Run(ctx context.Context, v *storage.View, req *Request) (page *Page, err error) {
	asked := *req
	s := &search{cfg: &e.cfg, tune: &e.tune, view: v, req: &asked, meter: meter{ctx: ctx, limit: e.cfg.MaxKeys}}
	defer func() {
		if closed := s.close(); err == nil && closed != nil {
			page, err = nil, closed
		}
		e.counts.count(s, errors.Is(s.err, errTooCostly))
	}()
	if s.order, err = newOrder(req.Query, req.OldestFirst, req.Edges == nil); err != nil {
		return nil, err
	}
	s.order.listed = req.List != nil
	if err := s.resume(); err != nil {
		return nil, err
	}
	s.run()
	if errors.Is(s.err, errTooCostly) {
		return nil, s.tooCostly()
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.page()
}

// search is one request being answered. Its steps note the first error in err and end
// early from then on, so only Run looks at it.
type search struct {
	cfg    *Config
	tune   *tuning
	view   *storage.View
	req    *Request
	meter  meter
	order  *order
	print  cursor.Fingerprint
	after  *position // the page begins after this place; nil: it is the first
	err    error
	open   []*scan
	lenses map[entity.CollectionID]*lens

	rows  []Row
	bytes int
	more  bool // at least one more entity matches
	arena arena
	plan  *Plan

	entities           *scan  // that fetch steps along
	key, record, place []byte // scratch
}

// fail notes an error, if it is one, and reports whether the search has failed.
func (s *search) fail(err error) bool {
	if s.err == nil {
		s.err = err
	}
	return s.err != nil
}

func (s *search) close() (err error) {
	for _, c := range s.open {
		err = errors.Join(err, c.close())
	}
	s.open = nil
	return err
}

// run answers the request into rows. With a limit of 0 it only plans.
func (s *search) run() {
	switch {
	case s.req.Query != nil && s.req.Query.Direct != nil:
		s.direct()
	case s.req.Edges != nil:
		s.edges()
	case s.req.From.ID == 0:
	case s.req.List != nil:
		s.listed()
	default:
		s.collection()
	}
}

// resume reads the cursor of the request, if it has one.
func (s *search) resume() error {
	if s.req.Query != nil && s.req.Query.Direct != nil {
		if s.req.Cursor != "" {
			return fault.New(fault.IllegalArgument, "cursor belongs to another request")
		}
		return nil
	}
	s.print = s.fingerprint()
	if s.req.Cursor == "" {
		return nil
	}
	text, err := cursor.Decode(&s.cfg.CursorKey, s.print, s.req.Cursor)
	if err != nil {
		return err
	}
	after, ok := s.order.parse(text)
	if !ok {
		return fault.New(fault.IllegalArgument, "cursor is malformed")
	}
	s.after = &after
	return nil
}

// fingerprint binds cursors to all that must be the same on the next page.
func (s *search) fingerprint() cursor.Fingerprint {
	r := s.req
	var fixed [64]byte
	b := append(fixed[:0], positionFormat, byte(bit(r.OldestFirst)), byte(bit(r.Edges != nil)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.App))
	b = binary.BigEndian.AppendUint32(b, uint32(r.From.ID))
	if r.Edges != nil {
		b = binary.BigEndian.AppendUint32(b, uint32(r.Edges.Near.Collection))
		b = binary.BigEndian.AppendUint64(b, uint64(r.Edges.Near.Seq))
		b = binary.BigEndian.AppendUint32(append(b, r.Edges.Direction), uint32(r.Edges.Only))
		for _, verb := range r.Edges.Verbs {
			b = binary.BigEndian.AppendUint32(b, uint32(verb))
		}
	}
	if r.List != nil {
		b = binary.BigEndian.AppendUint32(append(b, r.List.List), uint32(r.List.Owner.Collection))
		b = binary.BigEndian.AppendUint64(b, uint64(r.List.Owner.Seq))
	}
	var text []byte
	if r.Query != nil {
		text = []byte(r.Query.String())
	}
	return cursor.Bind(b, r.Binding, text)
}

// positionFormat changes when what cursors say a position is does.
const positionFormat = 1

// page returns what was found.
func (s *search) page() (*Page, error) {
	p := &Page{Rows: s.rows}
	for i := range s.rows {
		if last := i == len(s.rows)-1; !s.req.Cursors && (!last || !s.more) {
			continue
		}
		place, err := s.placeOf(&s.rows[i])
		if err != nil {
			return nil, err
		}
		p.Cursor = cursor.Encode(&s.cfg.CursorKey, s.print, place)
		if s.req.Cursors {
			s.rows[i].Cursor = p.Cursor
		}
	}
	if !s.more {
		p.Cursor = ""
	}
	err := s.close() // counts the last keys
	if p.Examined = s.meter.examined; s.req.Explain {
		p.Plan = s.plan
	}
	return p, err
}

// placeOf returns the place of a row.
func (s *search) placeOf(row *Row) ([]byte, error) {
	seq := row.Eseq
	if s.req.Edges == nil {
		seq = row.Entity.Seq
	}
	if s.order.plain() && s.order.listed {
		return keys.AppendListedPlace(nil, row.Published, row.Entity.Seq), nil
	}
	if s.order.plain() {
		return binary.BigEndian.AppendUint64(nil, s.order.rank(seq)), nil
	}
	l := s.lens(row.Collection)
	if l == nil {
		return nil, s.err
	}
	_, err := l.look(&row.Entity)
	return l.place(nil, &row.Entity, seq), err
}

// full reports whether the page has all it can have: what else matches is only known to be
// there.
func (s *search) full() bool { return len(s.rows) >= s.req.Limit || s.bytes > s.cfg.PageBytes }

// emit takes the next entity of the result, whose memory is lent. It returns false when
// nothing more is wanted.
func (s *search) emit(c entity.CollectionID, e *entity.Entity, eseq entity.Seq, distance int64) bool {
	if s.full() {
		s.more = len(s.rows) > 0
		return false
	}
	if s.rows == nil {
		s.rows = make([]Row, 0, min(s.req.Limit, mostFetch))
	}
	row := Row{Collection: c, Entity: *e, Distance: distance, Eseq: eseq}
	row.Entity.JSON = s.arena.clone(e.JSON)
	s.rows = append(s.rows, row)
	s.bytes += len(e.JSON)
	return true
}

// lens returns the lens for entities of a collection, or nil if the collection is not
// known or the search has failed.
func (s *search) lens(c entity.CollectionID) *lens {
	if l, ok := s.lenses[c]; ok {
		return l
	}
	var l *lens
	if from, ok := s.source(c); ok {
		settings, err := storage.ReadSettings(s.view, s.req.App, c)
		if s.fail(err) {
			return nil
		}
		l = &lens{settings: &settings}
		l.init(conditionOf(s.req.Query), s.order, &settings.Plan, from.Type)
	}
	if s.lenses == nil {
		s.lenses = make(map[entity.CollectionID]*lens)
	}
	s.lenses[c] = l
	return l
}

// source says what a collection is.
func (s *search) source(c entity.CollectionID) (Collection, bool) {
	if s.req.Edges != nil {
		return s.req.Edges.Collection(c)
	}
	return s.req.From, c == s.req.From.ID
}
