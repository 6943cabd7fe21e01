package history

import (
	"fmt"
	"time"
)

// ageTolerance is how much older than it says a stale read may be: an age is
// rounded to milliseconds and measured by another clock.
const ageTolerance = 5 * time.Millisecond

// CheckStale lists stale reads that show what was never written to their key,
// or something older than the age they admit.
func (h *History) CheckStale() []string {
	byKey := make(map[string][]Op)
	writers := make(map[uint64]Op)
	for _, o := range h.Ops {
		if o.Kind == Read || o.Outcome == Refused {
			continue
		}
		byKey[o.Key] = append(byKey[o.Key], o)
		if o.Kind != Delete {
			writers[o.Value] = o
		}
	}
	var wrong []string
	for _, r := range h.Stale {
		w, written := writers[r.Value]
		switch {
		case r.Value != Absent && (!written || w.Key != r.Key || w.Call > r.Return):
			wrong = append(wrong, fmt.Sprintf("stale read of %s at %s shows %s, which nobody had written", r.Key, r.Place, valueText(r.Value)))
		case r.Aged && overtaken(byKey[r.Key], r, w):
			wrong = append(wrong, fmt.Sprintf("stale read of %s at %s shows %s and says it is at most %s old; a later write was acknowledged before that",
				r.Key, r.Place, valueText(r.Value), r.Age))
		}
	}
	return wrong
}

// overtaken tells whether a stale read shows a state that had ended before the
// time the read admits to show: writes are those of its key.
func overtaken(writes []Op, r StaleRead, shown Op) bool {
	limit := r.Call - r.Age - ageTolerance
	if r.Value == Absent {
		return noLongerAbsent(writes, limit)
	}
	if shown.Outcome == Unknown {
		return false // it may have happened just now
	}
	for _, o := range writes {
		if o.Outcome == Done && o.Call > shown.Return && o.Return < limit {
			return true
		}
	}
	return false
}

// noLongerAbsent tells whether a key was certainly there from a time on: it was
// written and nobody ever tried to delete it.
func noLongerAbsent(writes []Op, limit time.Duration) bool {
	there := false
	for _, o := range writes {
		if o.Kind == Delete {
			return false
		}
		there = there || o.Outcome == Done && o.Return < limit
	}
	return there
}
