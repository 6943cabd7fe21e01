package raftfsm

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// replayEntries is how many log entries are applied in one batch.
const replayEntries = 64

// Replay applies the log of a partition up to and including an index to a state,
// while no Raft runs: that of the same store, or a copy. It must be known that
// these entries were committed, or decided that they count as such.
func Replay(from *storage.Store, p entity.Partition, to *storage.State, last uint64) error {
	var halted error
	m, err := Open(Config{
		Partition: p, State: to, Log: slog.New(slog.DiscardHandler), Halt: func(err error) { halted = err },
	})
	if err != nil {
		return err
	}
	defer func() { _ = m.batch.Close() }() // nothing is in it
	log, err := raftlog.Open(from, p)
	if err != nil {
		return err
	}
	for m.Applied() < last {
		var entries []*raft.Log
		for index := m.Applied() + 1; index <= last && len(entries) < replayEntries; index++ {
			e := new(raft.Log)
			if err := log.GetLog(index, e); err != nil {
				return fmt.Errorf("partition %d: replay log entry %d: %w", p, index, err)
			}
			entries = append(entries, e)
		}
		m.ApplyBatch(entries)
		if halted != nil {
			return errors.Join(fmt.Errorf("partition %d: replay the log from entry %d", p, entries[0].Index), halted)
		}
	}
	return nil
}
