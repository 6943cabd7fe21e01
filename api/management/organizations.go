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

func noOrganizationAccess() error {
	return fault.New(fault.Unauthorized, "No organization access authorized")
}

// organizations answers /management/orgs/…
func (h *Handlers) organizations(req *wire.Request, s []string) (*wire.Reply, error) {
	if len(s) == 0 {
		switch req.Method() {
		case "POST":
			return h.createOrganization(req)
		case "GET":
			return h.listOrganizations(req)
		}
		return nil, noMethod()
	}
	if len(s) == 1 && req.Method() == "DELETE" {
		return nil, fault.New(fault.NotImplemented, "Organization deletion is not supported")
	}
	org, err := h.dir.Organization(req.Context(), s[0])
	if err != nil {
		return nil, err
	}
	if len(s) == 1 {
		return h.organization(req, org)
	}
	rest := s[2:]
	switch strings.ToLower(s[1]) {
	case "credentials":
		if len(rest) == 0 {
			return h.organizationCredentials(req, org)
		}
	case "apps", "applications":
		return h.applications(req, org, rest)
	case "users":
		return h.organizationUsers(req, org, rest)
	case "activate", "confirm", "reactivate":
		if len(rest) == 0 {
			return nil, notOffered() // public
		}
	case "config":
		if err := superuserOnly(req); err != nil {
			return nil, err
		}
		return nil, notOffered()
	case "feed", "export", "imports":
		if err := mayManage(req.Principal, org); err != nil {
			return nil, err
		}
		return nil, notOffered()
	}
	return nil, noRoute()
}

func (h *Handlers) organization(req *wire.Request, org *directory.Organization) (*wire.Reply, error) {
	if err := mayManage(req.Principal, org); err != nil {
		return nil, err
	}
	switch req.Method() {
	case "PUT":
		return nil, notOffered()
	case "GET":
	default:
		return nil, noMethod()
	}
	shown, err := h.describe(req, org.ID)
	if err != nil {
		return nil, err
	}
	return wire.Management("").Field("organization", shown), nil
}

// describe shows an organisation with its applications and users.
func (h *Handlers) describe(req *wire.Request, id entity.ID) (organizationObject, error) {
	m, err := h.dir.Describe(req.Context(), id, true)
	if err != nil {
		return organizationObject{}, err
	}
	shown := showOrganization(m.Organization, true)
	shown.Applications, shown.Users = appMap(m.Applications), userMap(m.Members)
	return shown, nil
}

