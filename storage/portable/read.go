package portable

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Source is who wrote a file.
type Source byte

// Sources of files.
const (
	Unknown  Source = iota // the first object says
	Trellis                // the format of this package
	Usergrid               // an export of Usergrid
)

// Place is where a reader stands in a file: another may go on there.
type Place struct {
	Source Source
	At     uint64 // bytes
	Number uint64 // of the last object
}

// Reader reads a file line by line. What is wrong with one line is a JSONParse or
// IllegalArgument that names it, and the reader can go on behind it; Broken tells
// whether it cannot.
type Reader struct {
	s      *scanner
	source Source
	begun  bool // the first object was read
	seen   End  // counts of what was read
	ended  bool
	broken bool
}

// NewReader reads a file from its beginning.
func NewReader(r io.Reader) *Reader {
	s := newScanner(r)
	s.sum = sha256.New()
	return &Reader{s: s}
}

// Resume goes on where another reader stood: r begins there. What was before it is
// neither counted nor summed up.
func Resume(r io.Reader, at Place) *Reader {
	s := newScanner(r)
	s.at, s.number = at.At, at.Number
	return &Reader{s: s, source: at.Source, begun: at.Number > 0}
}

// Place is behind the last line that was read.
func (r *Reader) Place() Place { return Place{r.source, r.s.at, r.s.number} }

// Raw lends the object of the last line as it stands in the file, until the next.
func (r *Reader) Raw() []byte { return r.s.object }

// Broken reports whether nothing more can be read.
func (r *Reader) Broken() bool { return r.broken }

// Next returns the next line, which lives until the one after it; io.EOF at the end.
func (r *Reader) Next() (*Line, error) {
	raw, err := r.s.next()
	if err != nil {
		r.broken = true
		return nil, err
	}
	if r.ended {
		r.broken = true
		return nil, malformed(r.s.number, "there is more after the last line")
	}
	if !r.begun {
		r.begun = true
		if r.source == Unknown {
			r.source = sourceOf(raw)
		}
	}
	var line *Line
	if r.source == Usergrid {
		line, err = parseUsergrid(raw)
	} else {
		line, err = ParseLine(raw)
	}
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			err = &fault.Error{Code: f.Code, Message: lineText(r.s.number) + f.Message, Cause: f.Cause}
		}
		return nil, err
	}
	line.Number = r.s.number
	return line, r.note(line)
}

func lineText(number uint64) string { return fmt.Sprintf("line %d: ", number) }

// note counts a line, and checks what the last one says.
func (r *Reader) note(line *Line) error {
	switch line.Kind {
	case KindHeader:
		if line.Number != 1 {
			r.broken = true
			return malformed(line.Number, "a second header: two files stand in one")
		}
	case KindCollection:
		r.seen.Collections++
	case KindEntity:
		r.seen.Entities++
	case KindEdge:
		r.seen.Edges++
	case KindData:
		r.seen.Pieces++
	case KindFeed:
		r.seen.Feeds++
	case KindCounter:
		r.seen.Counters++
	case KindEnd:
		r.ended = true
		if r.s.sum == nil {
			return nil // it began somewhere else
		}
		seen := r.seen
		seen.Kind, seen.SHA256 = line.End.Kind, hex.EncodeToString(r.s.sum.Sum(nil))
		if *line.End != seen {
			r.broken = true
			return malformed(line.Number, "the file is damaged: its counts or its checksum do not match what was read")
		}
	}
	return nil
}

// Verify reads a whole file and returns its header and its counts: nil and nothing for
// one of Usergrid, which has neither. A file of ours that was cut or damaged is
// JSONParse.
func Verify(in io.Reader) (*Header, End, error) {
	r := NewReader(in)
	var header *Header
	for {
		line, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return header, r.seen, r.Whole()
		case err != nil && (r.broken || r.source == Trellis):
			return nil, End{}, err
		case err == nil && line.Kind == KindHeader:
			header = line.Header
		}
	}
}

