package command

import (
	"encoding/binary"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// MaxCells is how many buckets one ImportCounters may bring.
const MaxCells = 5000

// ImportData brings a piece of the binary data that an entity had elsewhere, or all of it
// if that is an object of the object store, which was begun under the id Blob. The data
// goes with its first piece, number 0, from nothing to being written; with the last one
// that is missing the entity gets it, in the place of what it had. Its times stay as they
// are: beside the data it gets Metadata alone.
//
// A piece that is there already changes nothing; nor does one of an entity that has this
// data, or other data unless Replace. A task removes the data from Expires on if it never
// comes to be whole.
//
// Outcome.Handled is 1 if the piece was taken, and Outcome.Errors says why it was not:
// ServiceResourceNotFound (no such entity), EntityNotFound (the first piece is not there,
// or not any more), Conflict (the data is that of another entity, or not being written),
// EntityTooLarge, IllegalArgument, TooManyRequests (as many pieces wait as an application
// may have tasks). Both are also noted in the job of Note.
type ImportData struct {
	Owner  Ref
	Blob   entity.ID
	Object bool // there is no piece: it is an object
	// Staged is data of chunks that the object was made of, and that goes now; zero: none.
	Staged   entity.ID
	Size     uint64
	Chunk    uint64 // bytes of a piece, the last one's apart
	Number   uint32 // of the piece
	Bytes    []byte // the piece
	Metadata []byte // what the entity says of its data, a JSON object
	Expires  int64  // ms since the epoch
	Replace  bool
	Line     uint64
	Note     JobNote
}

// FeedPart is some of the activities in a list of a user or group.
type FeedPart struct {
	Owner      Ref
	List       byte // keys.Outbox or keys.Feed
	Activities []entity.ID
	Line       uint64
}

// ImportFeeds puts activities into lists; one that is in its list stays where it is.
// There may be MaxDelivered of them, in all lists together.
//
// Outcome.Handled is how many are in their lists now, and Outcome.Errors says why some
// could not be: ServiceResourceNotFound (no such owner, or no such activity: those beside
// it are put in), IllegalArgument. Both are also noted in the job of Note.
type ImportFeeds struct {
	Parts []FeedPart
	Note  JobNote
}

// CounterPart is some of what was counted under a name, with some dimensions.
//
// Of a counter that was never reset, Cells are minutes of one day: what hours, the day
// and the whole come to is made of them. Of another they are as they were kept.
type CounterPart struct {
	Name       string // folded
	Named      bool   // it was counted under its own name
	Resets     uint64 // how often it was reset
	Dimensions entity.Dimensions
	Cells      []entity.CounterCell
	Line       uint64
}

// ImportCounters makes counters what they were elsewhere. A day of a series, or a bucket
// of a counter that was reset, in which something was counted already stays as it is, or
// if Replace becomes what the part says. One that was reset another number of times stays
// altogether.
//
// Outcome.Handled is how many parts were taken; those of which everything was there are
// not among them. Outcome.Errors says why some could not be: IllegalArgument (the name is
// one of the system's own, buckets that cannot be, too many counters), Conflict (reset
// another number of times, with Replace). Both are also noted in the job of Note. Fault:
// IllegalArgument (more than MaxCells).
type ImportCounters struct {
	Parts   []CounterPart
	Replace bool
	Note    JobNote
}

func (ImportData) kind() Kind     { return KindImportData }
func (ImportFeeds) kind() Kind    { return KindImportFeeds }
func (ImportCounters) kind() Kind { return KindImportCounters }

// The sizes of the smallest parts.
const (
	minFeedPart    = minRef + 1 + 1 + 1
	minCell        = 1 + 1 + 1 + 1 + 1
	minCounterPart = 1 + 1 + 1 + 16 + 16 + 1 + 1 + 1
)

func (o ImportData) appendBody(dst []byte) []byte {
	dst = append(appendRef(dst, &o.Owner), o.Blob[:]...)
	dst = append(appendBool(dst, o.Object), o.Staged[:]...)
	for _, n := range []uint64{o.Size, o.Chunk, uint64(o.Number)} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = appendBytes(appendBytes(dst, o.Bytes), o.Metadata)
	dst = appendBool(binary.AppendVarint(dst, o.Expires), o.Replace)
	return appendNote(binary.AppendUvarint(dst, o.Line), &o.Note)
}

func (r *reader) importData() Op {
	return ImportData{
		Owner: r.ref(), Blob: r.id(), Object: r.bool(), Staged: r.id(), Size: r.uvarint(), Chunk: r.uvarint(), Number: r.number(), Bytes: r.bytes(), Metadata: r.bytes(),
		Expires: r.varint(), Replace: r.bool(), Line: r.uvarint(), Note: r.note(),
	}
}

func (o ImportFeeds) appendBody(dst []byte) []byte {
	dst = binary.AppendUvarint(appendNote(dst, &o.Note), uint64(len(o.Parts)))
	for i := range o.Parts {
		p := &o.Parts[i]
		dst = appendIDs(append(appendRef(dst, &p.Owner), p.List), p.Activities)
		dst = binary.AppendUvarint(dst, p.Line)
	}
	return dst
}

func (r *reader) importFeeds() Op {
	o := ImportFeeds{Note: r.note()}
	if n := r.count(minFeedPart); n > 0 {
		o.Parts = make([]FeedPart, n)
		for i := range o.Parts {
			o.Parts[i] = FeedPart{Owner: r.ref(), List: r.byte(), Activities: r.ids(), Line: r.uvarint()}
		}
	}
	return o
}

func (o ImportCounters) appendBody(dst []byte) []byte {
	dst = appendBool(appendNote(dst, &o.Note), o.Replace)
	dst = binary.AppendUvarint(dst, uint64(len(o.Parts)))
	for i := range o.Parts {
		dst = appendCounterPart(dst, &o.Parts[i])
	}
	return dst
}

func appendCounterPart(dst []byte, p *CounterPart) []byte {
	dst = binary.AppendUvarint(appendBool(appendString(dst, p.Name), p.Named), p.Resets)
	dst = append(append(dst, p.Dimensions.User[:]...), p.Dimensions.Group[:]...)
	dst = binary.AppendUvarint(appendString(dst, p.Dimensions.Category), uint64(len(p.Cells)))
	for i := range p.Cells {
		c := &p.Cells[i]
		dst = binary.AppendVarint(append(dst, byte(c.Resolution)), c.Bucket)
		dst = appendBool(binary.AppendUvarint(binary.AppendVarint(dst, c.Value), c.Reset), c.Clears)
	}
	return binary.AppendUvarint(dst, p.Line)
}

func (r *reader) importCounters() Op {
	o := ImportCounters{Note: r.note(), Replace: r.bool()}
	if n := r.count(minCounterPart); n > 0 {
		o.Parts = make([]CounterPart, n)
		for i := range o.Parts {
			o.Parts[i] = r.counterPart()
		}
	}
	return o
}

func (r *reader) counterPart() CounterPart {
	p := CounterPart{
		Name: r.string(), Named: r.bool(), Resets: r.uvarint(), Dimensions: entity.Dimensions{User: r.id(), Group: r.id(), Category: r.string()},
	}
	if n := r.count(minCell); n > 0 {
		p.Cells = make([]entity.CounterCell, n)
		for i := range p.Cells {
			p.Cells[i] = entity.CounterCell{
				Resolution: entity.Resolution(r.byte()), Bucket: r.varint(), Value: r.varint(), Reset: r.uvarint(), Clears: r.bool(),
			}
		}
	}
	p.Line = r.uvarint()
	return p
}

// Valid refuses a part that no counter can have.
func (p *CounterPart) Valid() error {
	bad := func(format string, args ...any) error { return fault.New(fault.IllegalArgument, format, args...) }
	switch {
	case !ValidCounterName(p.Name):
		return bad("a counter cannot have the name %.60q", p.Name)
	case p.Name == "application" || strings.HasPrefix(p.Name, "application.") || p.Name == "system":
		return bad("counter %.60q is the system's own", p.Name)
	case len(p.Dimensions.Category) > MaxCategory:
		return bad("a category cannot have %d bytes", len(p.Dimensions.Category))
	}
	for i := range p.Cells {
		c := &p.Cells[i]
		switch {
		case c.Resolution >= entity.Resolutions || c.Bucket < 0 || c.Resolution.Bucket(c.Bucket) != c.Bucket:
			return bad("counter %.60q has no bucket that begins at %d", p.Name, c.Bucket)
		case c.Reset > p.Resets || c.Clears && c.Reset == 0:
			return bad("counter %.60q was reset %d times, and not %d", p.Name, p.Resets, c.Reset)
		case p.Resets == 0 && (c.Resolution != entity.Minute || entity.Day.Bucket(c.Bucket) != entity.Day.Bucket(p.Cells[0].Bucket)):
			return bad("buckets of counter %.60q are not minutes of one day", p.Name)
		case p.Resets == 0 && i > 0 && c.Bucket <= p.Cells[i-1].Bucket:
			return bad("minutes of counter %.60q are not in order", p.Name)
		}
	}
	return nil
}
