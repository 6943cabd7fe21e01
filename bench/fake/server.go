package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Server is a fake server.
type Server struct {
	store   *store
	http    *fasthttp.Server
	reads   int // of single entities
	indexes int // declared last
	keyed   int // writes with an idempotency key
}

// Open makes a server whose journal is in dir; an empty dir keeps nothing.
func Open(dir string, fault Fault) (*Server, error) {
	path := ""
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "journal")
	}
	st, err := openStore(path, fault)
	if err != nil {
		return nil, err
	}
	s := &Server{store: st}
	s.http = &fasthttp.Server{Handler: s.handle, MaxRequestBodySize: 16 << 20, CloseOnShutdown: true, IdleTimeout: time.Minute}
	return s, nil
}

// Serve answers on l until it is closed. It may be called for several
// listeners: they are nodes that always agree.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Close stops the server.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.ShutdownWithContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // idle connections of the harness
	}
	if s.store.journal != nil {
		err = errors.Join(err, s.store.journal.Close())
	}
	return err
}

// Check reads the journal in dir as a start would.
func Check(dir string, fault Fault) error {
	if fault == Dirty {
		return errors.New("something is wrong")
	}
	st, err := openStore(filepath.Join(dir, "journal"), None)
	if err != nil {
		return err
	}
	return st.journal.Close()
}

func (s *Server) handle(rc *fasthttp.RequestCtx) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	key := string(rc.Request.Header.Peek("Idempotency-Key"))
	if key == "" {
		s.route(rc)
		return
	}
	if body, done := s.store.done[key]; done {
		reply(rc, entities([]*item{{body: body}}))
		return
	}
	s.store.key = key
	s.route(rc)
	s.store.key = ""
	if s.keyed++; s.keyed%every == 0 && (s.store.fault == Mute || s.store.fault == Forget) {
		rc.HijackSetNoResponse(true)
		rc.Hijack(func(c net.Conn) { _ = c.Close() })
	}
}

func (s *Server) route(rc *fasthttp.RequestCtx) {
	path := strings.Split(strings.Trim(string(rc.Path()), "/"), "/")
	method := string(rc.Method())
	switch {
	case path[0] == "status":
		reply(rc, fmt.Sprintf(`"status":{"node":{"partitions":[{"partition":1,"role":"leader","term":1,"applied":%d}]}}`, s.store.writes))
	case path[0] == "metrics":
		rc.SetBodyString("# TYPE go_memstats_mallocs_total counter\ngo_memstats_mallocs_total 12345\n")
	case path[0] == "management" && path[1] == "token", len(path) == 3 && path[2] == "token":
		rc.SetBodyString(`{"access_token":"` + strings.Repeat("t", 63) + `","expires_in":3600}`)
	case path[0] == "management":
		reply(rc, `"data":{}`)
	case len(rc.Request.Header.Peek("Authorization")) == 0:
		refuse(rc, 401, "unauthorized")
	case len(path) == 3 && path[2] == "credentials":
		reply(rc, `"credentials":{"client_id":"id","client_secret":"secret"}`)
	case len(path) == 2:
		s.root(rc, path[1]+"/")
	case len(path) == 3 && method == "POST":
		s.post(rc, path[1]+"/"+path[2])
	case len(path) == 3 && method == "GET":
		s.list(rc, path[1]+"/"+path[2])
	case len(path) == 4 && path[3] == "_settings":
		s.settings(rc)
	case len(path) == 4:
		s.single(rc, method, path[1]+"/"+path[2], path[3])
	default:
		refuse(rc, 404, "service_resource_not_found")
	}
}

func reply(rc *fasthttp.RequestCtx, members string) {
	rc.SetContentType("application/json")
	rc.SetBodyString(`{"action":"` + strings.ToLower(string(rc.Method())) + `",` + members + `}`)
}

func refuse(rc *fasthttp.RequestCtx, status int, code string) {
	rc.SetContentType("application/json")
	rc.SetStatusCode(status)
	rc.SetBodyString(`{"error":"` + code + `","error_description":"fake"}`)
}

func failed(rc *fasthttp.RequestCtx, err error) {
	if errors.Is(err, errTaken) {
		refuse(rc, 400, "duplicate_unique_property_exists")
		return
	}
	refuse(rc, 500, err.Error())
}

func entities(items []*item) string {
	var b bytes.Buffer
	b.WriteString(`"entities":[`)
	for i, e := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		encoded, err := json.Marshal(e.body)
		if err != nil {
			panic(fmt.Sprintf("marshal entity %s: %v", e.id, err)) // it was decoded from JSON
		}
		b.Write(encoded)
	}
	b.WriteByte(']')
	return b.String()
}