// saved is a reader on its way through a file.
type saved struct {
	Place Place  `json:"place"`
	Seen  End    `json:"seen"`
	Ended bool   `json:"ended"`
	Sum   []byte `json:"sum"` // state of the hash
}

// Save returns what Continue needs to go on behind the last line that was read, with
// all that was counted and summed up before.
func (r *Reader) Save() ([]byte, error) {
	_, _ = r.s.sum.Write(r.s.object) // never fails
	r.s.object = r.s.object[:0]
	sum, err := r.s.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save a checksum: %w", err)
	}
	return json.Marshal(saved{r.Place(), r.seen, r.ended, sum})
}

// Continue makes the reader that was saved; in begins at its Place.
func Continue(in io.Reader, state []byte) (*Reader, error) {
	var s saved
	if err := json.Unmarshal(state, &s); err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "state of a reader")
	}
	r := Resume(in, s.Place)
	r.seen, r.ended, r.s.sum = s.Seen, s.Ended, sha256.New()
	if err := r.s.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.Sum); err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "state of a checksum")
	}
	return r, nil
}

// PlaceOf returns where a reader that was saved stands.
func PlaceOf(state []byte) (Place, error) {
	var s saved
	if err := json.Unmarshal(state, &s); err != nil {
		return Place{}, fault.Wrap(err, fault.Corrupt, "state of a reader")
	}
	return s.Place, nil
}

// Whole refuses a file that was read to its end and does not end as it must.
func (r *Reader) Whole() error {
	if !r.begun {
		return fault.New(fault.JSONParse, "the file is empty")
	}
	if r.source == Trellis && !r.ended {
		return fault.New(fault.JSONParse, "the file is cut: its last line is missing")
	}
	return nil
}

// Source returns who wrote the file, once something was read.
func (r *Reader) Source() Source { return r.source }

func sourceOf(raw []byte) Source {
	var first struct {
		Kind   string `json:"kind"`
		Format string `json:"format"`
	}
	if json.Unmarshal(raw, &first) == nil && first.Kind == "header" && first.Format == Format {
		return Trellis
	}
	return Usergrid
}

// record is any line of the format.
type record struct {
	Kind string `json:"kind"`

	Format       string `json:"format"`
	Version      int    `json:"version"`
	Organization string `json:"organization"`
	Application  string `json:"application"`
	UUID         string `json:"uuid"`
	Exported     int64  `json:"exported"`
	Only         string `json:"only"`
	NoData       bool   `json:"noData"`

	Name     string    `json:"name"`
	Settings *Settings `json:"settings"`

	Collection  string          `json:"collection"`
	Created     int64           `json:"created"`
	Modified    int64           `json:"modified"`
	Data        json.RawMessage `json:"data"`
	Permissions []string        `json:"permissions"`
	Credentials json.RawMessage `json:"credentials"` // of a header a boolean, of an entity a list

	Verb   string    `json:"verb"`
	Source [2]string `json:"source"`
	Target [2]string `json:"target"`

	Collections uint64          `json:"collections"`
	Entities    json.RawMessage `json:"entities"` // a number
	Edges       uint64          `json:"edges"`
	SHA256      string          `json:"sha256"`

	contents
}

