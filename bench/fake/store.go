package fake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Fault is a promise the fake breaks.
type Fault string

// The faults.
const (
	None   Fault = ""
	Lose   Fault = "lose"   // acknowledges some writes that are not in the journal
	Half   Fault = "half"   // journals some updates without one of their properties
	Twice  Fault = "twice"  // does not look whether a name is taken
	Skip   Fault = "skip"   // leaves an entity out between two pages
	Repeat Fault = "repeat" // shows an entity again on the next page
	Wrong  Fault = "wrong"  // answers some reads with another entity
	Torn   Fault = "torn"   // takes a damaged journal for the end of it
	Drop   Fault = "drop"   // acknowledges some writes without doing them
	Stale  Fault = "stale"  // answers some reads with the state before the last write
	Young  Fault = "young"  // answers stale reads with an older state than it says
	Strict Fault = "strict" // answers stale reads like all others, and so does not say how old they are
	Mute   Fault = "mute"   // does not answer some writes: no promise is broken
	Forget Fault = "forget" // does the same, and takes the retry for another write
	Count  Fault = "count"  // counts an entity too many
	Dirty  Fault = "dirty"  // its check finds something
)

// every is how often a fault strikes.
const every = 37

type object map[string]json.RawMessage

// item is an entity.
type item struct {
	seq        int
	collection string
	id, name   string
	body       object
	before     object // body before the last write
}

// change is a line of the journal.
type change struct {
	Collection string `json:"collection"`
	Seq        int    `json:"seq"`
	ID         string `json:"id"`
	Body       object `json:"body"`          // null deletes
	Key        string `json:"key,omitempty"` // idempotency key of the request
}

// store keeps entities and their journal.
type store struct {
	mu      sync.Mutex
	fault   Fault
	journal *os.File // nil keeps nothing
	writes  int
	seq     int
	order   map[string][]*item // by seq, within a collection
	byID    map[string]*item   // by collection and id
	byName  map[string]*item   // by collection and name, the last if several
	key     string             // idempotency key of the request that is handled
	done    map[string]object  // body of what the request of a key wrote or deleted
}

func openStore(path string, fault Fault) (*store, error) {
	s := &store{fault: fault, order: map[string][]*item{}, byID: map[string]*item{}, byName: map[string]*item{}, done: map[string]object{}}
	if path == "" {
		return s, nil
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// A kill can cut the write of the last line short; nobody was told that it is there, and the next line must not follow it.
	whole := old[:bytes.LastIndexByte(old, '\n')+1]
	if err := s.replay(whole); err != nil {
		return nil, err
	}
	s.journal, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return s, s.journal.Truncate(int64(len(whole)))
}

// replay applies the journal; a damaged one is an error.
func (s *store) replay(journal []byte) error {
	for line := range bytes.Lines(journal) {
		c, err := parseLine(line)
		if err != nil && s.fault == Torn {
			return nil
		} else if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		s.apply(c)
	}
	return nil
}

// appendLine appends a line of the journal: CRC-32 of the change in hex, and the change
// as JSON.
func appendLine(dst []byte, c *change) ([]byte, error) {
	encoded, err := json.Marshal(c)
	if err != nil {
		return dst, err
	}
	dst = fmt.Appendf(dst, "%08x ", crc32.ChecksumIEEE(encoded))
	return append(append(dst, encoded...), '\n'), nil
}

func parseLine(line []byte) (c change, err error) {
	sum, encoded, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(encoded)) {
		return c, errors.New("a line is damaged")
	}
	return c, json.Unmarshal(encoded, &c)
}

func text(raw json.RawMessage) string {
	var v string
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	return v
}

func key(collection, selector string) string { return collection + "/" + strings.ToLower(selector) }