// root tells what the application has whose collections begin with prefix.
func (s *Server) root(rc *fasthttp.RequestCtx, prefix string) {
	var parts []string
	extra := 0
	if s.store.fault == Count {
		extra = 1
	}
	for full, list := range s.store.order {
		name, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		parts = append(parts, fmt.Sprintf(`%q:{"name":%q,"count":%d}`, name, name, len(list)+extra))
	}
	reply(rc, `"entities":[{"metadata":{"collections":{`+strings.Join(parts, ",")+`}}}]`)
}

func (s *Server) post(rc *fasthttp.RequestCtx, collection string) {
	var batch []object
	single := false
	if err := json.Unmarshal(rc.PostBody(), &batch); err != nil {
		batch, single = make([]object, 1), true
		if err := json.Unmarshal(rc.PostBody(), &batch[0]); err != nil {
			refuse(rc, 400, "json_parse")
			return
		}
	}
	var made []*item
	var faults []string
	for i, body := range batch {
		e, err := s.store.create(collection, body)
		if err != nil {
			if single {
				failed(rc, err)
				return
			}
			faults = append(faults, fmt.Sprintf(`{"index":%d,"error":"duplicate_unique_property_exists"}`, i))
			continue
		}
		made = append(made, e)
	}
	reply(rc, entities(made)+`,"errors":[`+strings.Join(faults, ",")+`]`)
}

// settings takes any and keeps how many indexes are declared: all are ready at once.
func (s *Server) settings(rc *fasthttp.RequestCtx) {
	var declared struct {
		Indexes [][]string `json:"indexes"`
	}
	if rc.IsPost() {
		if err := json.Unmarshal(rc.PostBody(), &declared); err != nil {
			refuse(rc, 400, "json_parse")
			return
		}
		s.indexes = len(declared.Indexes)
	}
	ready := strings.TrimSuffix(strings.Repeat(`{"state":"ready"},`, s.indexes), ",")
	reply(rc, `"data":{"fields":"all","indexes":[`+ready+`]}`)
}

func (s *Server) list(rc *fasthttp.RequestCtx, collection string) {
	limit, err := strconv.Atoi(string(rc.QueryArgs().Peek("limit")))
	if err != nil || limit < 1 {
		limit = 10
	}
	below, err := strconv.Atoi(string(rc.QueryArgs().Peek("cursor")))
	if err != nil {
		below = 0
	}
	items, next := s.store.page(collection, below, min(limit, 1000))
	members := entities(items) + fmt.Sprintf(`,"count":%d`, len(items))
	if next > 0 {
		members += fmt.Sprintf(`,"cursor":"%d"`, next)
	}
	reply(rc, members)
}

func (s *Server) single(rc *fasthttp.RequestCtx, method, collection, selector string) {
	e := s.store.find(collection, selector)
	switch method {
	case "GET":
		if e == nil {
			refuse(rc, 404, "entity_not_found")
			return
		}
		if s.reads++; s.store.fault == Wrong && s.reads%every == 0 {
			e = s.store.order[collection][0]
		}
		e = s.outdated(rc, e)
	case "PUT":
		var body object
		if err := json.Unmarshal(rc.PostBody(), &body); err != nil {
			refuse(rc, 400, "json_parse")
			return
		}
		var err error
		if e, err = s.store.put(collection, selector, body); err != nil {
			failed(rc, err)
			return
		}
	case "DELETE":
		if e == nil {
			refuse(rc, 404, "service_resource_not_found")
			return
		}
		if err := s.store.commit(change{Collection: collection, ID: e.id}); err != nil {
			failed(rc, err)
			return
		}
	default:
		refuse(rc, 405, "unsupported_rest_operation")
		return
	}
	reply(rc, entities([]*item{e}))
}

// outdated gives what a read sees: the entity, or its state before the last
// write if that is the promise to break.
func (s *Server) outdated(rc *fasthttp.RequestCtx, e *item) *item {
	stale := string(rc.Request.Header.Peek("X-Trellis-Consistency")) == "stale" && s.store.fault != Strict
	if stale {
		rc.Response.Header.Set("X-Trellis-Staleness-Ms", "0")
	}
	struck := s.store.fault == Stale && !stale && s.reads%5 == 0 || s.store.fault == Young && stale
	if struck && e.before != nil {
		return &item{body: e.before}
	}
	return e
}
