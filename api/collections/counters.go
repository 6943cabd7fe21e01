package collections

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of one read of counters.
const (
	maxBuckets  = 100_000 // values that are looked at
	maxPadded   = 1000    // values of a series that is padded
	maxTime     = 1 << 61 // ms: after it there are no buckets
	wholeShown  = 1       // timestamp of the one bucket that has all times
	requestsAre = "application.requests"
)

// Requests counts the requests of applications, in counters.
type Requests interface {
	// Flush makes what was counted here of an application's requests readable.
	Flush(ctx context.Context, app entity.AppID) error
}

// Counting says how counters are counted and read.
type Counting struct {
	Requests Requests // nil: requests are not counted
	ZeroAdds bool     // 0 in an event adds nothing; otherwise it resets the counter
}

// WithCounters sets how counters are counted and read. Call it before the handlers are
// used.
func (h *Handlers) WithCounters(cfg Counting) *Handlers {
	h.requests, h.zeroAdds = cfg.Requests, cfg.ZeroAdds
	return h
}

// counters answers requests about counters.
func (c *call) counters() (*wire.Reply, error) {
	switch {
	case c.req.Method() != "GET":
		return nil, fault.New(fault.UnsupportedAction, "counters are counted by events, and cannot be deleted")
	case len(c.req.Segments()) > 1:
		return nil, notFound()
	case !c.req.Asks():
		return c.counterNames()
	}
	list := c.req.QueryAll("counter")
	reply := c.req.Entities("").Counted()
	if len(list) == 0 {
		return reply, nil
	}
	ask, err := c.counterSpan()
	if err != nil {
		return nil, err
	}
	asked := c.askedSeries(list)
	read := c.reading
	if slices.ContainsFunc(asked, func(s *series) bool { return s.ofRequests() }) {
		read = c.readingRequests
	}
	err = read(c.req, func(v *storage.View) error {
		for _, s := range asked {
			if err := c.resolve(v, s); err != nil {
				return err
			}
		}
		text, err := c.readSeries(v, distinct(asked), &ask)
		reply.RawField("counters", text)
		return err
	})
	return reply, err
}

// counterNames answers with the names of all counters.
func (c *call) counterNames() (*wire.Reply, error) {
	names := []string{}
	err := c.readingRequests(c.req, func(v *storage.View) error {
		known, err := storage.CounterNames(v, c.req.App.Number)
		names = append(names, known...)
		return err
	})
	return c.req.Entities("").Counted().Field("data", names), err
}

// readingRequests is reading after all requests were counted that this node has begun to
// answer, this one included. A client that is content with a stale read gets one.
func (h *Handlers) readingRequests(req *wire.Request, f func(*storage.View) error) error {
	if h.requests == nil || req.Stale() {
		return h.reading(req, f)
	}
	if err := h.requests.Flush(req.Context(), req.App.Number); err != nil {
		return err
	}
	// What the request has written itself is from after it began.
	v, err := h.cluster.View(context.WithValue(req.Context(), entity.FreshnessKey{}, &entity.Freshness{Since: time.Now()}), req.App.Number)
	if err != nil {
		return err
	}
	return looking(v, f)
}

// span is which buckets are asked for.
type span struct {
	resolution entity.Resolution
	from, to   int64 // begin of the first and of the last; none if to is before from
	pad        bool
}

func (c *call) counterSpan() (s span, err error) {
	s.resolution = entity.ParseResolution(c.req.Query("resolution"))
	start, _, err := counterTime("start_time", c.req.Query("start_time"))
	if err != nil {
		return s, err
	}
	end, given, err := counterTime("end_time", c.req.Query("end_time"))
	if err != nil {
		return s, err
	}
	if !given || end < start {
		end = c.now()
	}
	s.from, s.to = s.resolution.Bucket(start), s.resolution.Bucket(end)
	if s.resolution == entity.Whole {
		return s, nil
	}
	if s.pad = strings.EqualFold(strings.TrimSpace(c.req.Query("pad")), "true"); s.pad {
		s.to = min(s.to, s.from+(maxPadded-1)*s.resolution.Interval())
	}
	return s, nil
}

// counterTime reads a time in ms; given is false of an empty one. What lies outside of
// the times that have buckets is moved to their ends.
func counterTime(name, text string) (ms int64, given bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, false, nil
	}
	ms, err = strconv.ParseInt(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, fault.New(fault.IllegalArgument, "%s must be a number of milliseconds", name)
	}
	return min(max(ms, 0), maxTime), true, nil
}

// series is one of the series that a request asks for.
type series struct {
	name                  string // folded
	user, group, category string // as they were asked for; empty: any
	dimensions            entity.Dimensions
	nobody                bool // user or group is not known
}

// askedSeries reads the series: name, user, group and category of each between colons,
// of which an empty one and * stand for any. What a series does not say, parameters of
// these names say of all.
func (c *call) askedSeries(list []string) (asked []*series) {
	rest := [3]string{c.req.Query("user"), c.req.Query("group"), c.req.Query("category")}
	for _, text := range list {
		if s := parseSeries(text, rest); s.name != "" {
			asked = append(asked, s)
		}
	}
	return asked
}

