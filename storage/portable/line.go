package portable

import (
	"encoding/json"

	"github.com/trellisdb/trellis/storage/entity"
)

// Format is what a header says the file is, Version the newest form of it.
const (
	Format  = "trellis-export"
	Version = 2
)

// MaxObject is how long one JSON object may be, in bytes: an entity of the largest
// size with what is around it.
const MaxObject = 8 << 20

// Kind says what a line holds.
type Kind byte

// Kinds of lines.
const (
	KindHeader     Kind = iota + 1
	KindCollection      // a collection and its settings
	KindEntity          // an entity; of Usergrid also its edges
	KindEdge            // an edge
	KindEnd             // counts and checksum
	KindData            // a piece of the data of an entity
	KindFeed            // some activities of a list
	KindCounter         // some buckets of a counter
	KindBlank           // nothing: an object without members, for a line that was left out
)

// Line is one line that was read. Number counts from 1; what else is set depends on
// Kind.
type Line struct {
	Kind   Kind
	Number uint64

	Header     *Header
	Collection *Collection
	Entity     *Entity
	Edges      []Edge
	End        *End
	Data       *Data
	Feed       *Feed
	Counter    *Counter
}

// Header begins a file.
type Header struct {
	Kind         string `json:"kind"` // header
	Format       string `json:"format"`
	Version      int    `json:"version"`
	Organization string `json:"organization"`
	Application  string `json:"application"` // without the organisation
	UUID         string `json:"uuid"`        // of the application
	Exported     int64  `json:"exported"`    // ms since the epoch
	Credentials  bool   `json:"credentials"` // whether there are hashes of passwords in it
	// NoData says that the data of entities was left out.
	NoData bool `json:"noData,omitempty"`
	// Only names the one collection that was exported, with nothing around it; empty: all.
	Only string `json:"only,omitempty"`
}

// Collection is a collection and, if it was told any, its settings.
type Collection struct {
	Kind     string    `json:"kind"` // collection
	Name     string    `json:"name"`
	Entities uint64    `json:"entities"`
	Settings *Settings `json:"settings,omitempty"`
}

// Settings are those of a collection in the form of its _settings.
type Settings struct {
	Fields           json.RawMessage `json:"fields"`            // "all", "none" or a list of properties
	Indexes          [][]string      `json:"indexes,omitempty"` // "property" or "property desc"
	QueueIndex       string          `json:"queueIndex,omitempty"`
	IndexConsistency string          `json:"indexConsistency,omitempty"`
}

// Entity is an entity as it is stored, or as Usergrid had it.
type Entity struct {
	Collection  string // as it was written, in any spelling
	ID          entity.ID
	Created     int64  // ms since the epoch; 0: not known
	Modified    int64  // ms since the epoch; 0: not known
	JSON        []byte // an object, which may have system properties
	Permissions []string
	Credentials []Credential
}

// Credential is a secret of an entity.
type Credential struct {
	Kind  string `json:"kind"` // password
	Value string `json:"value"`
}

// EdgeEnd is one end of an edge: an entity by its id or, of Usergrid, by its name.
type EdgeEnd struct {
	Collection string // empty: not known
	ID         entity.ID
	Name       string // if ID is zero
}

// Edge is a connection or, if Member, a membership by one of the verbs of
// entity.Memberships, without their zero byte.
type Edge struct {
	Source, Target EdgeEnd
	Verb           string
	Member         bool
}

// End ends a file. The counts are those of the lines before it.
type End struct {
	Kind        string `json:"kind"` // end
	Collections uint64 `json:"collections"`
	Entities    uint64 `json:"entities"`
	Edges       uint64 `json:"edges"` // connections and memberships
	Pieces      uint64 `json:"pieces"`
	Feeds       uint64 `json:"feeds"`
	Counters    uint64 `json:"counters"`
	SHA256      string `json:"sha256"`
}
