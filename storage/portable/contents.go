package portable

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of lines, so that each of them fits into one command.
const (
	MaxPiece      = entity.MaxBlobChunk // bytes of a piece of data
	MaxActivities = 1000                // of a line of a feed
	MaxCells      = 1440                // of a line of a counter: the minutes of a day
)

// Names of the lists of a user or group.
const (
	ListOutbox = "activities"
	ListFeed   = "feed"
)

// Data is a piece of the binary data of an entity. All pieces of the data of one entity
// stand together, in their order; there is one without bytes if it is empty.
type Data struct {
	Collection string
	ID         entity.ID // of the entity
	Blob       entity.ID // of the data: other data of the entity has another
	Size       uint64    // bytes of all pieces
	Chunk      uint64    // bytes of a piece, the last one's apart
	Offset     uint64    // of the piece, a multiple of Chunk
	Metadata   []byte    // what the entity says of its data, an object; nil: nothing
	Bytes      []byte
}

// Last reports whether the piece is the last one.
func (d *Data) Last() bool { return d.Offset+uint64(len(d.Bytes)) == d.Size }

// Feed is some of the activities in a list of a user or group, in the order of the list.
type Feed struct {
	Collection string
	ID         entity.ID
	List       string // ListOutbox or ListFeed
	Activities []entity.ID
}

// Counter is some of what was counted under a name with some dimensions: minutes of one
// day if the counter was never reset, or else buckets as they were kept.
type Counter struct {
	Name       string
	Named      bool // it was counted under its own name, and not only as what is above others
	Resets     uint64
	Dimensions entity.Dimensions
	Cells      []entity.CounterCell
}

// contents are the members of lines of these kinds.
type contents struct {
	Blob     string          `json:"blob"`
	Size     uint64          `json:"size"`
	Chunk    uint64          `json:"chunk"`
	Offset   uint64          `json:"offset"`
	Metadata json.RawMessage `json:"metadata"`
	Bytes    []byte          `json:"bytes"` // base64

	List       string   `json:"list"`
	Activities []string `json:"activities"`

	Named    bool                `json:"named"`
	Resets   uint64              `json:"resets"`
	User     string              `json:"user"`
	Group    string              `json:"group"`
	Category string              `json:"category"`
	Day      int64               `json:"day"`
	Minutes  [][]int64           `json:"minutes"` // minute of the day, value
	Buckets  [][]json.RawMessage `json:"buckets"` // resolution, begin, value, reset
	Cleared  [][]json.RawMessage `json:"cleared"` // resolution, begin, reset

	Pieces   uint64 `json:"pieces"`
	Feeds    uint64 `json:"feeds"`
	Counters uint64 `json:"counters"`
}

// owner reads which entity a line is about.
func (rec *record) owner() (entity.ID, error) {
	id, ok := entity.ParseID(rec.UUID)
	if !ok || id.IsZero() || rec.Collection == "" {
		return id, fault.New(fault.IllegalArgument, "a line of kind %s does not name its entity", rec.Kind)
	}
	return id, nil
}

func (rec *record) piece() (*Line, error) {
	id, err := rec.owner()
	if err != nil {
		return nil, err
	}
	d := &Data{Collection: rec.Collection, ID: id, Size: rec.Size, Chunk: rec.Chunk, Offset: rec.Offset, Bytes: rec.Bytes}
	var ok bool
	if d.Blob, ok = entity.ParseID(rec.Blob); !ok || d.Blob.IsZero() {
		return nil, fault.New(fault.IllegalArgument, "the data of entity %s has no valid uuid", id)
	}
	switch {
	case d.Chunk == 0 || d.Chunk > MaxPiece || d.Offset%d.Chunk != 0 || d.Offset > d.Size || d.Size > d.Chunk*entity.MaxBlobChunks,
		uint64(len(d.Bytes)) != min(d.Chunk, d.Size-d.Offset), d.Size > 0 && len(d.Bytes) == 0:
		return nil, fault.New(fault.IllegalArgument, "the data of entity %s has no piece of %d bytes at %d", id, len(d.Bytes), d.Offset)
	case len(rec.Metadata) > 0 && rec.Metadata[0] != '{':
		return nil, fault.New(fault.IllegalArgument, "the metadata of the data of entity %s are not an object", id)
	}
	d.Metadata = rec.Metadata
	return &Line{Kind: KindData, Data: d}, nil
}

