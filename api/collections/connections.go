package collections

import (
	"slices"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// maxOwners bounds how many entities a step of a path starts from.
const maxOwners = 1000

// connections answers a path that goes on with rest after its source: one entity, or,
// if every is set, those that own selects.
func (c *call) connections(every bool, own []param, rest []string) (*wire.Reply, error) {
	var reply *wire.Reply
	var change func() (*wire.Reply, error)
	look := func(v *storage.View) error {
		owners, err := c.sources(v, every, own)
		if err != nil {
			return err
		}
		steps, err := c.relations(v, c.typ, rest)
		if err != nil {
			return err
		}
		for i := range steps[:len(steps)-1] {
			steps[i+1].within(owners, &steps[i])
			if owners, err = c.follow(v, owners, &steps[i]); err != nil {
				return err
			}
			if err := c.mayList(v, owners, &steps[i+1]); err != nil {
				return err
			}
		}
		last := &steps[len(steps)-1]
		if last.dictionary != "" {
			change, err = c.dictionary(v, owners, last)
			return err
		}
		if c.req.Method() == "GET" {
			reply, err = c.showConnections(v, owners, last)
			return err
		}
		change, err = c.changeConnections(v, owners, last)
		return err
	}
	if c.req.Method() == "GET" {
		if err := c.reading(c.req, look); err != nil || change == nil {
			return reply, err
		}
		return change()
	}
	if err := c.upToDate(c.req, look); err != nil {
		return nil, err
	}
	return change()
}

// sources finds the entities that a path starts from.
func (c *call) sources(v *storage.View, every bool, own []param) ([]owner, error) {
	if every {
		ask, err := c.ask(&params{own: append(own, c.own...)}, defaultLimit)
		if err != nil {
			return nil, err
		}
		if err := withoutScoped(c.typ, &ask); err != nil {
			return nil, err
		}
		if ask.From, err = c.source(v, c.typ); err != nil {
			return nil, err
		}
		page, err := c.engine.Run(c.req.Context(), v, &ask)
		if err != nil {
			return nil, err
		}
		var owners []owner
		for i := range page.Rows {
			owners = append(owners, c.ownerOf(page.Rows[i].Collection, &page.Rows[i].Entity, c.typ, c.path))
		}
		return owners, nil
	}
	t, err := c.target(c.seg[1])
	if err != nil {
		return nil, err
	}
	e, found, err := c.find(v, &t)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, c.missing()
	}
	col, _, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
	return []owner{c.ownerOf(col, &e, c.typ, c.path)}, err
}

func (c *call) ownerOf(col entity.CollectionID, e *entity.Entity, typ *schema.Type, path string) owner {
	return owner{typ: typ, end: entity.End{Collection: col, Seq: e.Seq}, id: e.ID, path: path + "/" + e.ID.String()}
}

// follow goes one step of a path that goes on after it.
func (c *call) follow(v *storage.View, owners []owner, r *relation) ([]owner, error) {
	var next []owner
	seen := map[entity.ID]bool{}
	for i := range owners {
		rows, err := c.rowsOf(v, &owners[i], r)
		if err != nil {
			return nil, err
		}
		for j := range rows {
			row := &rows[j]
			if seen[row.Entity.ID] || len(next) == maxOwners {
				continue
			}
			seen[row.Entity.ID] = true
			typ, err := c.typeOf(v, row.Collection)
			if err != nil {
				return nil, err
			}
			next = append(next, c.ownerOf(row.Collection, &row.Entity, typ, owners[i].path+"/"+r.below))
		}
	}
	if r.target != nil && len(next) == 0 {
		return nil, notFound()
	}
	return next, nil
}

// rowsOf returns the far ends of an owner's connections on the way of a path: the one
// that it names, or a page.
func (c *call) rowsOf(v *storage.View, o *owner, r *relation) ([]query.Row, error) {
	if r.target != nil {
		row, found, err := c.connected(v, o, r)
		if err != nil || !found {
			return nil, err
		}
		return []query.Row{row}, nil
	}
	ask, err := c.ask(&params{own: r.own}, defaultLimit)
	if err != nil {
		return nil, err
	}
	page, err := c.runEdges(v, o, r, &ask)
	if err != nil {
		return nil, err
	}
	return page.Rows, nil
}