func (s *store) apply(c change) {
	old := s.byID[key(c.Collection, c.ID)]
	if c.Key != "" && s.fault != Forget {
		s.done[c.Key] = c.Body
		if c.Body == nil && old != nil {
			s.done[c.Key] = old.body
		}
	}
	if c.Body == nil {
		if old == nil {
			return
		}
		delete(s.byID, key(c.Collection, c.ID))
		if s.byName[key(c.Collection, old.name)] == old {
			delete(s.byName, key(c.Collection, old.name))
		}
		list := s.order[c.Collection]
		i, _ := slices.BinarySearchFunc(list, old.seq, func(e *item, seq int) int { return e.seq - seq })
		s.order[c.Collection] = slices.Delete(list, i, i+1)
		return
	}
	s.seq = max(s.seq, c.Seq)
	if old != nil {
		old.before, old.body = old.body, c.Body
		return
	}
	e := &item{seq: c.Seq, collection: c.Collection, id: c.ID, name: text(c.Body["name"]), body: c.Body}
	// The journal of a store that loses writes can begin an entity with a later update of it, after entities of higher seq.
	list := s.order[c.Collection]
	at, _ := slices.BinarySearchFunc(list, e.seq, func(e *item, seq int) int { return e.seq - seq })
	s.order[c.Collection] = slices.Insert(list, at, e)
	s.byID[key(c.Collection, e.id)] = e
	s.byName[key(c.Collection, e.name)] = e
}

// commit journals a change and applies it.
func (s *store) commit(c change) error {
	s.writes++
	struck := s.writes%every == 0
	if struck && s.fault == Drop {
		return nil
	}
	c.Key = s.key
	line := c
	if struck && s.fault == Half && c.Body != nil && c.Body["twin"] != nil {
		line.Body = object{}
		for k, v := range c.Body {
			line.Body[k] = v
		}
		line.Body["twin"] = json.RawMessage("0")
	}
	if s.journal != nil && (!struck || s.fault != Lose) {
		encoded, err := appendLine(nil, &line)
		if err != nil {
			return err
		}
		if _, err := s.journal.Write(encoded); err != nil {
			return err
		}
	}
	s.apply(c)
	return nil
}

func (s *store) find(collection, selector string) *item {
	if e := s.byID[key(collection, selector)]; e != nil {
		return e
	}
	return s.byName[key(collection, selector)]
}

// errTaken is a name that is not free.
var errTaken = errors.New("name is taken")

func (s *store) create(collection string, body object) (*item, error) {
	name := text(body["name"])
	if s.fault != Twice && name != "" && s.byName[key(collection, name)] != nil {
		return nil, errTaken
	}
	s.seq++
	id := uuid.Must(uuid.NewV7()).String()
	now := json.RawMessage(fmt.Sprint(time.Now().UnixMilli()))
	body["uuid"], body["created"], body["modified"] = json.RawMessage(`"`+id+`"`), now, now
	if err := s.commit(change{Collection: collection, Seq: s.seq, ID: id, Body: body}); err != nil {
		return nil, err
	}
	return &item{body: body}, nil
}

func (s *store) put(collection, selector string, body object) (*item, error) {
	e := s.find(collection, selector)
	if e == nil {
		if body["name"] == nil {
			body["name"] = json.RawMessage(`"` + selector + `"`)
		}
		return s.create(collection, body)
	}
	merged := object{}
	for k, v := range e.body {
		merged[k] = v
	}
	for k, v := range body {
		if k != "uuid" {
			merged[k] = v
		}
	}
	return &item{body: merged}, s.commit(change{Collection: collection, Seq: e.seq, ID: e.id, Body: merged})
}

// page gives up to limit entities below seq, newest first, and the position of
// the next page or 0.
func (s *store) page(collection string, below, limit int) ([]*item, int) {
	list := s.order[collection]
	end := len(list)
	if below > 0 {
		end, _ = slices.BinarySearchFunc(list, below, func(e *item, seq int) int { return e.seq - seq })
	}
	var out []*item
	for i := end - 1; i >= 0 && len(out) < limit; i-- {
		out = append(out, list[i])
	}
	if len(out) < limit || end-len(out) <= 0 {
		return out, 0
	}
	next := out[len(out)-1].seq
	switch s.fault {
	case Skip:
		next--
	case Repeat:
		next++
	}
	return out, next
}
