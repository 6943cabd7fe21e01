package wire

import (
	"net/url"
	"strconv"

	"github.com/trellisdb/trellis/storage/entity"
)

// Shape says how the entities of a collection are shown around their stored
// bytes.
type Shape struct {
	Type        string   // "item"
	Path        string   // of the collection, "/items"
	Collections []string // sub-collections of the type, for metadata.collections
	Sets        []Set    // dictionaries of the type, for metadata.sets
}

// Set is a dictionary of an entity: its name and its path segment.
type Set struct{ Name, Segment string }

// Details are what an answer says of one entity beyond what is stored of it. A nil
// pointer says nothing.
type Details struct {
	Out, In []string // verbs of its connections, for metadata.connections and metadata.connecting
	// Distance is how far it is from the point of the query, in metres; nil: not asked.
	Distance *float64
	Cursor   string // for what follows it in a list; empty: not said
	// Properties are shown in place of its own and of created and modified, if not nil:
	// a compact JSON object.
	Properties []byte
}

// AppendSystem appends e as a JSON object with its system properties and without
// metadata.
func AppendSystem(dst []byte, e *entity.Entity, typ string) []byte {
	dst = append(dst, `{"uuid":"`...)
	dst = e.ID.AppendText(dst)
	dst = append(dst, `","type":`...)
	dst = AppendString(dst, typ)
	dst = appendInt(append(dst, `,"created":`...), e.Created)
	dst = appendInt(append(dst, `,"modified":`...), e.Modified)
	return append(appendMembers(dst, e.JSON), '}')
}

// appendMembers goes on with the members of a compact object.
func appendMembers(dst, object []byte) []byte {
	if len(object) > 2 {
		dst = append(dst, ',')
		dst = append(dst, object[1:len(object)-1]...)
	}
	return dst
}

// AppendEntity appends e as clients see it: system properties, the stored
// bytes as they are, metadata. d may be nil.
func AppendEntity(dst []byte, e *entity.Entity, s *Shape, d *Details) []byte {
	if d != nil && d.Properties != nil {
		dst = append(dst, `{"uuid":"`...)
		dst = e.ID.AppendText(dst)
		dst = append(dst, `","type":`...)
		dst = appendMembers(AppendString(dst, s.Type), d.Properties)
	} else {
		dst = AppendSystem(dst, e, s.Type)
		dst = dst[:len(dst)-1]
	}
	dst = append(dst, `,"metadata":{"path":`...)
	dst = s.appendPath(dst, e.ID, "")
	if len(s.Sets) > 0 {
		dst = append(dst, `,"sets":{`...)
		for i := range s.Sets {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, s.Sets[i].Name), ':')
			dst = s.appendPath(dst, e.ID, s.Sets[i].Segment)
		}
		dst = append(dst, '}')
	}
	if len(s.Collections) > 0 {
		dst = append(dst, `,"collections":{`...)
		for i, name := range s.Collections {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, name), ':')
			dst = s.appendPath(dst, e.ID, name)
		}
		dst = append(dst, '}')
	}
	if d != nil {
		dst = s.appendVerbs(dst, `,"connections":{`, "", e.ID, d.Out)
		dst = s.appendVerbs(dst, `,"connecting":{`, "connecting/", e.ID, d.In)
		if d.Distance != nil {
			dst = strconv.AppendFloat(append(dst, `,"distance":`...), *d.Distance, 'f', -1, 64)
		}
		if d.Cursor != "" {
			dst = AppendString(append(dst, `,"cursor":`...), d.Cursor)
		}
	}
	return append(dst, '}', '}')
}

// appendVerbs appends an object that leads from verbs to where they are followed.
func (s *Shape) appendVerbs(dst []byte, begin, under string, id entity.ID, verbs []string) []byte {
	if len(verbs) == 0 {
		return dst
	}
	dst = append(dst, begin...)
	for i, verb := range verbs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, verb), ':')
		dst = s.appendPath(dst, id, under+url.PathEscape(verb))
	}
	return append(dst, '}')
}

// appendPath appends the quoted path of an entity, or of something of it.
func (s *Shape) appendPath(dst []byte, id entity.ID, below string) []byte {
	dst = AppendString(dst, s.Path)
	dst[len(dst)-1] = '/'
	dst = id.AppendText(dst)
	if below != "" {
		dst = append(dst, '/')
		dst = append(dst, below...)
	}
	return append(dst, '"')
}

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }
