package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// post is a Sender of mails whose body is a letter for each recipient. It delivers to
// those in working order.
type post struct {
	mu struct {
		sync.Mutex
		broken, refused string
		delivered       map[byte]int
		tries           int
	}
}

func (p *post) Send(_ context.Context, _ entity.ID, body []byte) (rest []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.tries++
	for _, to := range body {
		switch {
		case bytes.ContainsRune([]byte(p.mu.broken), rune(to)):
			rest, err = append(rest, to), errors.New("no answer")
		case bytes.ContainsRune([]byte(p.mu.refused), rune(to)):
			err = errors.New("no such person")
		default:
			p.mu.delivered[to]++
		}
	}
	return rest, err
}

// deliver records a mail and runs its task for some time.
func deliver(t *testing.T, p *post, to string, during func(w *world, id entity.ID)) {
	synctest.Test(t, func(t *testing.T) {
		p.mu.delivered = map[byte]int{}
		w := newWorld(t, appPartition)
		id := entity.NewID()
		w.do(appPartition, 17, command.PutTask{Task: command.NewTask{ID: id, Kind: entity.TaskMail, Priority: entity.Urgent, Body: []byte(to)}})
		_, stop := w.run(nil, Mail(p))
		during(w, id)
		stop()
		w.Close()
	})
}

func TestMailIsDelivered(t *testing.T) {
	p := &post{}
	deliver(t, p, "abc", func(w *world, id entity.ID) {
		time.Sleep(time.Minute)
		if _, ok := w.task(appPartition, id); ok || fmt.Sprint(p.mu.delivered) != "map[97:1 98:1 99:1]" {
			t.Errorf("delivered %v, the task is there: %v", p.mu.delivered, ok)
		}
	})
}

// TestMailIsTriedAgain for those who have none yet, and for nobody else.
func TestMailIsTriedAgain(t *testing.T) {
	p := &post{}
	p.mu.broken = "bc"
	deliver(t, p, "abc", func(w *world, id entity.ID) {
		time.Sleep(5 * time.Minute)
		p.mu.Lock()
		p.mu.broken = ""
		tries := p.mu.tries
		p.mu.Unlock()
		if tries < 3 {
			t.Errorf("%d tries in 5 minutes", tries)
		}
		time.Sleep(10 * time.Minute)
		if _, ok := w.task(appPartition, id); ok || fmt.Sprint(p.mu.delivered) != "map[97:1 98:1 99:1]" {
			t.Errorf("delivered %v, the task is there: %v", p.mu.delivered, ok)
		}
	})
}

// TestUndeliverableMailWaits among the dead letters, and goes out when told to.
func TestUndeliverableMailWaits(t *testing.T) {
	for _, tc := range []struct {
		broken, refused string
		within          time.Duration
	}{{"a", "", 24 * time.Hour}, {"", "a", time.Minute}} {
		p := &post{}
		p.mu.broken, p.mu.refused = tc.broken, tc.refused
		deliver(t, p, "a", func(w *world, id entity.ID) {
			time.Sleep(tc.within)
			task, ok := w.task(appPartition, id)
			if !ok || task.State != entity.TaskDead || task.LastError == "" {
				t.Errorf("%+v, %v", task, ok)
			}
			p.mu.Lock()
			p.mu.broken, p.mu.refused = "", ""
			p.mu.Unlock()
			w.do(appPartition, entity.NoApp, command.RetryTask{ID: id})
			time.Sleep(time.Minute)
			if _, ok := w.task(appPartition, id); ok || p.mu.delivered['a'] != 1 {
				t.Errorf("delivered %v, the task is there: %v", p.mu.delivered, ok)
			}
		})
	}
}
