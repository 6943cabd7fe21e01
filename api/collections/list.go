package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// list answers GET of a collection: a page of what the query selects.
func (c *call) list(p *params) (*wire.Reply, error) {
	ask, err := c.ask(p, defaultLimit)
	if err != nil {
		return nil, err
	}
	reply := c.req.Entities(c.path)
	if len(c.seg) == 1 {
		reply.Counted()
	}
	if p.is("analyzeOnly", "true") {
		return reply.Field("metadata", map[string]any{"queryWarnings": warnings(ask.Query)}), nil
	}
	if err := withoutScoped(c.typ, &ask); err != nil {
		return nil, err
	}
	if c.wantsData() {
		return c.sendListed(&ask)
	}
	err = c.reading(c.req, func(v *storage.View) error {
		if ask.From, err = c.source(v, c.typ); err != nil {
			return err
		}
		if id, ok := entity.ParseID(p.first("start")); ok {
			if e, found, err := storage.ReadEntityByID(v, ask.App, ask.From.ID, id); err != nil {
				return err
			} else if found {
				ask.Start = e.Seq
			}
		}
		if isActivities(c.typ) {
			if err := c.byPublished(v, &ask); err != nil {
				return err
			}
		}
		page, err := c.engine.Run(c.req.Context(), v, &ask)
		if err != nil {
			return err
		}
		s := c.newShow(v, &ask, reply, func(*schema.Type) string { return c.path })
		if err := s.rows(page.Rows); err != nil {
			return err
		}
		s.finish(page)
		return nil
	})
	return reply, err
}

// ask makes the request of a query from parameters: all but where it looks.
func (c *call) ask(p *params, absent int) (query.Request, error) {
	q, err := p.query()
	if err != nil {
		return query.Request{}, err
	}
	ask := query.Request{
		App: c.req.App.Number, Query: q, Limit: limitOf(p.first("limit"), absent), Cursor: p.first("cursor"),
		OldestFirst: p.is("reversed", "false"), Explain: p.is("explain", "true"),
	}
	if ask.Explain && strings.TrimSpace(p.first("limit")) == "0" {
		ask.Limit = 0
	}
	return ask, nil
}

// source is a collection as queries know it. One that does not exist has no number.
func (c *call) source(v *storage.View, typ *schema.Type) (query.Collection, error) {
	id, _, err := storage.ReadCollectionID(v, c.req.App.Number, typ.Collection)
	return sourceOf(id, typ), err
}

func sourceOf(id entity.CollectionID, typ *schema.Type) query.Collection {
	s := query.Collection{ID: id, Name: typ.Collection, Type: typ.Name}
	if len(typ.Aliases) > 0 {
		s.Alias = typ.Aliases[0]
	}
	return s
}

// typeOf returns the type of the entities of a collection by its number; nil if there
// is no such collection.
func (c *call) typeOf(v *storage.View, id entity.CollectionID) (*schema.Type, error) {
	name, ok, err := storage.CollectionName(v, c.req.App.Number, id)
	if err != nil || !ok {
		return nil, err
	}
	return c.types.of(name)
}

// show puts the entities that a query found into a reply.
type show struct {
	c       *call
	v       *storage.View
	reply   *wire.Reply
	path    func(*schema.Type) string // below which entities of a type are shown
	shapes  map[entity.CollectionID]*wire.Shape
	project *projection // nil: whole
	in, out bool        // whether connections in and out are shown
	near    bool        // whether distances are
}

func (c *call) newShow(v *storage.View, ask *query.Request, reply *wire.Reply, path func(*schema.Type) string) *show {
	s := &show{c: c, v: v, reply: reply, path: path, shapes: map[entity.CollectionID]*wire.Shape{}, project: newProjection(ask.Query)}
	s.out, s.in = c.connectionsShown()
	s.near = len(ask.Query.Near()) > 0
	return s
}

// connectionsShown says which connections metadata has (spec connections section 5).
func (c *call) connectionsShown() (out, in bool) {
	if c.req.Method() != "GET" {
		return true, true
	}
	asked := c.req.Query("connections")
	if asked == "" {
		asked = c.req.App.Connections
	}
	switch strings.ToLower(asked) {
	case "none":
		return false, false
	case "in":
		return false, true
	case "out":
		return true, false
	}
	return true, true
}

func (s *show) shape(id entity.CollectionID) (*wire.Shape, error) {
	if shape := s.shapes[id]; shape != nil {
		return shape, nil
	}
	typ := s.c.typ
	if own, err := s.c.typeOf(s.v, id); err != nil {
		return nil, err
	} else if own != nil {
		typ = own
	}
	shape := shapeOf(typ, s.path(typ))
	s.shapes[id] = shape
	return shape, nil
}

func (s *show) rows(rows []query.Row) error {
	for i := range rows {
		if err := s.row(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) row(row *query.Row) error {
	shape, err := s.shape(row.Collection)
	if err != nil {
		return err
	}
	if shape.Type == "notification" {
		shown := []entity.Entity{row.Entity}
		if err := s.c.expiredShown(shown); err != nil {
			return err
		}
		row = &query.Row{Collection: row.Collection, Entity: shown[0], Distance: row.Distance, Eseq: row.Eseq}
	}
	var d wire.Details
	detailed, err := s.verbs(&d, row.Collection, &row.Entity)
	if err != nil {
		return err
	}
	if s.near && row.Distance != query.NoDistance {
		metres := float64(row.Distance) / 1000
		d.Distance, detailed = &metres, true
	}
	if row.Cursor != "" {
		d.Cursor, detailed = row.Cursor, true
	}
	if s.project != nil {
		d.Properties, detailed = s.project.reduce(&row.Entity, shape.Type), true
	}
	if !detailed {
		s.reply.Append(&row.Entity, shape, nil)
		return nil
	}
	s.reply.Append(&row.Entity, shape, &d)
	return nil
}

// verbs adds the connections of an entity to what is said of it.
func (s *show) verbs(d *wire.Details, c entity.CollectionID, e *entity.Entity) (any bool, err error) {
	end := entity.End{Collection: c, Seq: e.Seq}
	if s.out && e.HasOut {
		if d.Out, err = s.verbNames(end, keys.Outbound); err != nil {
			return false, err
		}
	}
	if s.in && e.HasIn {
		if d.In, err = s.verbNames(end, keys.Inbound); err != nil {
			return false, err
		}
	}
	return d.Out != nil || d.In != nil, nil
}

func (s *show) verbNames(end entity.End, direction byte) ([]string, error) {
	list, err := storage.Verbs(s.v, s.c.req.App.Number, end, direction)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, verb := range list {
		if !hidden(verb.Name) {
			names = append(names, verb.Name)
		}
	}
	return names, nil
}

// finish puts what belongs to the page as a whole into the reply.
func (s *show) finish(page *query.Page) {
	s.reply.Cursor(page.Cursor)
	if s.project != nil {
		s.project.finish(s.reply)
	}
	if page.Plan != nil {
		s.reply.Field("plan", page.Plan)
	}
}
