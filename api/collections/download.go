package collections

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// wantsData reports whether a GET asks for the data of an entity rather than for the
// entity.
func (c *call) wantsData() bool {
	return c.data || c.assets != nil && c.req.Method() == "GET" && assets.WantsData(c.req.Header("Accept"))
}

// held is the data of an entity, and what is said of it.
type held struct {
	id       entity.ID
	blob     entity.Blob
	kind     string
	etag     string
	modified time.Time
}

// metadata is what an entity says of its data. Entities of old have it as properties of
// their own.
type metadata struct {
	Type     string `json:"content-type"`
	Modified int64  `json:"last-modified"`
	ETag     string `json:"etag"`
}

// dataOf finds the data of an entity.
func (c *call) dataOf(v *storage.View, e *entity.Entity) (h held, err error) {
	none := fault.New(fault.EntityNotFound, "entity %s has no data", e.ID)
	if e.Blob.IsZero() {
		return h, none
	}
	var found bool
	if h.blob, found, err = storage.ReadBlob(v, c.req.App.Number, e.Blob); err != nil || !found {
		if err == nil {
			err = none
		}
		return h, err
	}
	var m metadata
	described := e.JSON
	// The callback never fails, so neither does the walk.
	_ = eachMember(e.JSON, func(member member) error {
		if keys.SameFold(member.key, command.FileMetadata) {
			described = member.value
		}
		return nil
	})
	_ = json.Unmarshal(described, &m) // what cannot be read is not said
	h.id, h.kind, h.etag, h.modified = e.Blob, m.Type, m.ETag, time.UnixMilli(m.Modified)
	if h.kind == "" {
		h.kind = "application/octet-stream"
	}
	if m.Modified == 0 {
		h.modified = time.UnixMilli(e.Modified)
	}
	return h, nil
}

// sendOf answers with the data of the one entity that find finds.
func (c *call) sendOf(find func(v *storage.View) (*entity.Entity, error)) (*wire.Reply, error) {
	var h held
	err := c.reading(c.req, func(v *storage.View) error {
		e, err := find(v)
		if err == nil {
			h, err = c.dataOf(v, e)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.send(&h)
}

// sendItem answers with the data of the entity that a target names.
func (c *call) sendItem(t command.Target) (*wire.Reply, error) {
	return c.sendOf(func(v *storage.View) (*entity.Entity, error) {
		e, found, err := c.find(v, &t)
		if err == nil && !found {
			err = c.missing()
		}
		return &e, err
	})
}

// sendListed answers with the data of the one entity that a query selects.
func (c *call) sendListed(ask *query.Request) (*wire.Reply, error) {
	ask.Limit = min(ask.Limit, 2)
	return c.sendOf(func(v *storage.View) (*entity.Entity, error) {
		var err error
		if ask.From, err = c.source(v, c.typ); err != nil {
			return nil, err
		}
		page, err := c.engine.Run(c.req.Context(), v, ask)
		if err != nil {
			return nil, err
		}
		return only(page.Rows)
	})
}

// only returns the entity of a result that has to be of one.
func only(rows []query.Row) (*entity.Entity, error) {
	if len(rows) != 1 {
		return nil, fault.New(fault.NotAcceptable, "the data of one entity is sent at a time; the request must select exactly one")
	}
	return &rows[0].Entity, nil
}

// sendConnected prepares the answer with the data of the one entity that the last step of
// a path selects.
func (c *call) sendConnected(v *storage.View, owners []owner, r *relation, ask *query.Request) (func() (*wire.Reply, error), error) {
	e, err := c.onlyConnected(v, owners, r, ask)
	if err != nil {
		return nil, err
	}
	h, err := c.dataOf(v, e)
	return func() (*wire.Reply, error) { return c.send(&h) }, err
}

// onlyConnected returns the one entity that the last step of a path selects.
func (c *call) onlyConnected(v *storage.View, owners []owner, r *relation, ask *query.Request) (*entity.Entity, error) {
	ask.Limit = min(ask.Limit, 2)
	var all []query.Row
	seen := map[entity.ID]bool{}
	for i := range owners {
		var rows []query.Row
		if r.target != nil {
			row, found, err := c.connected(v, &owners[i], r)
			if err != nil {
				return nil, err
			}
			if found {
				rows = append(rows, row)
			}
		} else {
			page, err := c.runEdges(v, &owners[i], r, ask)
			if err != nil {
				return nil, err
			}
			rows = page.Rows
		}
		for _, row := range rows {
			if !seen[row.Entity.ID] {
				seen[row.Entity.ID] = true
				all = append(all, row)
			}
		}
	}
	if r.target != nil && len(all) == 0 {
		return nil, notFound()
	}
	return only(all)
}

// send answers with data, or with what the conditions of the request say instead.
func (c *call) send(h *held) (*wire.Reply, error) {
	req, size := c.req, int64(h.blob.Size) // #nosec G115 -- at most entity.MaxBlobChunk × entity.MaxBlobChunks
	if assets.Unchanged(req.Header("If-None-Match"), req.Header("If-Modified-Since"), h.etag, h.modified) {
		return c.described(wire.Raw(304, "", nil), h), nil
	}
	part, whole, ok := assets.Range{Size: size}, true, true
	if !req.Head() && assets.StillSame(req.Header("If-Range"), h.etag, h.modified) {
		part, whole, ok = assets.ParseRange(req.Header("Range"), size)
	}
	if !ok {
		body := wire.ErrorBody(fault.New(fault.IllegalArgument, "the data has %d bytes, and none of the range", size))
		return c.described(wire.Raw(416, "application/json", body), h).Header("Content-Range", "bytes */"+strconv.FormatInt(size, 10)), nil
	}
	body, err := c.assets.Open(req.StreamContext(), req.App.Number, h.id, &h.blob, part.Offset, part.Size)
	if err != nil {
		return nil, err
	}
	status := 200
	if !whole {
		status = 206
	}
	reply, err := req.Download(status, h.kind, body, part.Size)
	if err != nil {
		return nil, err
	}
	if !whole {
		reply.Header("Content-Range", "bytes "+strconv.FormatInt(part.Offset, 10)+"-"+strconv.FormatInt(part.Offset+part.Size-1, 10)+"/"+strconv.FormatInt(size, 10))
	}
	return c.described(reply, h), nil
}

// described adds what every answer about data says of it. What a client has uploaded is
// shown as what it is, and runs nothing in the name of the API.
func (c *call) described(reply *wire.Reply, h *held) *wire.Reply {
	if h.etag != "" {
		reply.Header("ETag", h.etag)
	}
	return reply.Header("Last-Modified", h.modified.UTC().Format(http.TimeFormat)).
		Header("Accept-Ranges", "bytes").Header("Vary", "Accept").
		Header("X-Content-Type-Options", "nosniff").Header("Content-Security-Policy", "sandbox")
}