// ParseLine reads one line of the format. What is in an entity's data is not looked at,
// but that it is an object. Faults: JSONParse, IllegalArgument.
func ParseLine(raw []byte) (*Line, error) {
	if !utf8.Valid(raw) {
		return nil, fault.New(fault.JSONParse, "not UTF-8")
	}
	var rec record
	if err := json.Unmarshal(raw, &rec); err != nil {
		why := err.Error()
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) { // whose text names types of Go
			why = wrong.Value + " stands where something else belongs"
		}
		return nil, fault.Wrap(err, fault.JSONParse, "not a line of an export: %.200s", why)
	}
	switch rec.Kind {
	case "header":
		return rec.header()
	case "collection":
		c := &Collection{Kind: rec.Kind, Name: rec.Name, Settings: rec.Settings}
		if c.Name == "" {
			return nil, fault.New(fault.IllegalArgument, "a collection without a name")
		}
		return &Line{Kind: KindCollection, Collection: c}, nil
	case "entity":
		return rec.entity()
	case "connection", "membership":
		return rec.edge()
	case "data":
		return rec.piece()
	case "feed":
		return rec.feed()
	case "counter":
		return rec.counter()
	case "end":
		end := &End{
			Kind: rec.Kind, Collections: rec.Collections, Edges: rec.Edges, SHA256: rec.SHA256,
			Pieces: rec.Pieces, Feeds: rec.Feeds, Counters: rec.Counters,
		}
		if json.Unmarshal(rec.Entities, &end.Entities) != nil {
			return nil, fault.New(fault.IllegalArgument, "the last line has no number of entities")
		}
		return &Line{Kind: KindEnd, End: end}, nil
	}
	if string(raw) == "{}" {
		return &Line{Kind: KindBlank}, nil
	}
	return nil, fault.New(fault.IllegalArgument, "a line of unknown kind %.40q", rec.Kind)
}

func (rec *record) header() (*Line, error) {
	if rec.Format != Format {
		return nil, fault.New(fault.IllegalArgument, "the file is of format %.40q, not %s", rec.Format, Format)
	}
	if rec.Version < 1 || rec.Version > Version {
		return nil, fault.New(fault.IllegalArgument, "the file is of version %d, and only versions up to %d can be read", rec.Version, Version)
	}
	return &Line{Kind: KindHeader, Header: &Header{
		Kind: rec.Kind, Format: rec.Format, Version: rec.Version, Organization: rec.Organization, Application: rec.Application,
		UUID: rec.UUID, Exported: rec.Exported, Credentials: string(rec.Credentials) == "true", Only: rec.Only, NoData: rec.NoData,
	}}, nil
}

func (rec *record) entity() (*Line, error) {
	id, ok := entity.ParseID(rec.UUID)
	switch {
	case !ok || id.IsZero():
		return nil, fault.New(fault.IllegalArgument, "an entity has no valid uuid")
	case rec.Collection == "":
		return nil, fault.New(fault.IllegalArgument, "entity %s has no collection", id)
	case len(rec.Data) == 0 || rec.Data[0] != '{':
		return nil, fault.New(fault.IllegalArgument, "the data of entity %s is not an object", id)
	}
	e := &Entity{Collection: rec.Collection, ID: id, Created: rec.Created, Modified: rec.Modified, JSON: rec.Data, Permissions: rec.Permissions}
	if len(rec.Credentials) > 0 && json.Unmarshal(rec.Credentials, &e.Credentials) != nil {
		return nil, fault.New(fault.IllegalArgument, "the credentials of entity %s are malformed", id)
	}
	return &Line{Kind: KindEntity, Entity: e}, nil
}

func (rec *record) edge() (*Line, error) {
	e := Edge{Verb: rec.Verb, Member: rec.Kind == "membership"}
	for _, end := range []struct {
		to   *EdgeEnd
		from [2]string
	}{{&e.Source, rec.Source}, {&e.Target, rec.Target}} {
		id, ok := entity.ParseID(end.from[1])
		if !ok || id.IsZero() || end.from[0] == "" {
			return nil, fault.New(fault.IllegalArgument, "an end of a %s is not a collection and a uuid", rec.Kind)
		}
		*end.to = EdgeEnd{Collection: end.from[0], ID: id}
	}
	if e.Verb == "" || strings.HasPrefix(e.Verb, "\x00") {
		return nil, fault.New(fault.IllegalArgument, "a %s has no verb", rec.Kind)
	}
	return &Line{Kind: KindEdge, Edges: []Edge{e}}, nil
}