// connected finds the entity that a step names, if it is connected to the owner.
func (c *call) connected(v *storage.View, o *owner, r *relation) (row query.Row, found bool, err error) {
	for _, named := range r.of(o) {
		if row, found, err = c.lookUp(v, named); err != nil {
			return row, false, err
		}
		if !found {
			continue
		}
		if eseq, err := c.eseqOf(v, o, r, &row); err != nil || eseq != 0 {
			return row, err == nil, err
		}
	}
	return row, false, nil
}

// lookUp finds the entity that a step names, connected or not.
func (c *call) lookUp(v *storage.View, r *relation) (row query.Row, found bool, err error) {
	row.Distance = query.NoDistance
	typ := r.typ
	if typ == nil {
		name, _, found, err := storage.Locate(v, c.req.App.Number, r.target.ID)
		if err != nil || !found {
			return row, false, err
		}
		if typ, err = c.types.of(name); err != nil {
			return row, false, err
		}
	}
	if row.Entity, found, err = c.of(typ).find(v, r.target); err != nil || !found {
		return row, false, err
	}
	row.Collection, _, err = storage.ReadCollectionID(v, c.req.App.Number, typ.Collection)
	return row, err == nil, err
}

// verbsOf returns the numbers of the verbs that a step goes by: none if there are no
// such connections.
func (c *call) verbsOf(v *storage.View, o *owner, r *relation) ([]entity.VerbID, error) {
	if r.verb != "" {
		id, ok, err := storage.VerbID(v, c.req.App.Number, r.verb)
		if err != nil || !ok {
			return nil, err
		}
		return []entity.VerbID{id}, nil
	}
	list, err := storage.Verbs(v, c.req.App.Number, o.end, r.direction)
	if err != nil {
		return nil, err
	}
	var ids []entity.VerbID
	for _, verb := range list {
		if !hidden(verb.Name) {
			ids = append(ids, verb.Verb)
		}
	}
	return ids, nil
}

// runEdges runs a query over the connections of an owner, or over a list of his.
func (c *call) runEdges(v *storage.View, o *owner, r *relation, ask *query.Request) (*query.Page, error) {
	if r.list != 0 {
		return c.runList(v, o, r, ask)
	}
	verbs, err := c.verbsOf(v, o, r)
	if err != nil {
		return nil, err
	}
	edges := &query.Edges{Near: o.end, Direction: r.direction, Verbs: verbs}
	if r.typ != nil {
		col, ok, err := storage.ReadCollectionID(v, ask.App, r.typ.Collection)
		if err != nil {
			return nil, err
		}
		if !ok {
			edges.Verbs = nil
		}
		edges.Only = col
	}
	var failed error
	edges.Collection = func(id entity.CollectionID) (query.Collection, bool) {
		typ, err := c.typeOf(v, id)
		if err != nil {
			failed = err
		}
		if typ == nil {
			return query.Collection{}, false
		}
		return sourceOf(id, typ), true
	}
	ask.Edges, ask.Binding = edges, []byte(o.path+"/"+r.shown)
	page, err := c.engine.Run(c.req.Context(), v, ask)
	if err == nil {
		err = failed
	}
	return page, err
}

// showConnections answers GET of the last step of a path.
func (c *call) showConnections(v *storage.View, owners []owner, r *relation) (*wire.Reply, error) {
	p := &params{own: r.own, rest: c.req}
	if p.is("tree", "true") {
		return nil, notOffered("parameter tree")
	}
	absent := connectionsLimit
	if r.sub != nil || r.list != 0 {
		absent = defaultLimit
	}
	ask, err := c.ask(p, absent)
	if err != nil {
		return nil, err
	}
	if r.indexes {
		return c.showIndexes(v, owners, r)
	}
	reply := c.req.Entities(c.pathOf(owners, r))
	if p.is("analyzeOnly", "true") {
		return reply.Field("metadata", map[string]any{"queryWarnings": warnings(ask.Query)}), nil
	}
	if r.target == nil && len(owners) == 1 {
		return reply, c.showPage(v, &owners[0], r, &ask, p, reply)
	}
	return reply, c.showMerged(v, owners, r, &ask, reply)
}

