package api

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Parts are what a server is made of. The handlers of Management, Applications
// and System check access themselves; the server has authenticated the request
// for all of them.
type Parts struct {
	// Authenticate finds out who calls and sets Request.Principal, also for
	// those who show no credentials. It fails for credentials that are wrong.
	Authenticate func(*wire.Request) error
	// Resolve finds an application by the organisation's and its own name or
	// UUID, ResolveID by its UUID alone. OrganizationApplicationNotFound if
	// there is none.
	Resolve   func(ctx context.Context, organization, application string) (*wire.Application, error)
	ResolveID func(ctx context.Context, id entity.ID) (*wire.Application, error)

	Management   wire.Handler // /management/…; segments begin after it
	Applications wire.Handler // /apps
	System       wire.Handler // /system/…; segments begin after it
	Accounts     wire.Handler // /{org}/{app}/token, authorize, credentials, users/{user}/token, revoketoken(s) and what links of mails lead to
	Data         wire.Handler // everything else below an application; checks permissions

	Healthy func(context.Context) error // whether the node can serve
	Metrics func() (contentType string, body []byte)
	Status  func() any // the node's part of /status; may be nil

	// Access is what a principal may do in an application. It fails for credentials of
	// another one.
	Access func(context.Context, *auth.Principal, *wire.Application) (auth.Access, error)

	// Elsewhere names a node that can answer what this one could not, judging by
	// the error; false: none. Here says before a request is looked at whether this
	// node can answer for an application. Dial connects to the API of another
	// node. All nil: there is only this one.
	Elsewhere func(error) (node string, ok bool)
	Here      func(entity.AppID) error
	Dial      func(ctx context.Context, node string) (net.Conn, error)
}

func (p *Parts) check() error {
	if p.Authenticate == nil || p.Resolve == nil || p.ResolveID == nil || p.Management == nil ||
		p.Access == nil || p.Applications == nil || p.System == nil || p.Accounts == nil || p.Data == nil || p.Healthy == nil {
		return errors.New("api: a part of the server is missing")
	}
	return nil
}

// dispatch finds the handler of a request and calls it.
func (s *Server) dispatch(req *wire.Request) (*wire.Reply, error) {
	parts := s.parts.Load()
	if parts == nil {
		return nil, fault.New(fault.NoQuorum, "this node is starting, try again")
	}
	segments := req.Segments()
	if len(segments) == 0 {
		return get(req, wire.Redirect(s.cfg.RootRedirect))
	}
	switch segments[0] {
	case "status":
		return s.status(req, parts, segments[1:])
	case "lb-status", "metrics", "testproperties":
		if len(segments) == 1 {
			return s.plain(req, parts, segments[0])
		}
	}
	if err := here(req, parts, segments); err != nil {
		return nil, err
	}
	if err := s.authenticate(req, parts); err != nil {
		return nil, err
	}
	if req.Principal == nil {
		return nil, errors.New("authentication left no principal")
	}
	switch segments[0] {
	case "management":
		req.SetSegments(segments[1:])
		return parts.Management(req)
	case "system":
		req.SetSegments(segments[1:])
		return parts.System(req)
	case "apps", "applications":
		if len(segments) == 1 {
			return parts.Applications(req)
		}
	}
	return s.application(req, parts, segments)
}

// authenticate finds out who calls. Who is content with a stale read may be
// known, as the application may be, only to nodes that are up to date: nobody is turned away
// for what a stale replica does not know.
func (s *Server) authenticate(req *wire.Request, parts *Parts) error {
	err := parts.Authenticate(req)
	if err != nil && req.Stale() && wire.Status(fault.CodeOf(err)) < 500 {
		req.Freshen()
		err = parts.Authenticate(req)
	}
	return err
}