func (h *Handlers) listOrganizations(req *wire.Request) (*wire.Reply, error) {
	if err := superuserOnly(req); err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(req.Query("limit"))
	if err != nil || limit <= 0 {
		limit = 10
	}
	var after uint64
	if cursor := req.Query("cursor"); cursor != "" {
		if after, err = strconv.ParseUint(cursor, 36, 64); err != nil {
			return nil, bad("cursor is not one of this listing")
		}
	}
	orgs, next, err := h.dir.AllOrganizations(req.Context(), entity.Seq(after), min(limit, 1000))
	if err != nil {
		return nil, err
	}
	list := make([]organizationObject, 0, len(orgs))
	for _, o := range orgs {
		apps, err := h.dir.Applications(req.Context(), o.ID, false)
		if err != nil {
			return nil, err
		}
		shown := showOrganization(o, false)
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

func (h *Handlers) createOrganization(req *wire.Request) (*wire.Reply, error) {
	super := req.Principal.Kind == auth.Superuser
	if !h.cfg.PublicRegistration && !super {
		return nil, bad("Public organization registration is disabled")
	}
	kind, err := req.Kind()
	if err != nil {
		return nil, err
	}
	if kind == wire.NoBody {
		return nil, bad("The organization parameter was missing: it is taken from a form or JSON body")
	}
	a := args{req: req}
	name := a.get("organization")
	email := a.get("email")
	password := a.exact("password")
	if a.err != nil {
		return nil, a.err
	}
	switch {
	case name == "":
		return nil, bad("The organization parameter was missing")
	case email == "":
		return nil, bad("The email parameter was missing")
	case reserved(name):
		return nil, bad("The organization name %q is reserved", name)
	}
	if err := checkName("organization", name); err != nil {
		return nil, err
	}
	op, err := h.newOrganization(req, name)
	if err != nil {
		return nil, err
	}
	if super && strings.TrimSpace(password) == "" {
		owner, err := h.dir.Admin(req.Context(), email)
		if err != nil || !strings.EqualFold(owner.Email, email) {
			if err != nil && !fault.Is(err, fault.Management) {
				return nil, err
			}
			return nil, bad("no admin user has the e-mail address %q, and no password was given to create one", email)
		}
		op.OwnerID = owner.ID
	} else if op.Owner, err = h.newAdmin(req, email, password, "organization", "properties"); err != nil {
		return nil, err
	}
	out, err := h.propose(req, *op)
	if err != nil {
		return nil, err
	}
	org, owner, err := directory.Created(out)
	if err != nil {
		return nil, err
	}
	return wire.Management("new organization").Field("status", "ok").Field("data", struct {
		Owner        adminObject        `json:"owner"`
		Organization organizationObject `json:"organization"`
	}{showAdmin(owner), showOrganization(org, true)}), nil
}

// newOrganization makes the choices that a new organisation and its first
// application need.
func (h *Handlers) newOrganization(req *wire.Request, name string) (*command.CreateOrganization, error) {
	app, err := h.newApplication(h.cfg.SandboxName, true)
	if err != nil {
		return nil, err
	}
	properties, err := organizationProperties(req)
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(struct {
		Name       string          `json:"name"`
		Properties json.RawMessage `json:"properties"`
	}{name, properties})
	if err != nil {
		return nil, err
	}
	e := newEntity(record)
	secret, err := h.dir.NewClientSecret(auth.OwnerOrganization, e.ID)
	if err != nil {
		return nil, err
	}
	e.Credentials = []command.Credential{secret}
	return &command.CreateOrganization{Organization: e, Name: name, Application: &app}, nil
}

// organizationProperties returns the object "properties" of a JSON body.
func organizationProperties(req *wire.Request) (json.RawMessage, error) {
	if kind, err := req.Kind(); err != nil || kind != wire.JSONBody {
		return json.RawMessage("{}"), err
	}
	v, err := req.Value()
	if err != nil {
		return nil, err
	}
	if v.Type() != fastjson.TypeObject {
		return nil, fault.New(fault.JSONMapping, "the body must be a JSON object")
	}
	p := v.Get("properties")
	if p == nil || p.Type() == fastjson.TypeNull {
		return json.RawMessage("{}"), nil
	}
	if p.Type() != fastjson.TypeObject {
		return nil, fault.New(fault.JSONMapping, "properties must be a JSON object")
	}
	return compactWithout(p, secretFields...)
}

// newEntity makes an entity of a record of the management application.
func newEntity(record []byte) command.NewEntity {
	id := entity.NewID()
	created, _ := id.Time()
	return command.NewEntity{ID: id, Created: created, Modified: created, JSON: record}
}

func (h *Handlers) organizationCredentials(req *wire.Request, org *directory.Organization) (*wire.Reply, error) {
	if err := mayManage(req.Principal, org); err != nil {
		return nil, err
	}
	return h.credentials(req, command.Organizations().Collection, auth.OwnerOrganization, org.ID,
		"get organization client credentials", "generate organization client credentials")
}

// credentials answers GET and POST of a client's credentials.
func (h *Handlers) credentials(req *wire.Request, collection string, owner auth.Owner, id entity.ID, get, generate string) (*wire.Reply, error) {
	action := get
	switch req.Method() {
	case "GET":
	case "POST":
		action = generate
		secret, err := h.dir.NewClientSecret(owner, id)
		if err != nil {
			return nil, err
		}
		if _, err = h.propose(req, command.SetCredential{Collection: collection, Owner: id, Credential: secret}); err != nil {
			return nil, err
		}
	default:
		return nil, noMethod()
	}
	// Read back what is stored: a retry made no new secret.
	secret, err := h.dir.ClientSecret(req.Context(), id)
	if err != nil {
		return nil, err
	}
	return wire.Management(action).Field("credentials", credentialsObject{auth.ClientID(owner, id), secret}), nil
}
