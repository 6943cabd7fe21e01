package portable

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/trellisdb/trellis/storage/entity"
)

// Writer writes a file. Its lines come in this order: header, collections, entities, each
// with its data behind it, edges, feeds, counters, end. The first error stays.
type Writer struct {
	w    io.Writer
	sum  hash.Hash
	end  End
	line []byte
	n    int64
	err  error
}

// NewWriter writes to w, a line at a time.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, sum: sha256.New()} }

// Err returns the first error of writing.
func (w *Writer) Err() error { return w.err }

// Lines returns how many lines were written.
func (w *Writer) Lines() uint64 {
	return w.end.Collections + w.end.Entities + w.end.Edges + w.end.Pieces + w.end.Feeds + w.end.Counters + 1
}

// Bytes returns how many bytes were written.
func (w *Writer) Bytes() int64 { return w.n }

// Header begins the file.
func (w *Writer) Header(h Header) {
	h.Kind, h.Format, h.Version = "header", Format, Version
	w.object(h)
}

// Collection writes a collection.
func (w *Writer) Collection(c Collection) {
	c.Kind = "collection"
	w.end.Collections++
	w.object(c)
}

// Entity writes an entity, whose JSON is copied as it is.
func (w *Writer) Entity(collection []byte, e *entity.Entity, permissions []string, credentials []Credential) {
	w.end.Entities++
	b := w.line[:0]
	b = append(append(b, `{"kind":"entity","collection":`...), collection...)
	b = append(e.ID.AppendText(append(b, `,"uuid":"`...)), `","created":`...)
	b = strconv.AppendInt(b, e.Created, 10)
	b = strconv.AppendInt(append(b, `,"modified":`...), e.Modified, 10)
	b = append(append(b, `,"data":`...), e.JSON...)
	if len(permissions) > 0 {
		b = w.member(b, "permissions", permissions)
	}
	if len(credentials) > 0 {
		b = w.member(b, "credentials", credentials)
	}
	w.put(append(b, '}', '\n'))
}

func (w *Writer) member(b []byte, name string, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	return append(append(append(append(b, `,"`...), name...), `":`...), text...)
}

// Quoted returns a name as Entity and Edge want it.
func Quoted(name string) []byte {
	text, err := json.Marshal(name)
	if err != nil { // a string always can be
		panic(err)
	}
	return text
}

// Edge writes a connection, or if member a membership. The collections and the verb
// are quoted.
func (w *Writer) Edge(member bool, source []byte, from entity.ID, verb []byte, target []byte, to entity.ID) {
	w.end.Edges++
	kind := `{"kind":"connection","verb":`
	if member {
		kind = `{"kind":"membership","verb":`
	}
	b := append(append(w.line[:0], kind...), verb...)
	b = append(append(b, `,"source":[`...), source...)
	b = append(from.AppendText(append(b, `,"`...)), `"],"target":[`...)
	b = append(b, target...)
	b = append(to.AppendText(append(b, `,"`...)), `"]}`...)
	w.put(append(b, '\n'))
}

// End ends the file.
func (w *Writer) End() {
	w.end.Kind, w.end.SHA256 = "end", hex.EncodeToString(w.sum.Sum(nil))
	w.object(w.end)
}

// Counts returns what an end would say now.
func (w *Writer) Counts() End { return w.end }

func (w *Writer) object(v any) {
	text, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("line of an export: %w", err)
	}
	w.put(append(append(w.line[:0], text...), '\n'))
}

func (w *Writer) put(line []byte) {
	if w.line = line; cap(line) > 1<<20 {
		w.line = nil // a large one is not held
	}
	if w.err != nil {
		return
	}
	_, _ = w.sum.Write(line) // never fails
	w.n += int64(len(line))
	_, w.err = w.w.Write(line)
}
