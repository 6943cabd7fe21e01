package management

import (
	"errors"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// call is one request on its route.
type call struct {
	*Handlers
	req   *wire.Request
	route *Route
	org   *directory.Organization // {org} of a management path
	admin *directory.Admin        // {user} of a management path
	app   *directory.Application  // {app} of a management path

	proposed int // commands so far
}

// serve answers a request of an area: it finds the route, resolves what the path names,
// checks access, and hands over.
func (h *Handlers) serve(area string, req *wire.Request, segments []string) (*wire.Reply, error) {
	r, err := h.areas[area].find(req.Method(), segments)
	if err != nil {
		return nil, err
	}
	c := &call{Handlers: h, req: req, route: r}
	req.SetSegments(segments)
	if err := c.resolve(); err != nil {
		return nil, err
	}
	if err := c.allow(); err != nil {
		return nil, err
	}
	reply, err := r.answer(c)
	if err == nil && r.is&changes != 0 {
		c.note()
	}
	return reply, err
}

// segment returns what stands in the place of a placeholder, without its braces.
func (c *call) segment(name string) string {
	if i := slices.Index(c.route.names, "{"+name+"}"); i >= 0 {
		return c.req.Segments()[i]
	}
	return ""
}

// resolve finds what the path names (R2, R3, R4).
func (c *call) resolve() (err error) {
	ctx := c.req.Context()
	if s := c.segment("org"); s != "" {
		if c.org, err = c.dir.Organization(ctx, s); err != nil {
			return err
		}
	}
	if s := c.segment("user"); s != "" {
		if c.admin, err = c.adminNamed(s); err != nil {
			return err
		}
	}
	if s := c.segment("app"); s != "" {
		c.app, err = c.dir.Application(ctx, c.org.ID.String(), s)
		if fault.Is(err, fault.OrganizationApplicationNotFound) {
			err = fault.Wrap(err, fault.EntityNotFound, "Could not find application %s/%s", c.org.Key(), s)
		}
	}
	return err
}

// adminNamed resolves {user}: me is the caller (A16).
func (c *call) adminNamed(who string) (*directory.Admin, error) {
	if strings.EqualFold(who, "me") {
		if !c.req.Principal.IsAdmin() {
			return nil, fault.New(fault.Unauthorized, "No admin identity for access credentials provided")
		}
		who = c.req.Principal.ID.String()
	}
	return c.dir.Admin(c.req.Context(), who)
}

// allow refuses whom the route is not for.
func (c *call) allow() error {
	p := c.req.Principal
	switch c.route.Who {
	case Members:
		if !p.Manages(c.org.ID) {
			return fault.New(fault.Unauthorized, "No organization access authorized")
		}
	case Self:
		if !c.isSelf() {
			return noAdminAccess()
		}
	case Superuser:
		if p.Kind != auth.Superuser {
			return noSystemAccess()
		}
	case Permitted:
		if err := c.req.Access.Check(auth.OpOf(c.req.Method()), c.req.Segments()); err != nil {
			return err
		}
	case Administrators:
		if !c.req.Access.Everything() {
			return fault.New(fault.Unauthorized, "Subject does not have permission to access this resource")
		}
	}
	if c.route.is&ofOrg == 0 {
		return nil
	}
	member, err := c.dir.IsMember(c.req.Context(), c.org.ID, c.admin.ID)
	if err == nil && !member {
		err = fault.New(fault.Management, "Could not find user for username: %s in organization %s", c.admin.Username, c.org.Name)
	}
	return err
}

func noSystemAccess() error {
	return wire.Challenge(fault.New(fault.Unauthorized, "No system access authorized"))
}

func noAdminAccess() error {
	return fault.New(fault.Unauthorized, "No admin user access authorized")
}

// isSelf reports whether the caller is the admin user of the path, or the superuser.
func (c *call) isSelf() bool {
	p := c.req.Principal
	return p.Kind == auth.Superuser || (p.Kind == auth.Admin && p.ID == c.admin.ID)
}

// note writes to the log who changed what. It names the pattern of the path, in which
// there are no secrets.
func (c *call) note() {
	p := c.req.Principal
	facts := []any{"method", c.route.Method, "route", c.route.Pattern, "by", p.Kind.String(), "request", c.req.ID(), "address", c.req.Address().String()}
	if !p.ID.IsZero() {
		facts = append(facts, "caller", p.ID.String())
	}
	if p.Username != "" {
		facts = append(facts, "username", p.Username)
	}
	if c.org != nil {
		facts = append(facts, "organization", c.org.Name)
	}
	if c.admin != nil {
		facts = append(facts, "user", c.admin.ID.String())
	}
	if c.app != nil {
		facts = append(facts, "application", c.app.FullName())
	}
	if c.req.App != nil {
		facts = append(facts, "application", c.req.App.OrganizationName+"/"+c.req.App.Name)
	}
	c.Log.Info("management change", facts...)
}

// never answers what the API names and this version does not offer.
func (c *call) never() (*wire.Reply, error) { return nil, notOffered() }

func bad(format string, args ...any) error { return fault.New(fault.IllegalArgument, format, args...) }

// propose runs a command in the management application and makes a refusal of it an
// error. If the client named its request, a retry gets the answer of the first try.
func (c *call) propose(op command.Op, then ...command.Op) (command.Outcome, error) {
	return c.proposeIn(entity.Management, 0, op, then...)
}

// proposeIn is propose in an application, with the clock that the command shows; 0:
// that of now.
func (c *call) proposeIn(app entity.AppID, now int64, op command.Op, then ...command.Op) (command.Outcome, error) {
	if len(then) > 0 {
		op = command.Together{First: op, Then: then}
	}
	cmd := command.Command{App: app, Time: now, Op: op}
	id, named, err := c.req.Idempotency(c.proposed)
	if err != nil {
		return command.Outcome{}, err
	}
	c.proposed++
	if named {
		cmd.Request = command.RequestID(id)
	}
	out, err := c.cluster.Propose(c.req.Context(), app, cmd)
	if err != nil {
		return out, err
	}
	c.req.Wrote()
	if out.Fault != nil {
		return out, out.Fault
	}
	return out, nil
}

// now is the time of the request, in ms since the epoch.
func (c *call) now() int64 { return c.req.Time().UnixMilli() }

// args reads parameters wherever they were sent. The first error stays.
type args struct {
	req *wire.Request
	err error
}

func (a *args) get(name string) string { return strings.TrimSpace(a.exact(name)) }

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
