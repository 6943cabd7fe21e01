package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Target is an application on a server, with a token that may use it.
type Target struct {
	Addr  string // host:port
	Org   string
	App   string
	Token string
}

// Path is the path of the application, or of a collection or entity in it.
// Segments are escaped.
func (t Target) Path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/" + url.PathEscape(t.Org) + "/" + url.PathEscape(t.App))
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// Request prepares the bytes of a request to path, with further headers as
// whole lines.
func (t Target) Request(method, path string, body []byte, headers ...string) []byte {
	return AppendRequest(nil, method, path, t.Addr, t.Token, body, headers...)
}

// At is the same application on another node.
func (t Target) At(addr string) Target {
	t.Addr = addr
	return t
}

// StatusError is an answer that is not 2xx where one was needed.
type StatusError struct {
	Method, Path string
	Status       int
	Code         string // the envelope's "error"
	Description  string // the envelope's "error_description"
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d %s: %s", e.Method, e.Path, e.Status, e.Code, e.Description)
}

// StatusOf is the status of an answer reported as an error, or 0.
func StatusOf(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

// CodeOf is the envelope's "error" of an answer reported as an error, or "".
func CodeOf(err error) string {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Code
	}
	return ""
}

// Page is the part of an envelope the harness reads. Entities stay as sent.
type Page struct {
	Entities []json.RawMessage `json:"entities"`
	Cursor   string            `json:"cursor"`
	Errors   []struct {
		Index int    `json:"index"`
		Error string `json:"error"`
	} `json:"errors"`
}

// Call sends a request over c and decodes a 2xx answer into out, unless that
// is nil. in is nil, []byte (sent as it is) or a value to marshal. Any other
// answer is a *StatusError.
func (t Target) Call(c *Conn, method, path string, in, out any) error {
	return t.CallWith(c, method, path, in, out)
}

// CallWith is Call with further headers, as whole lines.
func (t Target) CallWith(c *Conn, method, path string, in, out any, headers ...string) error {
	var body []byte
	switch v := in.(type) {
	case nil:
	case []byte:
		body = v // nil: none
	default:
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s %s: marshal body: %w", method, path, err)
		}
	}
	status, answer, err := c.Do(t.Request(method, path, body, headers...))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if status/100 != 2 {
		e := &StatusError{Method: method, Path: path, Status: status}
		var envelope struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(answer, &envelope) == nil {
			e.Code, e.Description = envelope.Error, envelope.Description
		} else {
			e.Description = fmt.Sprintf("%.120q", answer)
		}
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}

// Walk reads a collection page by page and hands each entity to visit, in
// order. It fails if a cursor comes back unchanged.
func (t Target) Walk(c *Conn, collection string, limit int, visit func(json.RawMessage) error) error {
	base := t.Path(collection) + "?limit=" + strconv.Itoa(limit)
	cursor := ""
	for {
		path := base
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		var page Page
		if err := t.Call(c, http.MethodGet, path, nil, &page); err != nil {
			return err
		}
		if len(page.Entities) > limit {
			return fmt.Errorf("GET %s: %d entities on a page of %d", path, len(page.Entities), limit)
		}
		for _, e := range page.Entities {
			if err := visit(e); err != nil {
				return err
			}
		}
		if page.Cursor == "" {
			return nil
		}
		if page.Cursor == cursor {
			return fmt.Errorf("GET %s: the cursor does not move", path)
		}
		cursor = page.Cursor
	}
}

// Counts reads how many entities each collection says it has.
func (t Target) Counts(c *Conn) (map[string]int, error) {
	var root struct {
		Entities []struct {
			Metadata struct {
				Collections map[string]struct {
					Count int `json:"count"`
				} `json:"collections"`
			} `json:"metadata"`
		} `json:"entities"`
	}
	if err := t.Call(c, http.MethodGet, t.Path(), nil, &root); err != nil {
		return nil, err
	}
	if len(root.Entities) != 1 {
		return nil, fmt.Errorf("GET %s: %d entities, want the application", t.Path(), len(root.Entities))
	}
	counts := make(map[string]int)
	for name, collection := range root.Entities[0].Metadata.Collections {
		counts[name] = collection.Count
	}
	return counts, nil
}

// Setup is how a Target is made on a server.
type Setup struct {
	Addr      string
	Org, App  string
	Superuser string
	Password  string
	Timeout   time.Duration
}

// Prepare signs the superuser in, makes organisation and application unless
// they are there, and returns a target whose token belongs to the client
// credentials of the application.
func Prepare(s Setup) (Target, error) {
	c := NewConn(s.Addr, s.Timeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	t := Target{Addr: s.Addr, Org: s.Org, App: s.App}

	var grant struct {
		Token string `json:"access_token"`
	}
	in := map[string]string{"grant_type": "password", "username": s.Superuser, "password": s.Password}
	if err := t.Call(c, http.MethodPost, "/management/token", in, &grant); err != nil {
		return t, fmt.Errorf("sign the superuser in: %w", err)
	}
	t.Token = grant.Token

	owner := s.Org + "-owner"
	org := map[string]string{"organization": s.Org, "username": owner, "name": owner,
		"email": owner + "@example.com", "password": "owner-" + s.Password}
	if err := t.Call(c, http.MethodPost, "/management/orgs", org, nil); err != nil && CodeOf(err) != "duplicate_unique_property_exists" {
		return t, fmt.Errorf("create organisation: %w", err)
	}
	apps := "/management/orgs/" + url.PathEscape(s.Org) + "/apps"
	if err := t.Call(c, http.MethodPost, apps, map[string]string{"name": s.App}, nil); err != nil && StatusOf(err) != http.StatusConflict {
		return t, fmt.Errorf("create application: %w", err)
	}
	var keys struct {
		Credentials struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		} `json:"credentials"`
	}
	if err := t.Call(c, http.MethodGet, t.Path("credentials"), nil, &keys); err != nil {
		return t, fmt.Errorf("read application credentials: %w", err)
	}
	in = map[string]string{"grant_type": "client_credentials", "client_id": keys.Credentials.ID, "client_secret": keys.Credentials.Secret}
	grant.Token = ""
	if err := t.Call(c, http.MethodPost, t.Path("token"), in, &grant); err != nil {
		return t, fmt.Errorf("sign the application client in: %w", err)
	}
	if grant.Token == "" {
		return t, errors.New("sign the application client in: the answer has no access_token")
	}
	t.Token = grant.Token
	return t, nil
}