// pathOf is the path that a reply says it is about.
func (c *call) pathOf(owners []owner, r *relation) string {
	if len(owners) == 0 {
		return c.path
	}
	return owners[0].path + "/" + r.shown
}

// showPage shows a page of the connections of one owner.
func (c *call) showPage(v *storage.View, o *owner, r *relation, ask *query.Request, p *params, reply *wire.Reply) error {
	if id, ok := entity.ParseID(p.first("start")); ok {
		start := *r
		start.target = &command.Target{ID: id}
		row, found, err := c.lookUp(v, &start)
		if err != nil {
			return err
		}
		if found {
			if ask.Start, err = c.eseqOf(v, o, r, &row); err != nil {
				return err
			}
		}
	}
	page, err := c.runEdges(v, o, r, ask)
	if err != nil {
		return err
	}
	s := c.newShow(v, ask, reply, func(*schema.Type) string { return o.path + "/" + r.below })
	if err := s.rows(page.Rows); err != nil {
		return err
	}
	s.finish(page)
	return nil
}

// eseqOf returns the number of the newest edge between an owner and an entity, or that of
// an activity in a list of his; 0 if there is none.
func (c *call) eseqOf(v *storage.View, o *owner, r *relation, row *query.Row) (newest entity.Seq, err error) {
	if r.list != 0 {
		_, listed, err := storage.Listed(v, c.req.App.Number, row.Entity.Seq, o.end, r.list)
		if err != nil || !listed {
			return 0, err
		}
		return row.Entity.Seq, nil
	}
	verbs, err := c.verbsOf(v, o, r)
	if err != nil {
		return 0, err
	}
	far := entity.End{Collection: row.Collection, Seq: row.Entity.Seq}
	for _, verb := range verbs {
		source, target := o.end, far
		if r.direction == keys.Inbound {
			source, target = far, o.end
		}
		eseq, ok, err := storage.Connected(v, c.req.App.Number, source, verb, target)
		if err != nil {
			return 0, err
		}
		if ok {
			newest = max(newest, eseq)
		}
	}
	return newest, nil
}

// showMerged shows the connections of several owners, or one entity that each may be
// connected to: in the order of the owners, each entity once. Such a page has no cursor.
func (c *call) showMerged(v *storage.View, owners []owner, r *relation, ask *query.Request, reply *wire.Reply) error {
	seen, at := map[entity.ID]bool{}, ""
	s := c.newShow(v, ask, reply, func(*schema.Type) string { return at })
	limit := ask.Limit
	var plan *query.Plan
	for i := range owners {
		var rows []query.Row
		if r.target != nil {
			row, found, err := c.connected(v, &owners[i], r)
			if err != nil {
				return err
			}
			if found {
				rows = []query.Row{row}
			}
		} else {
			page, err := c.runEdges(v, &owners[i], r, ask)
			if err != nil {
				return err
			}
			rows, plan = page.Rows, page.Plan
		}
		at = owners[i].path + "/" + r.below
		clear(s.shapes)
		for j := range rows {
			if seen[rows[j].Entity.ID] || len(seen) == limit {
				continue
			}
			seen[rows[j].Entity.ID] = true
			if err := s.row(&rows[j]); err != nil {
				return err
			}
		}
	}
	if r.target != nil && len(seen) == 0 {
		return notFound()
	}
	s.finish(&query.Page{Plan: plan})
	return nil
}

// showIndexes answers with the names of the properties that the far ends have.
func (c *call) showIndexes(v *storage.View, owners []owner, r *relation) (*wire.Reply, error) {
	reached := []string{}
	if r.typ != nil {
		reached = append(reached, r.typ.Collection)
	} else {
		for i := range owners {
			page, err := c.runEdges(v, &owners[i], r, &query.Request{App: c.req.App.Number, Query: &ql.Query{}, Limit: connectionsLimit})
			if err != nil {
				return nil, err
			}
			for j := range page.Rows {
				typ, err := c.typeOf(v, page.Rows[j].Collection)
				if err != nil {
					return nil, err
				}
				if !slices.Contains(reached, typ.Collection) {
					reached = append(reached, typ.Collection)
				}
			}
		}
	}
	names, err := c.indexNames(v, reached)
	return c.req.Entities(c.pathOf(owners, r)).Field("data", names), err
}
