package collections

import (
	"encoding/binary"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	defaultLimit = 10
	maxLimit     = 1000
	maxPageBytes = 16 << 20 // a page of large entities ends early, with a cursor
)

// limitOf reads a limit as clients write it: never an error.
func limitOf(text string) int {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil && errors.Is(err, strconv.ErrRange) && n > 0:
		return maxLimit
	case err != nil || n <= 0:
		return defaultLimit
	case n > maxLimit:
		return maxLimit
	}
	return int(n)
}

// everything reports whether a query selects all entities in default order.
func everything(ql string) bool {
	words := strings.Fields(strings.ToLower(ql))
	switch len(words) {
	case 0:
		return true
	case 1:
		return words[0] == "*" || words[0] == "select*"
	case 2:
		return words[0] == "select" && words[1] == "*"
	}
	return false
}

// everythingTwiceEncoded is everything for a text that one client encodes twice.
func everythingTwiceEncoded(ql string) bool {
	if !strings.Contains(ql, "%") {
		return false
	}
	once, err := url.QueryUnescape(ql)
	return err == nil && everything(once)
}

// plain checks that a GET asks for nothing but a plain listing.
func (c *call) plain() error {
	for _, name := range []string{"ql", "q", "query"} {
		if ql := c.req.Query(name); ql != "" {
			if !everything(ql) && !everythingTwiceEncoded(ql) {
				return notOffered("queries")
			}
			break
		}
	}
	for _, name := range []string{"filter", "tree", "analyzeOnly", "explain"} {
		for _, v := range c.req.QueryAll(name) {
			if v != "" && (name == "filter" || !strings.EqualFold(v, "false")) {
				return notOffered("parameter " + name)
			}
		}
	}
	return nil
}

// list answers GET of a collection: a page of its entities, newest first.
func (c *call) list() (*wire.Reply, error) {
	if err := c.plain(); err != nil {
		return nil, err
	}
	reply := c.req.Entities(c.path)
	if len(c.req.Segments()) == 1 {
		reply.Counted()
	}
	err := c.reading(c.req, func(v *storage.View) error {
		col, ok, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
		if err != nil {
			return err
		}
		if !ok {
			if c.req.Query("cursor") != "" {
				return fault.New(fault.IllegalArgument, "cursor belongs to another request")
			}
			return nil
		}
		return c.page(v, col, reply)
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// listing is a plain listing of one collection: what its cursors are bound to.
type listing struct {
	app         entity.AppID
	collection  entity.CollectionID
	oldestFirst bool
}

func (l listing) fingerprint() cursor.Fingerprint {
	b := binary.BigEndian.AppendUint32([]byte{'L'}, uint32(l.app))
	b = binary.BigEndian.AppendUint32(b, uint32(l.collection))
	return cursor.Bind(strconv.AppendBool(b, l.oldestFirst))
}

// page appends a page to reply. Its position is the number of the last entity
// of the page before, so that what is added or deleted meanwhile moves nothing.
func (c *call) page(v *storage.View, col entity.CollectionID, reply *wire.Reply) (err error) {
	app, limit := c.req.App.Number, limitOf(c.req.Query("limit"))
	l := listing{app: app, collection: col, oldestFirst: strings.EqualFold(c.req.Query("reversed"), "false")}
	it, err := v.Scan(keys.EntityRange(v.Partition(), app, col))
	if err != nil {
		return err
	}
	defer func() {
		if closed := it.Close(); err == nil {
			err = closed
		}
	}()
	more, err := c.seek(v, it, l)
	if err != nil {
		return err
	}
	shape, size, last := c.shape(), 0, entity.Seq(0)
	for ; more; more = step(it, l) {
		if reply.Len() == limit || size > maxPageBytes {
			reply.Cursor(cursor.Encode(&c.key, l.fingerprint(), keys.AppendSeq(nil, last)))
			break
		}
		e, err := entity.DecodeRecord(it.Value())
		if err != nil {
			return err
		}
		reply.Append(&e, shape)
		size += len(e.JSON)
		last = e.Seq
	}
	return it.Err()
}

// seek positions the iterator on the first entity of the page.
func (c *call) seek(v *storage.View, it *storage.Iterator, l listing) (bool, error) {
	at := func(seq entity.Seq) []byte {
		return keys.AppendEntity(nil, v.Partition(), l.app, l.collection, seq)
	}
	if text := c.req.Query("cursor"); text != "" {
		position, err := cursor.Decode(&c.key, l.fingerprint(), text)
		if err != nil {
			return false, err
		}
		last, ok := keys.DecodeSeq(position)
		switch {
		case !ok:
			return false, fault.New(fault.IllegalArgument, "cursor is malformed")
		case l.oldestFirst:
			return it.SeekLT(at(last)), nil
		case last == 0:
			return false, nil
		}
		return it.SeekGE(at(last - 1)), nil
	}
	if id, ok := entity.ParseID(c.req.Query("start")); ok {
		e, found, err := storage.ReadEntityByID(v, l.app, l.collection, id)
		if err != nil {
			return false, err
		}
		if found {
			return it.SeekGE(at(e.Seq)), nil
		}
	}
	if l.oldestFirst {
		return it.Last(), nil
	}
	return it.First(), nil
}

// step moves to the next entity of a listing.
func step(it *storage.Iterator, l listing) bool {
	if l.oldestFirst {
		return it.Prev()
	}
	return it.Next()
}
