package push

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// note is a notification as it is stored.
type note struct {
	number       entity.Seq
	id           entity.ID
	rev          entity.Seq
	facts        entity.NotificationFacts
	payloads     object
	pathQuery    []byte
	filters      []byte
	useGraph     bool
	debug        bool
	saveReceipts bool
	processed    bool // its devices were looked for, to the end or until it failed
	counted      bool // it has statistics
	priority     provider.Priority
}

// readNote reads a notification; nil: there is none.
func readNote(v storage.Reader, app entity.AppID, find func(c entity.CollectionID) (entity.Entity, bool, error)) (*note, error) {
	c, ok, err := storage.ReadCollectionID(v, app, notifications.Collection)
	if err != nil || !ok {
		return nil, err
	}
	e, ok, err := find(c)
	if err != nil || !ok {
		return nil, err
	}
	return parseNote(&e)
}

func noteByID(v storage.Reader, app entity.AppID, id entity.ID) (*note, error) {
	return readNote(v, app, func(c entity.CollectionID) (entity.Entity, bool, error) { return storage.ReadEntityByID(v, app, c, id) })
}

func noteByNumber(v storage.Reader, app entity.AppID, number entity.Seq) (*note, error) {
	return readNote(v, app, func(c entity.CollectionID) (entity.Entity, bool, error) { return storage.ReadEntity(v, app, c, number) })
}

func parseNote(e *entity.Entity) (*note, error) {
	n := &note{number: e.Seq, id: e.ID, rev: e.Rev}
	var err error
	if n.facts, err = entity.ReadNotificationFacts(e.JSON); err != nil {
		return nil, fmt.Errorf("notification %s: %w", e.ID, err)
	}
	var p struct {
		Payloads     json.RawMessage `json:"payloads"`
		PathQuery    json.RawMessage `json:"pathQuery"`
		Filters      json.RawMessage `json:"filters"`
		Statistics   json.RawMessage `json:"statistics"`
		Processed    json.RawMessage `json:"processingFinished"`
		Priority     json.RawMessage `json:"priority"`
		Given        json.RawMessage `json:"priorityGiven"`
		UseGraph     json.RawMessage `json:"useGraph"`
		Debug        json.RawMessage `json:"debug"`
		SaveReceipts json.RawMessage `json:"saveReceipts"`
	}
	if err := json.Unmarshal(e.JSON, &p); err != nil {
		return nil, fmt.Errorf("notification %s: %w", e.ID, err)
	}
	if !isNull(p.Payloads) {
		if n.payloads, err = parseObject(p.Payloads); err != nil {
			return nil, fmt.Errorf("notification %s: payloads: %w", e.ID, err)
		}
	}
	if !isNull(p.PathQuery) {
		n.pathQuery = p.PathQuery
	}
	if !isNull(p.Filters) {
		n.filters = p.Filters
	}
	n.useGraph, n.debug, n.saveReceipts = string(p.UseGraph) == "true", string(p.Debug) == "true", string(p.SaveReceipts) != "false"
	n.counted = !isNull(p.Statistics)
	n.processed = !isNull(p.Processed) && string(p.Processed) != "0"
	// Normal is what is stored of a client that said nothing, too.
	switch priority, _ := provider.JSONText(p.Priority); {
	case strings.EqualFold(priority, "high"):
		n.priority = provider.PriorityHigh
	case strings.EqualFold(priority, "normal") && string(p.Given) == "true":
		n.priority = provider.PriorityNormal
	}
	return n, nil
}

func (n *note) expired(now time.Time) bool {
	return n.facts.Expire != 0 && n.facts.Expire <= now.UnixMilli()
}

// expires is when it does; zero: never.
func (n *note) expires() time.Time {
	if n.facts.Expire == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n.facts.Expire)
}

// wantsReceipt tells whether a receipt is written of a delivery that was sent, or was not.
func (n *note) wantsReceipt(sent, all bool) bool {
	return n.saveReceipts && (!sent || n.debug || all)
}