func parseSeries(text string, rest [3]string) *series {
	parts := strings.SplitN(text, ":", 4)
	for i := len(parts); i < 4; i++ {
		parts = append(parts, rest[i-1])
	}
	for i, part := range parts[1:] {
		if part == "*" {
			parts[i+1] = ""
		}
	}
	return &series{name: keys.Fold(parts[0]), user: parts[1], group: parts[2], category: parts[3]}
}

func (s *series) ofRequests() bool {
	return s.name == "application" || s.name == requestsAre || strings.HasPrefix(s.name, requestsAre+".")
}

// resolve finds the user and the group that a series is of.
func (c *call) resolve(v *storage.View, s *series) error {
	s.dimensions.Category = s.category
	known, err := c.principal(v, &s.user, &s.dimensions.User, "users", "username", "email")
	if err != nil {
		return err
	}
	s.nobody = !known
	if known, err = c.principal(v, &s.group, &s.dimensions.Group, "groups", "path"); err != nil {
		return err
	}
	s.nobody = s.nobody || !known
	return nil
}

// principal finds the entity that text names by its UUID or an alias, and makes text its
// UUID; false if there is none. An empty text is nobody's.
func (c *call) principal(v *storage.View, text *string, id *entity.ID, collection string, aliases ...string) (bool, error) {
	if *text == "" {
		return true, nil
	}
	found, ok := entity.ParseID(*text)
	if !ok {
		col, exists, err := storage.ReadCollectionID(v, c.req.App.Number, collection)
		if err != nil || !exists {
			return false, err
		}
		for _, alias := range aliases {
			if ok {
				break
			}
			e, is, err := storage.ReadEntityByAlias(v, c.req.App.Number, col, alias, *text)
			if err != nil {
				return false, err
			}
			found, ok = e.ID, is
		}
	}
	if !ok || found.IsZero() {
		return false, nil
	}
	*id, *text = found, found.String()
	return true, nil
}

// distinct returns series once each, in order of their names.
func distinct(asked []*series) []*series {
	seen := make(map[series]bool)
	var list []*series
	for _, s := range asked {
		if !seen[*s] {
			seen[*s] = true
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *series) int { return cmp.Compare(a.name, b.name) })
	return list
}

// readSeries returns the counters of an answer as JSON.
func (c *call) readSeries(v *storage.View, list []*series, ask *span) ([]byte, error) {
	text := []byte{'['}
	room := maxBuckets
	for i, s := range list {
		if err := c.req.Context().Err(); err != nil {
			return nil, context.Cause(c.req.Context())
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = wire.AppendString(append(text, `{"name":`...), s.name)
		for _, d := range [...]struct{ name, value string }{{"user", s.user}, {"group", s.group}, {"category", s.category}} {
			if d.value != "" {
				text = wire.AppendString(append(wire.AppendString(append(text, ','), d.name), ':'), d.value)
			}
		}
		text = append(text, `,"values":[`...)
		buckets, pad, err := c.buckets(v, s, ask, &room)
		if err != nil {
			return nil, err
		}
		text = ask.appendValues(text, buckets, pad)
		text = append(text, ']', '}')
	}
	return append(text, ']'), nil
}

// buckets reads those of one series. known is false if nobody ever counted it.
func (c *call) buckets(v *storage.View, s *series, ask *span, room *int) (list []storage.Bucket, known bool, err error) {
	counter, known, err := storage.ReadCounter(v, c.req.App.Number, s.name)
	if err != nil || !known || s.nobody {
		return nil, false, err
	}
	if ask.to < ask.from {
		return nil, true, nil
	}
	list, looked, all, err := storage.ReadBuckets(v, c.req.App.Number, &storage.Buckets{
		Counter: counter, Dimensions: s.dimensions, Resolution: ask.resolution, From: ask.from, To: ask.to,
	}, *room)
	if err == nil && !all {
		err = fault.New(fault.IllegalArgument,
			"the counters have more than %d values there: ask for fewer, between nearer times, or in another resolution", maxBuckets)
	}
	*room -= looked
	return list, true, err
}

// appendValues appends buckets in order of time, and if the span is padded those without
// data.
func (s *span) appendValues(dst []byte, list []storage.Bucket, known bool) []byte {
	first := true
	add := func(at, value int64) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = strconv.AppendInt(append(dst, `{"timestamp":`...), at, 10)
		dst = append(strconv.AppendInt(append(dst, `,"value":`...), value, 10), '}')
	}
	if s.resolution == entity.Whole {
		for _, b := range list {
			add(wholeShown, b.Value)
		}
		return dst
	}
	if !s.pad || !known {
		for _, b := range list {
			add(b.At, b.Value)
		}
		return dst
	}
	for at := s.from; at <= s.to; at += s.resolution.Interval() {
		value := int64(0)
		if len(list) > 0 && list[0].At == at {
			value, list = list[0].Value, list[1:]
		}
		add(at, value)
	}
	return dst
}
