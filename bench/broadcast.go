package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/trellisdb/trellis/bench/apns"
)

// broadcastWork notifies every device of an application.
type broadcastWork struct {
	applied
	provider string
	devices  int
	apple    *apns.Service // what it goes through; nil: nothing
	out      io.Writer
	uuid     string // of the notification
}

// told is what the server says of a notification.
type told struct {
	State      string
	Finished   int64
	Statistics struct{ Sent, Errors int }
}

// token names device k to the provider.
func (w *broadcastWork) token(k int) string { return fmt.Sprintf("%064x", k+1) }

func (w *broadcastWork) prepare(ctx context.Context) error {
	notifier := map[string]any{"name": "bell", "provider": w.provider}
	if w.apple != nil {
		key, err := w.apple.AuthKey()
		if err != nil {
			return err
		}
		for name, value := range map[string]string{"environment": "production", "authKey": key, "keyId": apns.KeyID, "teamId": apns.TeamID, "bundleId": apns.Topic} {
			notifier[name] = value
		}
	}
	body, err := json.Marshal(notifier)
	if err != nil {
		return fmt.Errorf("write the notifier: %w", err)
	}
	q := w.client(0)
	if err := q.call(ctx, w.app, "POST", w.app.Path("notifiers"), body, "notifier", nil); err != nil {
		return err
	}
	if err := q.close(); err != nil {
		return err
	}
	return w.create(ctx, "devices", w.provider, w.devices, func(b *bytes.Buffer, k int) error {
		fmt.Fprintf(b, `{"bell.notifier.id":%q,"number":%d}`, w.token(k), k)
		return nil
	})
}

func (w *broadcastWork) run(ctx context.Context) error {
	q := w.client(0)
	var made struct{ Entities []struct{ UUID string } }
	body := []byte(`{"payloads":{"bell":"to everybody"},"debug":true}`)
	begin := time.Now()
	if err := q.call(ctx, w.app, "POST", w.app.Path("devices")+"/*/notifications", body, "broadcast", &made); err != nil {
		return err
	}
	if len(made.Entities) != 1 {
		return fmt.Errorf("%d notifications were made", len(made.Entities))
	}
	w.uuid = made.Entities[0].UUID
	answered, moves, seen := time.Since(begin), 0, 0
	for {
		n, err := w.told(ctx, q)
		if err != nil {
			return err
		}
		if n.Statistics.Sent < seen {
			return fmt.Errorf("%d were sent, and before that %d", n.Statistics.Sent, seen)
		}
		if n.Statistics.Sent > seen {
			moves, seen = moves+1, n.Statistics.Sent
		}
		if n.Finished > 0 {
			took := time.Since(begin)
			fmt.Fprintf(w.out, "%s: answered in %s, then %.0f deliveries/s; statistics moved %d times\n",
				w.provider, answered.Round(time.Millisecond), float64(seen)/took.Seconds(), moves)
			return q.close()
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%d were sent: %w", seen, err)
		}
	}
}

func (w *broadcastWork) told(ctx context.Context, q *asking) (told, error) {
	var page struct{ Entities []told }
	err := q.call(ctx, w.app, "GET", w.app.Path("notifications", w.uuid), nil, "", &page)
	if err == nil && len(page.Entities) != 1 {
		err = fmt.Errorf("the notification is there %d times", len(page.Entities))
	}
	if err != nil {
		return told{}, err
	}
	return page.Entities[0], nil
}

func (w *broadcastWork) verify(ctx context.Context) error {
	q := w.client(0)
	n, err := w.told(ctx, q)
	if err != nil {
		return err
	}
	if n.State != "FINISHED" || n.Statistics.Sent != w.devices || n.Statistics.Errors != 0 {
		return fmt.Errorf("the notification is %+v, want it sent to %d", n, w.devices)
	}
	if err := w.receipts(ctx, q); err != nil {
		return err
	}
	if w.apple != nil {
		return errors.Join(w.received(), q.close())
	}
	return q.close()
}

// receipts reads all receipts: each device has one.
func (w *broadcastWork) receipts(ctx context.Context, q *asking) error {
	of, cursor := make(map[string]bool, w.devices), ""
	for {
		var page struct {
			Entities []struct {
				DeviceID, NotifierID string
				Sent                 int64
			}
			Cursor string
		}
		path := w.app.Path("notifications", w.uuid, "receipts") + "?limit=1000&cursor=" + url.QueryEscape(cursor)
		if err := q.call(ctx, w.app, "GET", path, nil, "", &page); err != nil {
			return err
		}
		for _, r := range page.Entities {
			if of[r.DeviceID] || r.Sent == 0 || r.DeviceID == "" {
				return fmt.Errorf("receipt %+v is not of a device's only delivery", r)
			}
			of[r.DeviceID] = true
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(of) != w.devices {
		return fmt.Errorf("%d devices have a receipt, want %d", len(of), w.devices)
	}
	return nil
}

// received compares what the service got: nothing for nobody, for each device the one
// notification. What was in flight when its node died was sent again.
func (w *broadcastWork) received() error {
	got := w.apple.Devices()
	doubles := 0
	for k := range w.devices {
		d := got[w.token(k)]
		if d.IDs != 1 {
			return fmt.Errorf("device %d was sent %d notifications", k, d.IDs)
		}
		doubles += d.Requests - 1
	}
	if len(got) != w.devices || w.apple.Refused() > 0 {
		return fmt.Errorf("the service knows %d devices, of %d, and refused %d requests", len(got), w.devices, w.apple.Refused())
	}
	fmt.Fprintf(w.out, "%s: %d of %d were sent twice, with the same id\n", w.provider, doubles, w.devices)
	return nil
}
