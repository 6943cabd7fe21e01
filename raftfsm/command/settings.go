package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// PutSettings says what of a collection is indexed, and creates it if it does not
// exist. If that is another plan than before and there are entities, the task that
// indexes them anew is recorded in the same step. What is not named (nil) stays as it
// is, or if Replace is dropped. Faults: IllegalArgument (malformed, or more than the
// limits of entity allow); Conflict (too many earlier changes are not done yet).
type PutSettings struct {
	Collection string
	Task       entity.ID // of the task, if there is to be one
	Replace    bool
	Fields     *Fields
	Composites *[][]entity.CompositeKey
	By         string // who changes them, for clients to read again
	// For clients to read again, without any effect.
	QueueIndex, IndexConsistency, Region *string
}

// Fields says which properties are indexed. Names are folded by apply.
type Fields struct {
	All, None bool
	List      []string // if neither
	Declared  []string // if neither: also these, which clients are not told of
}

// ClearSettings removes the settings of a collection: everything is indexed, and no
// composite index is declared. A collection that does not exist is left alone.
type ClearSettings struct {
	Collection string
	Task       entity.ID
}

// Reindex records a task that indexes anew what is still indexed by an older plan, of
// entities modified at a time or later. Fault: ServiceResourceNotFound.
type Reindex struct {
	Collection string
	Task       entity.ID
	Updated    int64 // ms since the epoch
}

// MaxSeqs is how many entities a command may name by their numbers.
const MaxSeqs = 1000

// ReindexStep writes the index entries of entities by the current plan. An entity
// that is so indexed, or is not there, is left alone, and so is one that cannot be
// indexed by it: because it would have too many entries, or the collection too many
// properties.
type ReindexStep struct {
	Collection string
	Seqs       []entity.Seq
}

// ClearStep removes those of the entities named that were last modified before a time,
// or all of them if that is 0.
type ClearStep struct {
	Collection string
	Seqs       []entity.Seq
	Before     int64 // ms since the epoch
}

func (PutSettings) kind() Kind   { return KindPutSettings }
func (ClearSettings) kind() Kind { return KindClearSettings }
func (Reindex) kind() Kind       { return KindReindex }
func (ReindexStep) kind() Kind   { return KindReindexStep }
func (ClearStep) kind() Kind     { return KindClearStep }

func (o PutSettings) appendBody(dst []byte) []byte {
	dst = appendString(dst, o.Collection)
	dst = append(dst, o.Task[:]...)
	dst = appendBool(dst, o.Replace)
	dst = appendString(dst, o.By)
	if dst = appendBool(dst, o.Fields != nil); o.Fields != nil {
		dst = appendBool(appendBool(dst, o.Fields.All), o.Fields.None)
		dst = appendStrings(appendStrings(dst, o.Fields.List), o.Fields.Declared)
	}
	if dst = appendBool(dst, o.Composites != nil); o.Composites != nil {
		dst = binary.AppendUvarint(dst, uint64(len(*o.Composites)))
		for _, keys := range *o.Composites {
			dst = binary.AppendUvarint(dst, uint64(len(keys)))
			for _, key := range keys {
				dst = appendBool(appendString(dst, key.Property), key.Desc)
			}
		}
	}
	for _, text := range []*string{o.QueueIndex, o.IndexConsistency, o.Region} {
		if dst = appendBool(dst, text != nil); text != nil {
			dst = appendString(dst, *text)
		}
	}
	return dst
}

func (r *reader) putSettings() Op {
	o := PutSettings{Collection: r.string(), Task: r.id(), Replace: r.bool(), By: r.string()}
	if r.bool() {
		o.Fields = &Fields{All: r.bool(), None: r.bool(), List: r.strings(), Declared: r.strings()}
	}
	if r.bool() {
		list := make([][]entity.CompositeKey, r.count(1))
		for i := range list {
			list[i] = make([]entity.CompositeKey, r.count(2))
			for k := range list[i] {
				list[i][k] = entity.CompositeKey{Property: r.string(), Desc: r.bool()}
			}
		}
		o.Composites = &list
	}
	for _, text := range []**string{&o.QueueIndex, &o.IndexConsistency, &o.Region} {
		if r.bool() {
			s := r.string()
			*text = &s
		}
	}
	return o
}

func (o ClearSettings) appendBody(dst []byte) []byte {
	return append(appendString(dst, o.Collection), o.Task[:]...)
}

func (o Reindex) appendBody(dst []byte) []byte {
	dst = append(appendString(dst, o.Collection), o.Task[:]...)
	return binary.AppendVarint(dst, o.Updated)
}

func appendSeqs(dst []byte, seqs []entity.Seq) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(seqs)))
	for _, seq := range seqs {
		dst = binary.AppendUvarint(dst, uint64(seq))
	}
	return dst
}

func (r *reader) seqs() []entity.Seq {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	list := make([]entity.Seq, n)
	for i := range list {
		list[i] = entity.Seq(r.uvarint())
	}
	return list
}

func (o ReindexStep) appendBody(dst []byte) []byte {
	return appendSeqs(appendString(dst, o.Collection), o.Seqs)
}

func (o ClearStep) appendBody(dst []byte) []byte {
	return binary.AppendVarint(appendSeqs(appendString(dst, o.Collection), o.Seqs), o.Before)
}
