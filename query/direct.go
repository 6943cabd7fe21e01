package query

import (
	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// maxDirect is how many entities a query may name one by one.
const maxDirect = 1000

// direct returns the entities that the query names, by UUID or alias, in the order
// listed. Unknown and repeated ones are dropped.
func (s *search) direct() {
	targets := s.req.Query.Direct
	if len(targets) > maxDirect {
		s.fail(fault.New(fault.TooManyDirect, "a query can name %d entities, not %d", maxDirect, len(targets)))
		return
	}
	defer s.explain(func() *Plan { return &Plan{Kind: "direct", Estimated: len(targets), Examined: s.meter.examined} })
	if s.req.Limit == 0 {
		return
	}
	s.req.Limit = maxDirect
	if s.req.Edges != nil {
		s.directEdges(targets)
		return
	}
	if s.req.From.ID == 0 {
		return
	}
	seen := make(map[entity.Seq]bool, len(targets))
	for _, target := range targets {
		e, ok, err := s.named(target)
		if s.fail(err) || s.fail(s.meter.add(2)) {
			return
		}
		if !ok || seen[e.Seq] || s.req.List != nil && !s.inList(e.Seq) {
			continue
		}
		seen[e.Seq] = true
		if !s.emit(s.req.From.ID, &e, 0, NoDistance) {
			s.tooLarge()
			return
		}
	}
}

// tooLarge ends a search for named entities that are more than a page can hold: there is
// no cursor to go on with.
func (s *search) tooLarge() {
	s.fail(fault.New(fault.QueryTooCostly, "the entities named are larger than %d bytes together: name fewer", s.cfg.PageBytes))
}

// named returns the entity of the collection that a target names.
func (s *search) named(target string) (entity.Entity, bool, error) {
	app, from := s.req.App, &s.req.From
	if id, ok := entity.ParseID(target); ok {
		return storage.ReadEntityByID(s.view, app, from.ID, id)
	}
	return storage.ReadEntityByAlias(s.view, app, from.ID, from.alias(), target)
}

func (c *Collection) alias() string {
	if c.Alias == "" {
		return "name"
	}
	return c.Alias
}

// directEdges is direct for connections: a target counts only if it is connected, and a
// name may be one in any of the collections that edges lead to.
func (s *search) directEdges(targets []string) {
	ids := make(map[entity.ID]int)
	names := make(map[string]int)
	for i, target := range targets {
		if id, ok := entity.ParseID(target); ok {
			if _, again := ids[id]; !again {
				ids[id] = i
			}
		} else if _, again := names[keys.Fold(target)]; !again {
			names[keys.Fold(target)] = i
		}
	}
	found := make([]*edgeHead, len(targets))
	s.eachTarget(0, func(edge *edgeHead, e *entity.Entity) bool {
		i, ok := ids[e.ID]
		if !ok && len(names) > 0 {
			c, _ := s.req.Edges.Collection(edge.far.Collection)
			i, ok = names[aliasOf(e.JSON, c.alias())]
		}
		if ok && found[i] == nil {
			head := *edge
			found[i] = &head
		}
		return true
	})
	seen := make(map[entity.End]bool)
	for _, edge := range found {
		if edge == nil || seen[edge.far] || s.err != nil {
			continue
		}
		seen[edge.far] = true
		e, ok := s.get(edge.far)
		if ok && !s.emit(edge.far.Collection, &e, edge.eseq, NoDistance) {
			s.tooLarge()
			return
		}
	}
}

// aliasOf returns the folded text of a property, or "".
func aliasOf(json []byte, property string) string {
	o := index.NewObject(json)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		if p.Is(property) {
			text, _ := p.Text()
			return keys.Fold(text)
		}
	}
	return ""
}
