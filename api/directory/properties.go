package directory

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Custom properties of organisations and admin users, and the settings of an
// organisation, are top-level properties of their records under a prefix: so each
// changes by itself in apply, whoever changes others at the same time.
const (
	customPrefix  = "p:"
	settingPrefix = "c:"

	maxCustomName  = 256      // bytes of the name of a custom property
	maxCustomBytes = 64 << 10 // of the values in one request
)

// Fields are members of a record, or of a patch of one: compact JSON by name.
type Fields map[string]json.RawMessage

// JSON renders the fields as a compact object.
func (f Fields) JSON() []byte {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	dst := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, quoted(name)...), ':'), f[name]...)
	}
	return append(dst, '}')
}

// Set sets a field to a text or a boolean.
func (f Fields) Set(name string, value any) {
	switch v := value.(type) {
	case bool:
		f[name] = strconv.AppendBool(nil, v)
	case string:
		f[name] = quoted(v)
	}
}

// quoted is a text as JSON. It never fails: what is no UTF-8 is replaced.
func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(fmt.Sprintf("directory: a text as JSON: %v", err))
	}
	return b
}

// SetCustom adds custom properties, whose null and "" remove them. Of names that differ
// in case only the last in their order counts. IllegalArgument for a name that is empty
// or too long, EntityTooLarge for too much at once.
func (f Fields) SetCustom(properties map[string]json.RawMessage) error {
	names := make([]string, 0, len(properties))
	size := 0
	for name, value := range properties {
		if name == "" || len(name) > maxCustomName {
			return fault.New(fault.IllegalArgument, "the name of a property has 1 to %d bytes", maxCustomName)
		}
		names = append(names, name)
		size += len(name) + len(value)
	}
	if size > maxCustomBytes {
		return fault.New(fault.EntityTooLarge, "properties are larger than %d bytes", maxCustomBytes)
	}
	slices.Sort(names)
	spelled := map[string]string{}
	for _, name := range names {
		folded := keys.Fold(name)
		delete(f, customPrefix+spelled[folded])
		spelled[folded] = name
		f[customPrefix+name] = properties[name]
	}
	return nil
}

// customs returns the custom properties of a record as a JSON object. Records of
// earlier builds have them in an object of their own.
func customs(v *fastjson.Value) []byte {
	var a fastjson.Arena
	all := a.NewObject()
	if legacy := v.Get("properties"); legacy != nil && legacy.Type() == fastjson.TypeObject {
		legacy.GetObject().Visit(func(key []byte, value *fastjson.Value) { all.Set(string(key), value) })
	}
	if o, err := v.Object(); err == nil {
		o.Visit(func(key []byte, value *fastjson.Value) {
			if name, ok := strings.CutPrefix(string(key), customPrefix); ok {
				all.Set(name, value)
			}
		})
	}
	return wire.AppendValue(nil, all)
}

// SetSetting sets a setting of an organisation; empty removes it.
func (f Fields) SetSetting(name, value string) { f.Set(settingPrefix+name, value) }

// settings returns the settings of an organisation's record.
func settings(v *fastjson.Value) map[string]string {
	o, err := v.Object()
	if err != nil {
		return nil
	}
	var all map[string]string
	o.Visit(func(key []byte, value *fastjson.Value) {
		name, ok := strings.CutPrefix(string(key), settingPrefix)
		if !ok || value.Type() != fastjson.TypeString {
			return
		}
		if all == nil {
			all = map[string]string{}
		}
		all[name] = string(value.GetStringBytes())
	})
	return all
}

// HistorySize is the property passwordHistorySize, an integer or numeric text: how many
// former passwords of its members may not be used again.
func (o *Organization) HistorySize() int64 {
	v, err := fastjson.ParseBytes(o.Properties)
	if err != nil {
		return 0
	}
	p := v.Get("passwordHistorySize")
	if p == nil {
		return 0
	}
	if n, err := p.Int64(); err == nil {
		return n
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(p.GetStringBytes())), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// AddLegacy adds to a patch what puts the custom properties of a record of an earlier
// build, which lie in an object of their own, where they are now. Of others it adds
// nothing.
func (d *Directory) AddLegacy(ctx context.Context, patch Fields, collection string, id entity.ID) error {
	return d.with(ctx, entity.Management, func(v *storage.View) error {
		e, ok, err := find(v, entity.Management, collection, id)
		if err != nil || !ok {
			return err
		}
		record, err := parseRecord(&e)
		if err != nil {
			return err
		}
		legacy := record.Get("properties")
		if legacy == nil || legacy.Type() != fastjson.TypeObject {
			return nil
		}
		legacy.GetObject().Visit(func(key []byte, value *fastjson.Value) {
			if name := customPrefix + string(key); record.Get(name) == nil {
				patch[name] = wire.AppendValue(nil, value)
			}
		})
		patch["properties"] = json.RawMessage("null")
		return nil
	})
}
