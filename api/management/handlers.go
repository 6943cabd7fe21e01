package management

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Cluster is what the handlers need of a node.
type Cluster interface {
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	View(ctx context.Context, app entity.AppID) (*storage.View, error)
	ChoosePartition() (entity.Partition, error) // for a new application
}

// Config says what of the API's switches is on.
type Config struct {
	PublicRegistration bool   // anybody may create an organisation; else only the superuser
	SandboxName        string // of the application each organisation begins with
	SuperuserLists     int    // most organisations shown with the superuser
	// PurgeAfter is how long what a deleted application holds is kept.
	PurgeAfter time.Duration
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config {
	return Config{PublicRegistration: true, SandboxName: "sandbox", SuperuserLists: 10, PurgeAfter: 30 * 24 * time.Hour}
}

// Handlers answer management requests. They are safe for concurrent use.
type Handlers struct {
	cfg     Config
	cluster Cluster
	dir     *directory.Directory
}

// New makes the handlers.
func New(cfg Config, cluster Cluster, dir *directory.Directory) *Handlers {
	return &Handlers{cfg: cfg, cluster: cluster, dir: dir}
}

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
	management, grants := placeOf(req.Segments())
	kind := wire.NoBody
	if req.Method() != "GET" && (management || mayBeForm(req.Header("Content-Type"))) {
		// A body that cannot be read is refused when it is read for what it
		// says; here it presents nothing.
		kind, _ = req.Kind()
	}
	if c.AccessToken == "" && (kind == wire.FormBody || (kind == wire.JSONBody && management)) {
		c.AccessToken, _ = req.Param("access_token")
	}
	if kind == wire.FormBody && !grants && c.ClientID == "" {
		c.ClientID, _ = req.QueryOrForm("client_id")
		c.ClientSecret, _ = req.QueryOrForm("client_secret")
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

// placeOf reports whether a path lies under /management, and whether it is an
// endpoint whose body may hold client credentials to be exchanged for a token.
func placeOf(segments []string) (management, grants bool) {
	if len(segments) == 0 {
		return false, false
	}
	last := segments[len(segments)-1]
	management = segments[0] == "management"
	return management, strings.EqualFold(last, "token") || (management && len(segments) == 2 && strings.EqualFold(last, "me"))
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
	s := req.Segments()
	if len(s) == 0 {
		return nil, noRoute()
	}
	switch strings.ToLower(s[0]) {
	case "token":
		if len(s) == 1 {
			return h.managementToken(req)
		}
	case "me":
		if len(s) == 1 {
			return h.me(req)
		}
	case "orgs", "organizations":
		return h.organizations(req, s[1:])
	case "users":
		return h.adminUsers(req, s[1:])
	case "authorize", "tokendetails", "externaltoken":
		if len(s) == 1 {
			return nil, notOffered()
		}
	}
	return nil, noRoute()
}

// Applications answers /apps: all applications, for the superuser.
func (h *Handlers) Applications(req *wire.Request) (*wire.Reply, error) {
	if err := superuserOnly(req); err != nil {
		return nil, err
	}
	if req.Method() != "GET" {
		return nil, noMethod()
	}
	apps, err := h.dir.AllApplications(req.Context(), req.Query("deleted") == "true", 10_000)
	if err != nil {
		return nil, err
	}
	return wire.Management("get applications").Field("status", "ok").Field("applications", appMap(apps)), nil
}

// System answers /system/…, for the superuser.
func (h *Handlers) System(req *wire.Request) (*wire.Reply, error) {
	if err := superuserOnly(req); err != nil {
		return nil, err
	}
	return nil, notOffered()
}

// Accounts answers what of an application is about credentials: its token
// endpoint, its client's credentials, the tokens of a user.
func (h *Handlers) Accounts(req *wire.Request) (*wire.Reply, error) {
	s := req.Segments()
	switch {
	case len(s) == 1 && strings.EqualFold(s[0], "token"):
		return h.applicationToken(req)
	case len(s) == 1 && strings.EqualFold(s[0], "credentials"):
		return h.applicationKeys(req)
	case len(s) == 1 && strings.EqualFold(s[0], "authorize"):
		return nil, notOffered()
	case len(s) == 3 && strings.EqualFold(s[2], "token"):
		return h.userToken(req, s[1])
	case len(s) == 3 && strings.EqualFold(s[2], "revoketoken"):
		return h.revokeUserTokens(req, s[1], true)
	case len(s) == 3 && strings.EqualFold(s[2], "revoketokens"):
		return h.revokeUserTokens(req, s[1], false)
	}
	return nil, noRoute()
}

func noRoute() error    { return fault.New(fault.NotFound, "no such resource") }
func noMethod() error   { return fault.New(fault.NotAllowed, "the method is not offered here") }
func notOffered() error { return fault.New(fault.NotImplemented, "not offered by this version") }

func bad(format string, args ...any) error { return fault.New(fault.IllegalArgument, format, args...) }

// superuserOnly refuses everybody else (A12).
func superuserOnly(req *wire.Request) error {
	if req.Principal.Kind == auth.Superuser {
		return nil
	}
	return wire.Challenge(fault.New(fault.Unauthorized, "No system access authorized"))
}

// propose runs a command and makes a refusal of it an error. If the client
// named its request, a retry gets the answer of the first try.
func (h *Handlers) propose(req *wire.Request, op command.Op) (command.Outcome, error) {
	cmd := command.Command{App: entity.Management, Op: op}
	id, named, err := req.Idempotency(0)
	if err != nil {
		return command.Outcome{}, err
	}
	if named {
		cmd.Request = command.RequestID(id)
	}
	out, err := h.cluster.Propose(req.Context(), entity.Management, cmd)
	if err != nil {
		return out, err
	}
	if out.Fault != nil {
		return out, out.Fault
	}
	return out, nil
}

// args reads parameters wherever they were sent. The first error stays.
type args struct {
	req *wire.Request
	err error
}

func (a *args) get(name string) string {
	v, err := a.req.Param(name)
	if err != nil && a.err == nil {
		a.err = err
	}
	return strings.TrimSpace(v)
}

// exact is get without trimming, for passwords.
func (a *args) exact(name string) string {
	v, err := a.req.Param(name)
	if err != nil && a.err == nil {
		a.err = err
	}
	return v
}

// oauth gives failures of a token endpoint the body that they have there.
func oauth(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && (f.Code == fault.InvalidGrant || f.Code == fault.UnauthorizedClient) {
		return wire.OAuth(err)
	}
	return err
}
