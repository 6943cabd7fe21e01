package management

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func (c *call) showOrganization() (*wire.Reply, error) {
	shown, err := c.describe(c.org.ID)
	if err != nil {
		return nil, err
	}
	return wire.Management("").Field("organization", shown), nil
}

func (c *call) deleteOrganization() (*wire.Reply, error) {
	return nil, fault.New(fault.NotImplemented, "Organization deletion is not supported")
}

func (c *call) listOrganizations() (*wire.Reply, error) {
	limit, err := strconv.Atoi(c.req.Query("limit"))
	if err != nil || limit <= 0 {
		limit = 10
	}
	var after uint64
	if cursor := c.req.Query("cursor"); cursor != "" {
		if after, err = strconv.ParseUint(cursor, 36, 64); err != nil {
			return nil, bad("cursor is not one of this listing")
		}
	}
	ctx := c.req.Context()
	orgs, next, err := c.dir.AllOrganizations(ctx, entity.Seq(after), min(limit, 1000))
	if err != nil {
		return nil, err
	}
	list := make([]organizationObject, 0, len(orgs))
	for _, o := range orgs {
		apps, err := c.dir.Applications(ctx, o.ID, false)
		if err != nil {
			return nil, err
		}
		shown := organizationOf(o, false)
		shown.Applications = appMap(apps)
		list = append(list, shown)
	}
	reply := wire.Management("").Field("organizations", list).Field("count", len(list))
	if next > 0 {
		reply.Field("cursor", strconv.FormatUint(uint64(next), 36))
	}
	return reply, nil
}

// reserved are names that literal routes have taken.
func reserved(name string) bool {
	switch strings.ToLower(name) {
	case "management", "system", "status", "lb-status", "apps", "applications", "orgs", "organizations", "o", "a",
		"resources.json", "applications.json", "management.json", "testproperties", "favicon.ico", "css", "js", "images", "metrics":
		return true
	}
	return false
}

// maxName bounds the names of organisations, applications and admin users.
const maxName = 256

// checkName refuses a name that could not be addressed, or is no name at all.
func checkName(what, name string) error {
	switch {
	case len(name) > maxName || !utf8.ValidString(name):
		return bad("%s is longer than %d bytes", what, maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return bad("%s contains a character that is not allowed", what)
	}
	if _, isID := entity.ParseID(name); isID {
		return bad("%s must not look like a UUID", what)
	}
	return nil
}

// checkOrganizationName refuses what cannot be an organisation's name: all that a path
// segment can hold can be, but for what literal routes have taken, dots alone, which
// clients resolve, and what begins or ends with a space.
func checkOrganizationName(name string) error {
	switch {
	case name == "":
		return bad("The organization parameter was missing")
	case reserved(name), strings.Trim(name, ".") == "":
		return bad("The organization name %q is reserved", name)
	}
	return checkName("organization", name)
}

func (c *call) createOrganization() (*wire.Reply, error) {
	super := c.req.Principal.Kind == auth.Superuser
	if !c.cfg.PublicRegistration && !super {
		return nil, bad("Public organization registration is disabled")
	}
	kind, err := c.req.Kind()
	if err != nil {
		return nil, err
	}
	if kind == wire.NoBody {
		return nil, bad("The organization parameter was missing: it is taken from a form or JSON body")
	}
	a := args{req: c.req}
	name, email, password := a.get("organization"), a.get("email"), a.exact("password")
	if a.err != nil {
		return nil, a.err
	}
	if err := checkOrganizationName(name); err != nil {
		return nil, err
	}
	if email == "" {
		return nil, bad("The email parameter was missing")
	}
	n, err := c.newOrganization(name)
	if err != nil {
		return nil, err
	}
	owner := &directory.Admin{}
	if super && strings.TrimSpace(password) == "" {
		owner, err = c.existingOwner(email)
		n.op.OwnerID = owner.ID
	} else {
		n.op.Owner, owner, err = c.newAdmin(email, password, c.cfg.Registration.open(), "organization", "properties")
		n.owned = true
	}
	if err != nil {
		return nil, err
	}
	org, owner, err := c.found(n, owner)
	if err != nil {
		return nil, err
	}
	return wire.Management("new organization").Field("status", "ok").Field("data", struct {
		Owner        adminObject        `json:"owner"`
		Organization organizationObject `json:"organization"`
	}{adminOf(owner), organizationOf(org, true)}), nil
}

// existingOwner returns the admin user with an address. It never returns nil.
func (c *call) existingOwner(email string) (*directory.Admin, error) {
	owner, err := c.dir.Admin(c.req.Context(), email)
	if err == nil && strings.EqualFold(owner.Email, email) {
		return owner, nil
	}
	if err != nil && !fault.Is(err, fault.Management) {
		return &directory.Admin{}, err
	}
	return &directory.Admin{}, bad("no admin user has the e-mail address %q, and no password was given to create one", email)
}

// founding is an organisation that is to be created.
type founding struct {
	op    *command.CreateOrganization
	org   *directory.Organization
	owned bool // its owner is created with it
}

// found creates an organisation with all that goes with it, or nothing of that.
func (c *call) found(n *founding, owner *directory.Admin) (*directory.Organization, *directory.Admin, error) {
	r := &c.cfg.Registration
	o := c.outbox(entity.Management)
	if n.owned {
		p := adminPerson(owner, n.org.ID)
		switch {
		case r.ConfirmAdmins:
			o.confirmation(&p)
		case r.ApproveAdmins:
			o.approval(&p)
		case owner.Activated:
			o.activated(&p, r.NotifyAdmins)
		}
	}
	o.admitOrganization(n.org, []*directory.Admin{owner})
	if o.err != nil {
		return nil, nil, o.err
	}
	told := organizationEvent(n.org)
	o.ops = append(o.ops, told.post(owner, []entity.ID{owner.ID}, o.now))
	out, err := c.proposeIn(entity.Management, o.now, *n.op, o.ops...)
	if err != nil {
		return nil, nil, err
	}
	org, owner, err := directory.Created(out)
	c.org = org
	return org, owner, err
}

// newOrganization makes the choices that a new organisation and its first
// application need.
func (c *call) newOrganization(name string) (*founding, error) {
	app, err := c.newApplication(c.cfg.SandboxName, true)
	if err != nil {
		return nil, err
	}
	properties, err := c.organizationProperties()
	if err != nil {
		return nil, err
	}
	active := !c.cfg.Registration.ApproveOrganizations && !c.cfg.Registration.ConfirmOrganizations
	record := directory.Fields{}
	record.Set("name", name)
	record.Set("activated", active)
	if err := record.SetCustom(withoutEmpty(properties)); err != nil {
		return nil, err
	}
	e := newEntity(record.JSON())
	secret, err := c.dir.NewClientSecret(auth.OwnerOrganization, e.ID)
	if err != nil {
		return nil, err
	}
	e.Credentials = []command.Credential{secret}
	return &founding{
		op:  &command.CreateOrganization{Organization: e, Name: name, Application: &app},
		org: &directory.Organization{ID: e.ID, Name: name, Activated: active},
	}, nil
}

// organizationProperties returns the object "properties" of a JSON body; nil if it has
// none.
func (c *call) organizationProperties() (map[string]json.RawMessage, error) {
	if kind, err := c.req.Kind(); err != nil || kind != wire.JSONBody {
		return nil, err
	}
	text, err := c.objectText()
	if err != nil {
		return nil, err
	}
	all, err := members(text)
	p := all["properties"]
	switch {
	case err != nil, len(p) == 0, string(p) == "null":
		return nil, err
	case p[0] != '{':
		return nil, fault.New(fault.JSONMapping, "properties must be a JSON object")
	}
	return members(p, secretFields...)
}

// body returns a JSON body, which must be an object.
func (c *call) body() (*fastjson.Value, error) {
	v, err := c.req.Value()
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, bad("missing json body")
	}
	if v.Type() != fastjson.TypeObject {
		return nil, fault.New(fault.JSONMapping, "the body must be a JSON object")
	}
	return v, nil
}