func (rec *record) feed() (*Line, error) {
	id, err := rec.owner()
	if err != nil {
		return nil, err
	}
	f := &Feed{Collection: rec.Collection, ID: id, List: rec.List}
	if rec.List != ListOutbox && rec.List != ListFeed || len(rec.Activities) > MaxActivities {
		return nil, fault.New(fault.IllegalArgument, "a feed is activities or feed, and has up to %d activities in a line", MaxActivities)
	}
	for _, text := range rec.Activities {
		activity, ok := entity.ParseID(text)
		if !ok || activity.IsZero() {
			return nil, fault.New(fault.IllegalArgument, "%.60q is not the uuid of an activity", text)
		}
		f.Activities = append(f.Activities, activity)
	}
	return &Line{Kind: KindFeed, Feed: f}, nil
}

func (rec *record) counter() (*Line, error) {
	c := &Counter{Name: rec.Name, Named: rec.Named, Resets: rec.Resets, Dimensions: entity.Dimensions{Category: rec.Category}}
	for _, d := range []struct {
		text string
		to   *entity.ID
	}{{rec.User, &c.Dimensions.User}, {rec.Group, &c.Dimensions.Group}} {
		ok := true
		if d.text != "" {
			*d.to, ok = entity.ParseID(d.text)
		}
		if !ok || d.text != "" && d.to.IsZero() {
			return nil, fault.New(fault.IllegalArgument, "a dimension of counter %.60q is no uuid", c.Name)
		}
	}
	if len(rec.Minutes)+len(rec.Buckets)+len(rec.Cleared) > MaxCells {
		return nil, fault.New(fault.IllegalArgument, "more than %d buckets in one line", MaxCells)
	}
	ok := entity.Day.Bucket(rec.Day) == rec.Day && rec.Day <= maxTime
	for _, m := range rec.Minutes {
		if ok = ok && len(m) == 2 && m[0] >= 0 && m[0] < 1440; ok {
			c.Cells = append(c.Cells, entity.CounterCell{Resolution: entity.Minute, Bucket: rec.Day + m[0]*entity.Minute.Interval(), Value: m[1]})
		}
	}
	for _, list := range []struct {
		rows   [][]json.RawMessage
		clears bool
	}{{rec.Buckets, false}, {rec.Cleared, true}} {
		for _, row := range list.rows {
			var cell entity.CounterCell
			if cell, ok = cellOf(row, list.clears); !ok {
				break
			}
			c.Cells = append(c.Cells, cell)
		}
	}
	if !ok || c.Name == "" || c.Resets == 0 && len(rec.Buckets)+len(rec.Cleared) > 0 || c.Resets > 0 && len(rec.Minutes) > 0 {
		return nil, fault.New(fault.IllegalArgument, "counter %.60q has a bucket that cannot be", c.Name)
	}
	return &Line{Kind: KindCounter, Counter: c}, nil
}

// maxTime is the latest time of a bucket: later ones could not be told apart in JSON.
const maxTime = 1 << 53

// cellOf reads [resolution, begin, value, reset] or, of a bucket that was cleared,
// [resolution, begin, reset].
func cellOf(row []json.RawMessage, clears bool) (cell entity.CounterCell, ok bool) {
	cell.Clears = clears
	var name string
	to := []any{&name, &cell.Bucket, &cell.Value, &cell.Reset}
	if clears {
		to = []any{&name, &cell.Bucket, &cell.Reset}
	}
	if len(row) != len(to) {
		return cell, false
	}
	for i := range row {
		if json.Unmarshal(row[i], to[i]) != nil {
			return cell, false
		}
	}
	for cell.Resolution < entity.Resolutions && cell.Resolution.String() != name {
		cell.Resolution++
	}
	return cell, cell.Resolution < entity.Resolutions && cell.Bucket >= 0 && cell.Bucket <= maxTime
}

