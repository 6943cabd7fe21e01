package push

import (
	"sync"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// walk is how far a pool has looked through the open deliveries of a notification.
// Their keys go when they are settled, and leave tombstones that every iterator steps
// over: who began anew each time would step over all that were sent.
type walk struct {
	from  keys.Due // everything up to there was seen, if begun
	begun bool
	lined bool  // its turn comes
	again bool  // once more after that
	next  int64 // when the first is due of those that were not yet, in ms since the epoch; 0: there was none
}

// walks are those of a pool, and the order in which their turns come.
type walks struct {
	of       map[entity.Seq]*walk
	line     []entity.Seq
	search   bool             // there may be notifications that are not known, or deliveries that were passed by
	searched *storage.Waiting // how far it was searched; nil: from the beginning
}

// begin looks through a notification from the beginning.
func (w *walks) begin(notification entity.Seq) {
	w.goOn(notification)
	w.of[notification].begun = false
}

// goOn gives a notification its turn, behind the others.
func (w *walks) goOn(notification entity.Seq) {
	one := w.of[notification]
	if one == nil {
		one = &walk{}
		w.of[notification] = one
	}
	if one.lined {
		one.again = true
		return
	}
	one.lined = true
	w.line = append(w.line, notification)
}

// first takes the notification whose turn it is out of the line; nil if it is nobody's.
func (w *walks) first() (entity.Seq, *walk) {
	for len(w.line) > 0 {
		number := w.line[0]
		if w.line = w.line[1:]; len(w.line) == 0 {
			w.line = nil
		}
		if one := w.of[number]; one != nil && one.lined {
			one.lined = false
			if one.again {
				one.again = false
				w.goOn(number)
			}
			return number, one
		}
	}
	return 0, nil
}

// drop forgets a notification.
func (w *walks) drop(notification entity.Seq) { delete(w.of, notification) }

// rouse gives a turn to those of which something has become due.
func (w *walks) rouse(now int64) {
	for number, one := range w.of {
		if one.next != 0 && one.next <= now {
			one.next = 0
			w.goOn(number)
		}
	}
}

// next is when the first of what is not due yet will be, in ms since the epoch; 0: there
// is nothing.
func (w *walks) next() (first int64) {
	for _, one := range w.of {
		if one.next != 0 && (first == 0 || one.next < first) {
			first = one.next
		}
	}
	return first
}

// idle tells that there is nothing to look at now.
func (w *walks) idle() bool { return len(w.line) == 0 && !w.search }

// discover finds notifications with open deliveries, and begins with them anew. When all
// are found it forgets those that have none: load says of which some are taken.
func (w *walks) discover(v *storage.View, app entity.AppID, notifier entity.Seq, load map[entity.Seq]int) error {
	if w.searched == nil {
		w.searched = &storage.Waiting{Notifier: notifier}
	}
	list, err := storage.WaitingNotifications(v, app, w.searched, maxPairs)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Notifier != notifier {
			list = list[:i]
			break
		}
		w.begin(list[i].Notification)
	}
	if len(list) == maxPairs {
		w.searched = &list[maxPairs-1]
		return nil
	}
	w.search, w.searched = false, nil
	for number, one := range w.of {
		if !one.lined && one.next == 0 && load[number] == 0 {
			w.drop(number)
		}
	}
	return nil
}

// agenda is what a pool is told to look for. It is safe for concurrent use.
type agenda struct {
	mu            sync.Mutex
	notifications map[entity.Seq]bool
	any           bool
}

// add notes a notification; 0 is any.
func (a *agenda) add(notification entity.Seq) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if notification == 0 || len(a.notifications) >= maxPairs {
		a.any = true
		return
	}
	if a.notifications == nil {
		a.notifications = map[entity.Seq]bool{}
	}
	a.notifications[notification] = true
}

// hand hands over what was noted.
func (a *agenda) hand(w *walks) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for number := range a.notifications {
		w.goOn(number)
	}
	w.search = w.search || a.any
	a.notifications, a.any = nil, false
}
