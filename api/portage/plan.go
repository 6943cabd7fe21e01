package portage

import (
	"errors"
	"io"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// Bounds of a batch, so that applying it holds up nobody.
const (
	batchEntities = 300
	batchBytes    = 512 << 10 // of JSON, unless it is one entity
	batchEdges    = 500
	batchLines    = 5000 // that may be read for one, also those that are not of its part
	clockMargin   = 24 * 3600 * 1000

	batchActivities = command.MaxDelivered // in all lists
	batchCells      = command.MaxCells     // of all counters
	batchRead       = 32 << 20             // bytes that may be read for one, also of other parts
)

// Part says which lines of a file are imported.
type Part byte

// Parts of an import, in their order.
const (
	Entities Part = iota + 1 // collections and entities
	Edges                    // all that entities have to do with: connections and memberships, data, feeds, counters
)

// Options of an import.
type Options struct {
	Part        Part
	Replace     bool  // entities that are there already are made what they are in the file
	Credentials bool  // hashes of passwords are imported
	Now         int64 // ms since the epoch
	// Had reports whether an entity has data already, so that a piece of it is passed
	// over; nil: none has.
	Had func(*portable.Data) (bool, error)
}

// Point is where an import stands in a file.
type Point struct {
	Place  portable.Place
	Within uint64 // edges of the next line that are done
}

// Batch is what some lines become.
type Batch struct {
	Op      command.Op         // one of those that import, without a note; nil: only what follows
	Data    *portable.Data     // a piece of data is imported, and Op is nil
	Had     uint64             // entities that have their data already
	Then    []command.Op       // settings of collections
	Refused []entity.JobError  // lines that nothing came of
	Lines   func(i int) uint64 // of the i-th item of Op
	Next    Point
	End     bool // the file is done

	dataLine uint64 // number of the line of Data
}

// Planner makes batches of the lines of a file.
type Planner struct {
	r       *portable.Reader
	o       Options
	point   Point          // behind the last line that is in a batch
	pending *portable.Line // that was read, and is for the next batch
	refused error          // likewise, a line that could not be read
	behind  portable.Place // of pending or refused
}

// NewPlanner goes on in a file, whose reader stands at a point of it.
func NewPlanner(r *portable.Reader, at Point, o Options) *Planner {
	return &Planner{r: r, o: o, point: at}
}

// Next returns the next batch. A batch whose End is set may still have something in it.
// The error is one of reading, or says why nothing more of the file can be read.
func (p *Planner) Next() (Batch, error) {
	b := &builder{o: &p.o}
	begun := p.point.Place.At
	for n := 0; n < batchLines && p.point.Place.At-begun < batchRead; n++ {
		line, err := p.line()
		switch {
		case errors.Is(err, io.EOF):
			b.End, b.Next = true, p.point
			return b.Batch, nil
		case err != nil && p.r.Broken():
			return Batch{}, err
		case err != nil && p.o.Part == Edges: // it was told with the entities
		case err != nil:
			if !b.refuse(p.behind.Number, err) {
				return Batch{}, err
			}
		default:
			had, err := p.had(line)
			if err != nil {
				return Batch{}, err
			}
			if had {
				if line.Data.Last() {
					b.Had++
				}
				break
			}
			whole, full := b.add(line, &p.point)
			if full && !whole {
				b.Next = p.point
				return b.Batch, nil
			}
			if full {
				n = batchLines
			}
		}
		p.pending, p.refused = nil, nil
		p.point = Point{Place: p.behind}
	}
	b.Next = p.point
	return b.Batch, nil
}

// had reports whether a line is of data that is there already.
func (p *Planner) had(line *portable.Line) (bool, error) {
	if line.Kind != portable.KindData || p.o.Part != Edges || p.o.Had == nil {
		return false, nil
	}
	return p.o.Had(line.Data)
}

// line returns the line that was left, or the next one.
func (p *Planner) line() (*portable.Line, error) {
	if p.pending == nil && p.refused == nil {
		p.pending, p.refused = p.r.Next()
		p.behind = p.r.Place()
	}
	return p.pending, p.refused
}

// builder gathers lines that one command can do.
type builder struct {
	Batch
	o        *Options
	entities *command.ImportEntities
	edges    *command.ImportEdges
	feeds    *command.ImportFeeds
	counters *command.ImportCounters
	bytes    int
	entries  int // of feeds or counters
}

// refuse notes that a line is not imported. It reports false for an error that is not
// the line's.
func (b *builder) refuse(line uint64, err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) || wire.Status(f.Code) >= 500 && f.Code != fault.NotImplemented {
		return false
	}
	message := f.Message
	if len(message) > entity.MaxJobText {
		message = strings.ToValidUTF8(message[:entity.MaxJobText], "")
	}
	b.Refused = append(b.Refused, entity.JobError{Line: line, Code: f.Code, Message: message})
	return true
}