// newEntity makes an entity of a record of the management application.
func newEntity(record []byte) command.NewEntity {
	id := entity.NewID()
	created, _ := id.Time()
	return command.NewEntity{ID: id, Created: created, Modified: created, JSON: record}
}

// updateOrganization merges properties (spec management section 3.4).
func (c *call) updateOrganization() (*wire.Reply, error) {
	reply := wire.Management("put").RawField("params", c.req.AppendParams(nil))
	if kind, err := c.req.Kind(); err != nil || kind == wire.NoBody {
		return reply, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	properties, err := c.organizationProperties()
	if err != nil || len(properties) == 0 {
		return reply, err
	}
	patch := directory.Fields{}
	if err := c.dir.AddLegacy(c.req.Context(), patch, command.Organizations().Collection, c.org.ID); err != nil {
		return nil, err
	}
	if err := patch.SetCustom(properties); err != nil {
		return nil, err
	}
	_, err = c.propose(command.UpdateEntity{Rules: command.Organizations(), Target: command.Target{ID: c.org.ID}, Patch: patch.JSON()})
	return reply, err
}

func (c *call) organizationCredentials() (*wire.Reply, error) {
	return c.credentials(command.Organizations().Collection, auth.OwnerOrganization, c.org.ID,
		"get organization client credentials", "generate organization client credentials")
}

// credentials answers GET and POST of a client's credentials.
func (c *call) credentials(collection string, owner auth.Owner, id entity.ID, get, generate string) (*wire.Reply, error) {
	action := get
	if c.req.Method() == "POST" {
		action = generate
		secret, err := c.dir.NewClientSecret(owner, id)
		if err != nil {
			return nil, err
		}
		if _, err = c.propose(command.SetCredential{Collection: collection, Owner: id, Credential: secret}); err != nil {
			return nil, err
		}
	}
	// Read back what is stored: a retry made no new secret.
	secret, err := c.dir.ClientSecret(c.req.Context(), id)
	if err != nil {
		return nil, err
	}
	return wire.Management(action).Field("credentials", credentialsObject{auth.ClientID(owner, id), secret}), nil
}
