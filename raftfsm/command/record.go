package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const recordVersion = 1

// Record is an outcome as the dedup window keeps it: enough to answer a retry,
// without a second copy of JSON that the state holds anyway.
type Record struct {
	App  entity.AppID // of the command
	Kind Kind         // of the command
	// Outcome's entities have no JSON where Collections says where to read them.
	Outcome Outcome
	// Collections is as long as Outcome.Entities: the collection an entity
	// lies in, or 0 if the record holds it whole.
	Collections []entity.CollectionID
}

const (
	flagFault = 1 << iota
	flagCreated
	flagMore // source, collections or handled
)

// minRecorded is the size of the smallest entity in a record, minItemError that
// of the smallest item error.
const (
	minRecorded  = 1 + 1 + 18 + 5
	minItemError = 1 + 1 + 1
)

// AppendRecord appends the stored form of r.
//
//	version 1 · kind 1 · flags 1 · application uvarint · [code · message] ·
//	entities: count uvarint, each collection uvarint · size uvarint · record ·
//	item errors: count uvarint, each index uvarint · code · message ·
//	[source 16 · collections: count uvarint, each a string · handled uvarint]
func AppendRecord(dst []byte, r *Record) []byte {
	var flags byte
	if r.Outcome.Fault != nil {
		flags |= flagFault
	}
	if r.Outcome.Created {
		flags |= flagCreated
	}
	more := !r.Outcome.Source.IsZero() || len(r.Outcome.Collections) > 0 || r.Outcome.Handled != 0
	if more {
		flags |= flagMore
	}
	dst = append(dst, recordVersion, byte(r.Kind), flags)
	dst = binary.AppendUvarint(dst, uint64(r.App))
	if f := r.Outcome.Fault; f != nil {
		dst = appendString(appendString(dst, string(f.Code)), f.Message)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Outcome.Entities)))
	var head [80]byte
	for i, e := range r.Outcome.Entities {
		dst = binary.AppendUvarint(dst, uint64(r.Collections[i]))
		if r.Collections[i] != 0 {
			e.JSON = nil
			dst = appendBytes(dst, entity.AppendRecord(head[:0], &e))
			continue
		}
		dst = appendBytes(dst, entity.AppendRecord(nil, &e))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Outcome.Errors)))
	for _, e := range r.Outcome.Errors {
		dst = binary.AppendUvarint(dst, uint64(e.Index))
		dst = appendString(appendString(dst, string(e.Code)), e.Message)
	}
	if more {
		dst = appendStrings(append(dst, r.Outcome.Source[:]...), r.Outcome.Collections)
		dst = binary.AppendUvarint(dst, uint64(r.Outcome.Handled))
	}
	return dst
}

// DecodeRecord reads what AppendRecord wrote, or returns fault.Corrupt. JSON
// aliases b.
func DecodeRecord(b []byte) (Record, error) {
	var rec Record
	if len(b) < 3 || b[0] != recordVersion || b[2]&^(flagFault|flagCreated|flagMore) != 0 {
		return rec, corrupt("recorded outcome: bad header")
	}
	rec.Kind = Kind(b[1])
	rec.Outcome.Created = b[2]&flagCreated != 0
	r := reader{b: b[3:]}
	rec.App = entity.AppID(r.number())
	if b[2]&flagFault != 0 {
		rec.Outcome.Fault = &fault.Error{Code: fault.Code(r.string()), Message: r.string()}
	}
	if n := r.count(minRecorded); n > 0 {
		rec.Outcome.Entities = make([]entity.Entity, n)
		rec.Collections = make([]entity.CollectionID, n)
		for i := range n {
			rec.Collections[i] = entity.CollectionID(r.number())
			e, err := entity.DecodeRecord(r.bytes())
			if err != nil || (rec.Collections[i] != 0 && len(e.JSON) > 0) {
				return Record{}, corrupt("recorded outcome: damaged entity")
			}
			if len(e.JSON) == 0 {
				e.JSON = nil
			}
			rec.Outcome.Entities[i] = e
		}
	}
	if n := r.count(minItemError); n > 0 {
		rec.Outcome.Errors = make([]ItemError, n)
		for i := range n {
			rec.Outcome.Errors[i] = ItemError{Index: int(r.number()), Code: fault.Code(r.string()), Message: r.string()}
		}
	}
	if b[2]&flagMore != 0 {
		rec.Outcome.Source, rec.Outcome.Collections, rec.Outcome.Handled = r.id(), r.strings(), int(r.number())
	}
	if !r.done() {
		return Record{}, corrupt("recorded outcome: bad length")
	}
	return rec, nil
}
