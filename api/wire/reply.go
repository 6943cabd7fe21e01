package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/trellisdb/trellis/storage/entity"
)

type replyKind byte

const (
	entityReply     replyKind = iota + 1 // envelope of an application request
	managementReply                      // action, fields, timestamp, duration
	objectReply                          // the fields alone: tokens, status
	rawReply                             // bytes of some content type
	redirectReply
	streamReply // of any length, never compressed
)

// maxKeptReply is how large a buffer of entities is kept for the next request: some
// pages of a hundred. Those that nobody uses go with the garbage.
const maxKeptReply = 256 << 10

// Reply is what a handler answers. The status is 200 unless the kind says
// otherwise.
type Reply struct {
	kind     replyKind
	action   string
	path     string // of the collection; empty: the application root
	rootPath string // path shown for the application root
	entities []byte // elements of the array, spliced
	n        int
	cursor   string
	counted  bool
	count    *int   // nil: the number of entities
	fields   []byte // ,"name":value…
	err      error
	status   int
	content  string // content type, or the location of a redirect
	raw      []byte
	stream   io.ReadCloser
	headers  []header // of a raw reply or a redirect
}

type header struct{ name, value string }

// Entities begins the envelope of an application request about the collection
// with this canonical path, such as "/items".
func (r *Request) Entities(path string) *Reply {
	p := &r.reply
	*p = Reply{kind: entityReply, action: r.Action(), path: path, entities: p.entities[:0]}
	return p
}

// Root begins the envelope of a request about the application itself.
func (r *Request) Root() *Reply {
	p := r.Entities("")
	p.rootPath = "/applications"
	return p
}

// Append adds an entity. It copies what it needs of e. d may be nil.
func (p *Reply) Append(e *entity.Entity, s *Shape, d *Details) *Reply {
	p.separate()
	p.entities = AppendEntity(p.entities, e, s, d)
	return p
}

// AppendRaw adds an entity that is already in its shown form.
func (p *Reply) AppendRaw(text []byte) *Reply {
	p.separate()
	p.entities = append(p.entities, text...)
	return p
}

func (p *Reply) separate() {
	if p.n > 0 {
		p.entities = append(p.entities, ',')
	}
	p.n++
}

// Len is the number of entities so far.
func (p *Reply) Len() int { return p.n }

// Cursor sets where the next page begins; the last page has none.
func (p *Reply) Cursor(c string) *Reply { p.cursor = c; return p }

// Counted adds count, the number of entities in this reply.
func (p *Reply) Counted() *Reply { p.counted = true; return p }

// Count adds a count that is not the number of entities.
func (p *Reply) Count(n int) *Reply { p.counted, p.count = true, &n; return p }

// Management begins a reply without application: action, the fields added,
// timestamp and duration. The action is left out if it is empty.
func Management(action string) *Reply { return &Reply{kind: managementReply, action: action} }

// Object begins a bare JSON object of the fields added, as token endpoints
// answer.
func Object() *Reply { return &Reply{kind: objectReply} }

// Unavailable answers 503 with Retry-After instead of 200.
func (p *Reply) Unavailable() *Reply { p.status = 503; return p }

// Field adds a top-level field. The value is marshalled by encoding/json.
func (p *Reply) Field(name string, value any) *Reply {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		p.err = fmt.Errorf("reply field %s: %w", name, err)
		return p
	}
	return p.RawField(name, bytes.TrimRight(b.Bytes(), "\n"))
}

// RawField adds a top-level field whose value is JSON text already.
func (p *Reply) RawField(name string, value []byte) *Reply {
	p.fields = append(p.fields, ',')
	p.fields = append(AppendString(p.fields, name), ':')
	p.fields = append(p.fields, value...)
	return p
}

// Raw is a reply of some other content type. The body is lent until the reply
// is written.
func Raw(status int, contentType string, body []byte) *Reply {
	return &Reply{kind: rawReply, status: status, content: contentType, raw: body}
}

// HTML is a page.
func HTML(page string) *Reply { return Raw(200, "text/html; charset=utf-8", []byte(page)) }

// Redirect sends the client elsewhere, with status 307.
func Redirect(location string) *Reply {
	return &Reply{kind: redirectReply, status: 307, content: location}
}

// Found sends the client elsewhere with status 302: with GET, and without the form
// that it sent here.
func Found(location string) *Reply {
	return &Reply{kind: redirectReply, status: 302, content: location}
}

// Header adds a header to a raw reply or a redirect.
func (p *Reply) Header(name, value string) *Reply {
	p.headers = append(p.headers, header{name, value})
	return p
}

// appendReply appends the JSON of an envelope.
func (r *Request) appendReply(dst []byte, p *Reply, duration int64) []byte {
	dst = append(dst, '{')
	open := len(dst)
	if p.kind != objectReply && p.action != "" {
		dst = append(dst, `"action":`...)
		dst = AppendString(dst, p.action)
	}
	if p.kind == entityReply {
		dst = r.appendApplication(dst, p)
	}
	if len(p.fields) > 0 {
		fields := p.fields
		if len(dst) == open {
			fields = fields[1:]
		}
		dst = append(dst, fields...)
	}
	if p.kind == objectReply {
		return append(dst, '}')
	}
	if len(dst) > open {
		dst = append(dst, ',')
	}
	dst = appendInt(append(dst, `"timestamp":`...), r.start.UnixMilli())
	dst = appendInt(append(dst, `,"duration":`...), duration)
	if p.kind == entityReply {
		if r.App != nil {
			dst = AppendString(append(dst, `,"organization":`...), r.App.OrganizationName)
			dst = AppendString(append(dst, `,"applicationName":`...), r.App.Name)
		}
		if p.cursor != "" {
			dst = AppendString(append(dst, `,"cursor":`...), p.cursor)
		}
		if p.counted {
			n := p.n
			if p.count != nil {
				n = *p.count
			}
			dst = appendInt(append(dst, `,"count":`...), int64(n))
		}
	}
	return append(dst, '}')
}

// appendApplication appends what an application request repeats of itself, and
// its entities.
func (r *Request) appendApplication(dst []byte, p *Reply) []byte {
	if r.App != nil {
		dst = append(dst, `,"application":"`...)
		dst = append(r.App.ID.AppendText(dst), '"')
	}
	dst = append(dst, `,"params":`...)
	dst = r.AppendParams(dst)
	shown := p.path
	if shown == "" {
		shown = p.rootPath
	}
	if shown != "" {
		dst = AppendString(append(dst, `,"path":`...), shown)
	}
	if r.App != nil {
		dst = append(dst, `,"uri":`...)
		dst = r.appendURI(dst, p.path)
	}
	dst = append(dst, `,"entities":[`...)
	dst = append(dst, p.entities...)
	return append(dst, ']')
}

// appendURI appends base URL, organisation, application and path as one JSON
// string.
func (r *Request) appendURI(dst []byte, path string) []byte {
	var room [256]byte
	raw := r.appendBaseURL(room[:0])
	raw = append(raw, '/')
	raw = append(raw, r.App.OrganizationName...)
	raw = append(raw, '/')
	raw = append(raw, r.App.Name...)
	raw = append(raw, path...)
	return AppendString(dst, string(raw))
}
