package portage

import (
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/portable"
)

// content takes in a line of data, of a feed or of a counter, as add does.
func (b *builder) content(line *portable.Line) (whole, full bool, err error) {
	switch line.Kind {
	case portable.KindData:
		if b.Op != nil {
			return false, true, nil
		}
		b.Data, b.dataLine = line.Data, line.Number
		return true, true, nil
	case portable.KindFeed:
		return b.feed(line)
	default:
		return b.counter(line)
	}
}

func (b *builder) feed(line *portable.Line) (whole, full bool, err error) {
	f := line.Feed
	if b.Op != nil && b.feeds == nil || b.feeds != nil && b.entries+len(f.Activities) > batchActivities {
		return false, true, nil
	}
	typ, err := schema.Of(f.Collection)
	if err != nil {
		return true, false, err
	}
	if typ.Collection != "users" && typ.Collection != "groups" {
		return true, false, fault.New(fault.IllegalArgument, "a list of activities is not of collection %.60q", f.Collection)
	}
	part := command.FeedPart{
		Owner: command.Ref{Collection: typ.Collection, Target: command.Target{ID: f.ID}}, List: keys.Feed, Activities: f.Activities, Line: line.Number,
	}
	if f.List == portable.ListOutbox {
		part.List = keys.Outbox
	}
	if b.feeds == nil {
		b.feeds = &command.ImportFeeds{}
		b.Lines = func(i int) uint64 { return b.feeds.Parts[i].Line }
	}
	b.feeds.Parts = append(b.feeds.Parts, part)
	b.entries += len(f.Activities)
	b.Op = *b.feeds
	return true, len(b.feeds.Parts) >= batchActivities, nil
}

func (b *builder) counter(line *portable.Line) (whole, full bool, err error) {
	c := line.Counter
	if b.Op != nil && b.counters == nil || b.counters != nil && b.entries+len(c.Cells) > batchCells {
		return false, true, nil
	}
	part := command.CounterPart{
		Name: keys.Fold(c.Name), Named: c.Named, Resets: c.Resets, Dimensions: c.Dimensions, Cells: c.Cells, Line: line.Number,
	}
	if err := part.Valid(); err != nil {
		return true, false, err
	}
	if b.counters == nil {
		b.counters = &command.ImportCounters{Replace: b.o.Replace}
		b.Lines = func(i int) uint64 { return b.counters.Parts[i].Line }
	}
	b.counters.Parts = append(b.counters.Parts, part)
	b.entries += len(c.Cells)
	b.Op = *b.counters
	return true, len(b.counters.Parts) >= batchCells, nil
}