// application resolves the application a path begins with and hands over what
// follows.
func (s *Server) application(req *wire.Request, parts *Parts, segments []string) (*wire.Reply, error) {
	app, rest, err := parts.resolve(req.Context(), segments)
	if fault.Is(err, fault.OrganizationApplicationNotFound) && req.Stale() {
		req.Freshen()
		app, rest, err = parts.resolve(req.Context(), segments)
	}
	if err != nil {
		return nil, err
	}
	req.App = app
	req.SetSegments(rest)
	access, err := parts.Access(req.Context(), req.Principal, app)
	if err != nil && !fault.Is(err, fault.Unauthorized) && !fault.Is(err, fault.NotImplemented) {
		return nil, err
	}
	if err == nil {
		req.Access = access // else it grants nothing
	}
	if word := account(rest, req.Method()); word != "" && (err == nil || word != "token") {
		return parts.Accounts(req) // possession of a token is enough to revoke it, or for what its mail says
	}
	if len(rest) > 0 {
		switch strings.ToLower(rest[0]) {
		case "token", "authorize": // open to everybody, whatever else they hold
			return parts.Accounts(req)
		case "credentials", "auth", "export":
			if err == nil {
				return parts.Accounts(req)
			}
		case "status":
			if len(rest) == 1 {
				return s.applicationStatus(req, parts)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return parts.Data(req)
}

// here makes sure, before anything of a request is read, that this node can answer
// for the application its path names. Whatever else is wrong with the path is
// found later.
func here(req *wire.Request, parts *Parts, segments []string) error {
	if parts.Here == nil || segments[0] == "management" || segments[0] == "system" {
		return nil
	}
	app, _, err := parts.resolve(req.Context(), segments)
	if err != nil {
		return nil
	}
	return parts.Here(app.Number)
}

// account returns the word that makes a path one of a user's tokens, or of a link in a
// mail to him; empty if it is none.
func account(segments []string, method string) string {
	if len(segments) < 2 || len(segments) > 3 || inflect.Collection(segments[0]) != "users" {
		return ""
	}
	word := strings.ToLower(segments[len(segments)-1])
	switch word {
	case "token", "revoketoken", "revoketokens":
		if len(segments) == 3 {
			return word
		}
	case "resetpw":
		if method == "GET" || method == "POST" {
			return word
		}
	case "activate", "confirm", "reactivate":
		if len(segments) == 3 && method == "GET" {
			return word
		}
	}
	return ""
}

// resolve understands every prefix that denotes an application (spec data-model
// section 1).
func (p *Parts) resolve(ctx context.Context, segments []string) (*wire.Application, []string, error) {
	switch segments[0] {
	case "apps", "applications":
		id, ok := entity.ParseID(segments[1])
		if !ok {
			return nil, nil, notFound(segments[1:], 1)
		}
		app, err := p.ResolveID(ctx, id)
		return app, segments[2:], err
	case "orgs", "organizations", "o":
		segments = segments[1:]
		if len(segments) == 0 {
			return nil, nil, fault.New(fault.NotFound, "no such resource")
		}
	default:
		// An organisation, too, may be named by its UUID: only if no
		// application has it.
		if id, ok := entity.ParseID(segments[0]); ok {
			app, err := p.ResolveID(ctx, id)
			if err == nil || !fault.Is(err, fault.OrganizationApplicationNotFound) || len(segments) == 1 {
				return app, segments[1:], err
			}
		}
	}
	if len(segments) == 1 {
		return nil, nil, fault.New(fault.NotAllowed, "an organization offers nothing here; see /management/orgs")
	}
	organization, rest := segments[0], segments[1:]
	switch rest[0] {
	case "apps", "applications", "a":
		if len(rest) > 1 {
			rest = rest[1:]
		}
	}
	app, err := p.Resolve(ctx, organization, rest[0])
	return app, rest[1:], err
}

func notFound(segments []string, names int) error {
	return fault.New(fault.OrganizationApplicationNotFound, "Could not find application for %s from URI: %s",
		strings.Join(segments[:names], "/"), strings.Join(segments, "/"))
}

// get answers reply to GET alone.
func get(req *wire.Request, reply *wire.Reply) (*wire.Reply, error) {
	if req.Method() != "GET" {
		return nil, fault.New(fault.NotAllowed, "only GET is offered here")
	}
	return reply, nil
}

// NotImplemented answers a part of the API this version does not offer. It
// refuses whoever is not somebody first, so that it says nothing to strangers.
func NotImplemented(req *wire.Request) (*wire.Reply, error) {
	if req.Principal.Kind == auth.Anonymous {
		return nil, fault.New(fault.Unauthorized, "No system access authorized")
	}
	return nil, fault.New(fault.NotImplemented, "not offered by this version")
}
