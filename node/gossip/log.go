package gossip

import (
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const strangers = "gossip refused: not of this cluster's secret, or no gossip at all"

// worries are the lines of memberlist that someone should see, by a part of
// their text: they carry no other mark. The rest, a node that does not answer
// included, is for those who look into gossip itself.
var worries = []struct{ part, message string }{
	{"Decrypt packet failed", strangers},
	{"failed to receive", strangers},
	{"discarding", strangers}, // a label that is not ours
	{"label header", strangers},
	{"cannot decode label", strangers},
	{"UDP probes failed", "gossip passes over TCP only: is UDP blocked?"},
	{"queue full", "gossip comes faster than it is handled"},
	{"Too many pending push/pull", "gossip comes faster than it is handled"},
	{"Error accepting TCP", "gossip cannot accept streams"},
	{"Error reading UDP", "gossip cannot read packets"},
}

// worryAgain is how long a worry is kept quiet after it was logged: anyone can
// cause one with a packet.
const worryAgain = 10 * time.Minute

// logWriter takes the lines of memberlist's log: worries become warnings, now
// and then and with their number, everything is there at debug level.
type logWriter struct {
	log *slog.Logger
	mu  struct {
		sync.Mutex
		worries map[string]worry
	}
}

// worry is what happened under one message.
type worry struct {
	count  uint64
	logged time.Time
}

var _ io.Writer = (*logWriter)(nil)

// Write takes one line, which is how package log writes.
func (w *logWriter) Write(b []byte) (int, error) {
	line := string(b)
	w.log.Debug("memberlist", "line", strings.TrimSpace(line))
	for _, known := range worries {
		if strings.Contains(line, known.part) {
			if count, loud := w.count(known.message); loud {
				w.log.Warn(known.message,
					"times", count, "last", strings.TrimSpace(line))
			}
			break
		}
	}
	return len(b), nil
}

// count counts a worry and tells whether it is to be logged.
func (w *logWriter) count(message string) (count uint64, loud bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.worries == nil {
		w.mu.worries = make(map[string]worry)
	}
	k := w.mu.worries[message]
	k.count++
	loud = time.Since(k.logged) >= worryAgain
	if loud {
		k.logged = time.Now()
	}
	w.mu.worries[message] = k
	return k.count, loud
}
