package storage

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// merged appends what a change makes of a stored value, or of an earlier change.
// whole says that it is a value.
func merged(dst, key, value, change []byte, whole bool) ([]byte, error) {
	if keys.IsCounter(key) {
		return mergedSum(dst, key, value, change)
	}
	m, err := newMerge(key, change)
	if err == nil && value != nil {
		err = m.MergeOlder(value)
	}
	if err != nil {
		return dst, err
	}
	return m.(*bitmapMerge).change.append(dst, whole), nil
}

// mergeName names the merge operator of the state DB, with its version: Pebble has
// one for all keys, so it goes by their kind. Pebble writes the name into the directory
// and into each table, and opens them with no other.
const mergeName = "trellis.merge.2"

// formerMerges are names of directories from before, which go on with theirs: that of
// Pebble's default, from when nothing was merged, and that of bitmaps alone. What
// has its name merges in the same way now.
func formerMerges() []string { return []string{pebble.DefaultMerger.Name, "trellis.bitmap.1"} }

// merger returns the merge operator.
func (s *Store) merger(exists bool) (*pebble.Merger, error) {
	m := &pebble.Merger{Name: mergeName, Merge: newMerge}
	if !exists {
		return m, nil
	}
	desc, err := pebble.Peek(s.path(stateName), s.fs)
	if err != nil {
		return nil, openError(err)
	}
	if desc.OptionsFilename == "" {
		return m, nil
	}
	written, err := readFile(s.fs, desc.OptionsFilename, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("read options of the state DB: %w", err)
	}
	for _, name := range formerMerges() {
		if bytes.Contains(written, []byte("merger="+name+"\n")) {
			m.Name = name
		}
	}
	return m, nil
}

func newMerge(key, value []byte) (pebble.ValueMerger, error) {
	if keys.IsCounter(key) {
		return newSumMerge(key, value)
	}
	kind, _, _, _, ok := keys.DecodeIndex(key)
	m := &bitmapMerge{}
	if !ok || kind != keys.KindPresent || !m.change.newer(value) {
		return nil, fault.New(fault.Corrupt, "state DB: key %x: not a change of a bitmap", key)
	}
	return m, nil
}
