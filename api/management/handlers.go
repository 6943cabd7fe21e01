package management

import (
	"context"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
)

// Authenticate finds out who makes a request, from everything it presents, and
// notes it there. It fails for credentials that are wrong, also where none are
// needed.
func (h *Handlers) Authenticate(req *wire.Request) error {
	c := directory.Credentials{
		AccessToken:   req.Query("access_token"),
		Authorization: req.Header("Authorization"),
		ClientID:      req.Query("client_id"),
		ClientSecret:  req.Query("client_secret"),
	}
	at := placeOf(req.Segments())
	kind := wire.NoBody
	if req.Method() != "GET" && (at.management || mayBeForm(req.Header("Content-Type"))) {
		// A body that cannot be read is refused when it is read for what it
		// says; here it presents nothing.
		kind, _ = req.Kind()
	}
	if c.AccessToken == "" && (kind == wire.FormBody || (kind == wire.JSONBody && at.management)) {
		c.AccessToken, _ = req.Param("access_token")
	}
	if kind == wire.FormBody && !at.grants && c.ClientID == "" {
		c.ClientID, _ = req.QueryOrForm("client_id")
		c.ClientSecret, _ = req.QueryOrForm("client_secret")
	}
	if at.links && auth.IsMailToken(c.AccessToken) {
		c.AccessToken = "" // a client that calls the link's token so
	}
	p, err := h.dir.Authenticate(req.Context(), c)
	if err != nil {
		return err
	}
	req.Principal = p
	return nil
}

func mayBeForm(contentType string) bool {
	return strings.Contains(strings.ToLower(contentType), "form-urlencoded")
}

// place is what matters of a path before it is known who calls.
type place struct {
	management bool // it lies under /management
	grants     bool // its body may hold client credentials that are exchanged for a token
	links      bool // a link of a mail leads there
}

func placeOf(segments []string) (p place) {
	if len(segments) == 0 {
		return p
	}
	p.management = segments[0] == "management"
	switch strings.ToLower(segments[len(segments)-1]) {
	case "token":
		p.grants = true
	case "authorize":
		p.grants = true // client_id says for whom, and there is no secret
	case "me":
		p.grants = p.management && len(segments) == 2
	case "activate", "confirm":
		p.links = true
	}
	return p
}

// Resolve finds an application by the names or UUIDs of its organisation and
// itself.
func (h *Handlers) Resolve(ctx context.Context, organization, application string) (*wire.Application, error) {
	a, err := h.dir.Application(ctx, organization, application)
	if err != nil {
		return nil, err
	}
	return &a.Application, nil
}

// ResolveID finds an application by its UUID.
func (h *Handlers) ResolveID(ctx context.Context, id entity.ID) (*wire.Application, error) {
	a, err := h.dir.ApplicationByID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &a.Application, nil
}

// Access is what a principal may do in an application.
func (h *Handlers) Access(ctx context.Context, p *auth.Principal, app *wire.Application) (auth.Access, error) {
	return h.dir.Access(ctx, p, &app.Application, app.Number)
}

// Management answers /management/…, the segments behind it.
func (h *Handlers) Management(req *wire.Request) (*wire.Reply, error) {
	return h.serve("management", req, req.Segments())
}

// Applications answers /apps: all applications, for the superuser.
func (h *Handlers) Applications(req *wire.Request) (*wire.Reply, error) {
	return h.serve("apps", req, nil)
}

// System answers /system/…, for the superuser.
func (h *Handlers) System(req *wire.Request) (*wire.Reply, error) {
	if req.Principal.Kind != auth.Superuser { // who is not learns nothing of what there is
		return nil, noSystemAccess()
	}
	return h.serve("system", req, req.Segments())
}

// Accounts answers what of an application is about credentials: its token
// endpoint, its client's credentials, the tokens of a user, the links of mails.
func (h *Handlers) Accounts(req *wire.Request) (*wire.Reply, error) {
	if req.App.ID == entity.ManagementID {
		_, err := req.Principal.In(req.App.Application)
		return nil, err
	}
	s := req.Segments()
	if len(s) > 1 && !strings.EqualFold(s[0], "auth") { // in whichever spelling
		s = append([]string{"users"}, s[1:]...)
	}
	return h.serve(applicationArea, req, s)
}
