package storage

import "testing"

// A flush that began before a partition was dropped ends after it: what it
// learned must not count for the next replica, whose marker would then cover
// what is on no disk.
func TestDurableOfAnEarlierEpochCountsForNothing(t *testing.T) {
	var d durable
	d.raise(0, 100)
	d.raise(0, 90)
	if d.at(0) != 100 || d.at(2) != 0 {
		t.Errorf("on disk up to %d, and up to %d in a later epoch", d.at(0), d.at(2))
	}
	d.raise(2, 5)
	d.raise(0, 100)
	d.raise(1, 100)
	if d.at(2) != 5 || d.at(0) != 0 {
		t.Errorf("on disk up to %d, and up to %d in an earlier epoch", d.at(2), d.at(0))
	}
}
