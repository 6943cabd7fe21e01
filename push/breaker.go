package push

import (
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// maxPauses is how often in a row a notifier is paused whose service refuses its
// credentials.
const maxPauses = 3

// breaker pauses a notifier after a refusal. After a pause one message tries; after
// maxPauses in a row in vain what is open through the notifier fails, and from then on
// so does whatever is open when a message that tries is refused, without a pause.
// Its zero value is closed.
type breaker struct {
	pauses int // in a row
	until  time.Time
	last   provider.Result // why
}

// refused takes note of a refusal, after which the notifier is paused. It reports whether to give up what is open.
func (b *breaker) refused(now time.Time, pause time.Duration, r provider.Result) (giveUp bool) {
	if now.Before(b.until) {
		return false // in flight when the pause began
	}
	b.last = r
	if b.pauses == maxPauses {
		return true
	}
	b.pauses++
	b.until = now.Add(pause)
	return false
}

// accepted takes note of an answer that shows that the credentials are good.
func (b *breaker) accepted() { *b = breaker{} }

// paused tells whether nothing may be sent now.
func (b *breaker) paused(now time.Time) bool { return now.Before(b.until) }

// trying tells whether one message at a time may be sent.
func (b *breaker) trying() bool { return b.pauses > 0 }