// add takes a line in. whole says that nothing of it is left for the next batch, full
// that nothing more goes into this one.
func (b *builder) add(line *portable.Line, at *Point) (whole, full bool) {
	var err error
	switch {
	case line.Kind == portable.KindCollection && b.o.Part == Entities:
		if b.Op != nil {
			return false, true
		}
		err = b.settings(line)
		full = len(b.Then) >= 32
	case line.Kind == portable.KindEntity && b.o.Part == Entities:
		if len(b.Then) > 0 {
			return false, true // its collection is indexed as it is told before anything is in it
		}
		whole, full, err = b.entity(line)
		if err == nil && !whole {
			return false, true
		}
	case line.Kind >= portable.KindData && line.Kind <= portable.KindCounter && b.o.Part == Edges:
		whole, full, err = b.content(line)
		if err == nil && !whole {
			return false, true
		}
	case len(line.Edges) > 0 && b.o.Part == Edges:
		if b.Op != nil && b.edges == nil {
			return false, true
		}
		for at.Within < uint64(len(line.Edges)) {
			if b.edges != nil && len(b.edges.Edges) >= batchEdges {
				return false, true
			}
			if err := b.edge(&line.Edges[at.Within], line.Number); err != nil {
				b.refuse(line.Number, err)
			}
			at.Within++
		}
		full = b.edges != nil && len(b.edges.Edges) >= batchEdges
	}
	if err != nil {
		b.refuse(line.Number, err)
	}
	return true, full || len(b.Refused) >= batchEntities
}

func (b *builder) settings(line *portable.Line) error {
	typ, err := offered(line.Collection.Name)
	if err != nil {
		return err
	}
	op := command.PutSettings{Collection: typ.Collection, Task: entity.NewID(), Replace: true, By: "import"}
	s := line.Collection.Settings
	if s == nil {
		b.Then = append(b.Then, command.CreateEntities{Rules: typ.Rules()})
		return nil
	}
	all, none, list, err := s.FieldList()
	if err != nil {
		return err
	}
	composites, err := s.Composites()
	if err != nil {
		return err
	}
	op.Fields = &command.Fields{All: all, None: none, List: list}
	if !all && !none {
		op.Fields.Declared = typ.Declared()
	}
	op.Composites, op.QueueIndex, op.IndexConsistency = &composites, &s.QueueIndex, &s.IndexConsistency
	b.Then = append(b.Then, op)
	return nil
}

// offered returns the type of a collection that this version serves.
func offered(name string) (*schema.Type, error) {
	typ, err := schema.Of(name)
	if err == nil && !typ.Offered {
		err = fault.New(fault.NotImplemented, "%s: not offered by this version", typ.Collection)
	}
	return typ, err
}

func (b *builder) entity(line *portable.Line) (whole, full bool, err error) {
	e := line.Entity
	typ, err := offered(e.Collection)
	if err != nil {
		return true, false, err
	}
	if b.entities != nil && (b.entities.Rules.Collection != typ.Collection || len(b.entities.Items) >= batchEntities || b.bytes+len(e.JSON) > batchBytes) {
		return false, true, nil
	}
	item, err := b.item(typ, line)
	if err != nil {
		return true, false, err
	}
	if b.entities == nil {
		b.entities = &command.ImportEntities{Rules: typ.Rules(), Replace: b.o.Replace, Adopt: typ.Collection == "roles"}
		b.Lines = func(i int) uint64 { return b.entities.Items[i].Line }
	}
	b.entities.Items = append(b.entities.Items, item)
	b.bytes += len(item.JSON)
	b.Op = *b.entities
	return true, false, nil
}