// Data writes a piece of the data of an entity. The name of the collection is quoted, and
// Metadata are written as they are.
func (w *Writer) Data(collection []byte, d *Data) {
	w.end.Pieces++
	b := w.ownerOf("data", collection, d.ID)
	b = append(d.Blob.AppendText(append(b, `,"blob":"`...)), `","size":`...)
	b = strconv.AppendUint(b, d.Size, 10)
	b = strconv.AppendUint(append(b, `,"chunk":`...), d.Chunk, 10)
	b = strconv.AppendUint(append(b, `,"offset":`...), d.Offset, 10)
	if len(d.Metadata) > 0 {
		b = append(append(b, `,"metadata":`...), d.Metadata...)
	}
	b = base64.StdEncoding.AppendEncode(append(b, `,"bytes":"`...), d.Bytes)
	w.put(append(b, '"', '}', '\n'))
}

// Feed writes some of a list. The name of the collection is quoted.
func (w *Writer) Feed(collection []byte, f *Feed) {
	w.end.Feeds++
	b := append(w.ownerOf("feed", collection, f.ID), `,"list":"`...)
	b = append(append(b, f.List...), `","activities":[`...)
	for i := range f.Activities {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(f.Activities[i].AppendText(append(b, '"')), '"')
	}
	w.put(append(b, ']', '}', '\n'))
}

func (w *Writer) ownerOf(kind string, collection []byte, id entity.ID) []byte {
	b := append(append(append(w.line[:0], `{"kind":"`...), kind...), `","collection":`...)
	return append(id.AppendText(append(append(b, collection...), `,"uuid":"`...)), '"')
}

// Counter writes some of a counter.
func (w *Writer) Counter(c *Counter) {
	w.end.Counters++
	b := append(append(w.line[:0], `{"kind":"counter","name":`...), Quoted(c.Name)...)
	b = strconv.AppendBool(append(b, `,"named":`...), c.Named)
	if c.Resets > 0 {
		b = strconv.AppendUint(append(b, `,"resets":`...), c.Resets, 10)
	}
	if !c.Dimensions.User.IsZero() {
		b = append(c.Dimensions.User.AppendText(append(b, `,"user":"`...)), '"')
	}
	if !c.Dimensions.Group.IsZero() {
		b = append(c.Dimensions.Group.AppendText(append(b, `,"group":"`...)), '"')
	}
	if c.Dimensions.Category != "" {
		b = append(append(b, `,"category":`...), Quoted(c.Dimensions.Category)...)
	}
	if c.Resets == 0 {
		b = appendMinutes(b, c.Cells)
	} else {
		b = appendCells(appendCells(b, "buckets", c.Cells, false), "cleared", c.Cells, true)
	}
	w.put(append(b, '}', '\n'))
}

func appendMinutes(b []byte, cells []entity.CounterCell) []byte {
	day := int64(0)
	if len(cells) > 0 {
		day = entity.Day.Bucket(cells[0].Bucket)
	}
	b = strconv.AppendInt(append(b, `,"day":`...), day, 10)
	b = append(b, `,"minutes":[`...)
	for i := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '['), (cells[i].Bucket-day)/entity.Minute.Interval(), 10)
		b = append(strconv.AppendInt(append(b, ','), cells[i].Value, 10), ']')
	}
	return append(b, ']')
}

func appendCells(b []byte, member string, cells []entity.CounterCell, clears bool) []byte {
	begun := false
	for i := range cells {
		c := &cells[i]
		if c.Clears != clears {
			continue
		}
		if begun {
			b = append(b, ',')
		} else {
			b = append(append(append(b, `,"`...), member...), `":[`...)
			begun = true
		}
		b = append(append(append(b, `["`...), c.Resolution.String()...), `",`...)
		b = append(strconv.AppendInt(b, c.Bucket, 10), ',')
		if !clears {
			b = append(strconv.AppendInt(b, c.Value, 10), ',')
		}
		b = append(strconv.AppendUint(b, c.Reset, 10), ']')
	}
	if begun {
		b = append(b, ']')
	}
	return b
}
