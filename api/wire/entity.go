package wire

import (
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

// AppendEntity appends e as clients see it: system properties, the stored
// bytes as they are, metadata.
func AppendEntity(dst []byte, e *entity.Entity, s *Shape) []byte {
	dst = append(dst, `{"uuid":"`...)
	dst = e.ID.AppendText(dst)
	dst = append(dst, `","type":`...)
	dst = AppendString(dst, s.Type)
	dst = appendInt(append(dst, `,"created":`...), e.Created)
	dst = appendInt(append(dst, `,"modified":`...), e.Modified)
	if len(e.JSON) > 2 {
		dst = append(dst, ',')
		dst = append(dst, e.JSON[1:len(e.JSON)-1]...)
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
	return append(dst, '}', '}')
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