// item makes of an entity what is proposed. Times of the future are refused: nobody
// could change such an entity and have it newer.
func (b *builder) item(typ *schema.Type, line *portable.Line) (item command.ImportItem, err error) {
	e := line.Entity
	item = command.ImportItem{NewEntity: command.NewEntity{ID: e.ID, Created: e.Created, Modified: e.Modified}, Line: line.Number}
	if item.Created <= 0 {
		item.Created = b.o.Now
	}
	item.Modified = max(item.Modified, item.Created)
	if item.Modified > b.o.Now+clockMargin {
		return item, fault.New(fault.IllegalArgument, "entity %s is of the future: %d", e.ID, item.Modified)
	}
	if item.JSON, err = collections.Imported(typ, e.JSON, b.o.Now); err != nil {
		return item, err
	}
	if holds := typ.Collection; holds == "users" || holds == "groups" || holds == "roles" {
		for _, text := range e.Permissions {
			permission, err := auth.ParsePermission(text)
			if err != nil {
				return item, err
			}
			item.Permissions = append(item.Permissions, permission.String())
		}
	}
	if !b.o.Credentials || typ.Collection != "users" {
		return item, nil
	}
	for _, c := range e.Credentials {
		if c.Kind != portable.Password || len(c.Value) == 0 || len(c.Value) > maxHash {
			return item, fault.New(fault.IllegalArgument, "entity %s has a credential of unknown kind %.40q", e.ID, c.Kind)
		}
		item.Credentials = append(item.Credentials, command.Credential{Kind: entity.CredentialPassword, Value: []byte(c.Value)})
	}
	return item, nil
}

// maxHash is how long the hash of a password may be, in bytes.
const maxHash = 1 << 10

func (b *builder) edge(e *portable.Edge, line uint64) error {
	made := command.ImportEdge{Verb: e.Verb, Line: line}
	var err error
	if made.Source, err = ref(&e.Source); err != nil {
		return err
	}
	if made.Target, err = ref(&e.Target); err != nil {
		return err
	}
	if e.Member {
		verb, from, to, ok := entity.Membership(e.Verb)
		if !ok || made.Target.Collection != to || made.Target.Any || made.Source.Any || !contains(from, made.Source.Collection) {
			return fault.New(fault.IllegalArgument, "no membership %.60q leads from %.60q to %.60q", e.Verb, made.Source.Collection, made.Target.Collection)
		}
		made.Verb = verb
	} else if entity.ReservedVerb(e.Verb) {
		return fault.New(fault.IllegalArgument, "a connection cannot have the verb %.60q", e.Verb)
	}
	if b.edges == nil {
		b.edges = &command.ImportEdges{}
		b.Lines = func(i int) uint64 { return b.edges.Edges[i].Line }
	}
	b.edges.Edges = append(b.edges.Edges, made)
	b.Op = *b.edges
	return nil
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// ref names an end of an edge.
func ref(end *portable.EdgeEnd) (command.Ref, error) {
	if end.Collection == "" {
		return command.Ref{Any: true, Target: command.Target{ID: end.ID}}, nil
	}
	typ, err := schema.Of(end.Collection)
	if err != nil {
		return command.Ref{}, err
	}
	r := command.Ref{Collection: typ.Collection, Target: command.Target{ID: end.ID}}
	if end.ID.IsZero() {
		if len(typ.Aliases) == 0 || end.Name == "" {
			return command.Ref{}, fault.New(fault.IllegalArgument, "an end of a connection has no uuid")
		}
		r.Target.Aliases = []command.Alias{{Property: typ.Aliases[0], Value: end.Name}}
	}
	return r, nil
}
