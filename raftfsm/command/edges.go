package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// MaxMany is how many entities or edges one command may name.
const MaxMany = 1000

// MaxManyBytes is how much JSON of entities a command that names many deals with,
// unless the first alone has more: that bounds the batch, the outcome and its record
// in the dedup window. What is left waits for another command.
const MaxManyBytes = 1 << 20

// Ref names an existing entity in a collection. If Any, Target.ID may be in every
// collection of the application, and Collection, which may be empty, is where it is
// looked for first.
type Ref struct {
	Collection string
	Any        bool
	Target     Target
}

// Connect makes an edge from source to target. If there is one by that verb, it
// becomes the newest of its verb, or if Keep stays as it is. Neither entity is
// modified by it.
//
// If the target exists and Patch is not empty, it is first updated as by
// UpdateEntity. If it does not exist, or Target is zero, and Create is not nil, it is
// created and Outcome.Created is set. Both are done in Rules.Collection, and the
// target is looked for there. Everything happens together, or is refused together.
//
// Outcome.Entities holds the target, Outcome.Collections its collection and
// Outcome.Source the id of the source. Faults: ServiceResourceNotFound (no such
// source, or no such target and no Create), IllegalArgument (the verb), and those of
// UpdateEntity, except that an id of another collection is ServiceResourceNotFound.
type Connect struct {
	Source Ref
	Verb   string // in any case
	Target Ref
	Keep   bool
	Rules  Rules
	Patch  []byte
	Create *NewEntity
}

// Disconnect removes the edges from source to targets by a verb. A target that does
// not exist is skipped, and if Strict also one that is not connected; if all are, the
// command is refused with ServiceResourceNotFound, like one without such a source.
//
// Outcome.Entities holds the targets, without a removed edge those that had none,
// Outcome.Collections their collections, Outcome.Source the id of the source, and
// Outcome.Handled how many of Targets were dealt with: at most MaxMany may be named,
// and MaxManyBytes counts.
type Disconnect struct {
	Source  Ref
	Verb    string
	Strict  bool
	Targets []Ref
}

// DropEdges removes at most Limit edges of entities that are gone, and entries of lists
// of activities that they had or were in; those of others are left alone. It is what the steps of a task of kind entity.TaskDropEdges do,
// whose body is AppendEnds of the entities.
type DropEdges struct {
	Ends  []entity.End
	Limit uint32
}

// DeleteEntities deletes entities of one collection as DeleteEntity does, those that
// still exist. Outcome.Entities holds their last states in the order of IDs,
// Outcome.Handled how many of IDs were dealt with: at most MaxMany may be named, and
// MaxManyBytes counts.
type DeleteEntities struct {
	Collection string
	IDs        []entity.ID
}

// UpdateEntities applies one patch to entities of one collection as UpdateEntity
// does, to those that still exist. If one cannot be, all are refused. Outcome.Entities
// holds them after the change in the order of IDs, Outcome.Handled how many of IDs
// were dealt with: at most MaxMany may be named, and MaxManyBytes counts. Faults:
// Duplicate (also if the patch would give several the same unique value),
// EntityTooLarge.
type UpdateEntities struct {
	Rules Rules
	IDs   []entity.ID
	Patch []byte
}

func (Connect) kind() Kind        { return KindConnect }
func (Disconnect) kind() Kind     { return KindDisconnect }
func (DropEdges) kind() Kind      { return KindDropEdges }
func (DeleteEntities) kind() Kind { return KindDeleteEntities }
func (UpdateEntities) kind() Kind { return KindUpdateEntities }

// minRef is the size of the smallest reference to an entity, minEnd that of the
// smallest end.
const (
	minRef = 1 + 1 + 16 + 1
	minEnd = 1 + 1
)

func appendRef(dst []byte, ref *Ref) []byte {
	return appendTarget(appendBool(appendString(dst, ref.Collection), ref.Any), &ref.Target)
}

func (r *reader) ref() Ref { return Ref{Collection: r.string(), Any: r.bool(), Target: r.target()} }

func appendIDs(dst []byte, ids []entity.ID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

func (r *reader) ids() []entity.ID {
	n := r.count(16)
	if n == 0 {
		return nil
	}
	ids := make([]entity.ID, n)
	for i := range ids {
		ids[i] = r.id()
	}
	return ids
}

// AppendEnds appends a list of ends.
//
//	count uvarint · collection uvarint · seq uvarint, each
func AppendEnds(dst []byte, ends []entity.End) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ends)))
	for _, end := range ends {
		dst = binary.AppendUvarint(dst, uint64(end.Collection))
		dst = binary.AppendUvarint(dst, uint64(end.Seq))
	}
	return dst
}

// DecodeEnds reads what AppendEnds wrote, or returns fault.Corrupt.
func DecodeEnds(b []byte) ([]entity.End, error) {
	r := reader{b: b}
	ends := r.ends()
	if !r.done() {
		return nil, corrupt("list of ends: damaged")
	}
	return ends, nil
}

func (r *reader) ends() []entity.End {
	n := r.count(minEnd)
	if n == 0 {
		return nil
	}
	ends := make([]entity.End, n)
	for i := range ends {
		ends[i] = entity.End{Collection: entity.CollectionID(r.number()), Seq: entity.Seq(r.uvarint())}
	}
	return ends
}

func (o Connect) appendBody(dst []byte) []byte {
	dst = appendRef(dst, &o.Source)
	dst = appendString(dst, o.Verb)
	dst = appendRef(dst, &o.Target)
	dst = appendBool(dst, o.Keep)
	dst = appendRules(dst, &o.Rules)
	dst = appendBytes(dst, o.Patch)
	return appendOptional(dst, o.Create)
}

func (d *Decoder) connect(r *reader) Op {
	return Connect{
		Source: r.ref(), Verb: r.string(), Target: r.ref(), Keep: r.bool(),
		Rules: d.readRules(r), Patch: r.bytes(), Create: r.optional(),
	}
}

func (o Disconnect) appendBody(dst []byte) []byte {
	dst = appendRef(dst, &o.Source)
	dst = appendBool(appendString(dst, o.Verb), o.Strict)
	dst = binary.AppendUvarint(dst, uint64(len(o.Targets)))
	for i := range o.Targets {
		dst = appendRef(dst, &o.Targets[i])
	}
	return dst
}

func (r *reader) disconnect() Op {
	o := Disconnect{Source: r.ref(), Verb: r.string(), Strict: r.bool()}
	if n := r.count(minRef); n > 0 {
		o.Targets = make([]Ref, n)
		for i := range o.Targets {
			o.Targets[i] = r.ref()
		}
	}
	return o
}

func (o DropEdges) appendBody(dst []byte) []byte {
	return binary.AppendUvarint(AppendEnds(dst, o.Ends), uint64(o.Limit))
}

func (r *reader) dropEdges() Op { return DropEdges{Ends: r.ends(), Limit: r.number()} }

func (o DeleteEntities) appendBody(dst []byte) []byte {
	return appendIDs(appendString(dst, o.Collection), o.IDs)
}

func (r *reader) deleteEntities() Op { return DeleteEntities{Collection: r.string(), IDs: r.ids()} }

func (o UpdateEntities) appendBody(dst []byte) []byte {
	return appendBytes(appendIDs(appendRules(dst, &o.Rules), o.IDs), o.Patch)
}

func (d *Decoder) updateEntities(r *reader) Op {
	return UpdateEntities{Rules: d.readRules(r), IDs: r.ids(), Patch: r.bytes()}
}
