package management

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func noAdminAccess() error {
	return fault.New(fault.Unauthorized, "No admin user access authorized")
}

// adminUsers answers /management/users/…
func (h *Handlers) adminUsers(req *wire.Request, s []string) (*wire.Reply, error) {
	if len(s) == 0 {
		if req.Method() != "POST" {
			return nil, noMethod()
		}
		return h.createAdmin(req)
	}
	if strings.EqualFold(s[0], "resetpw") {
		return nil, notOffered() // public
	}
	admin, err := h.adminNamed(req, s[0])
	if err != nil {
		return nil, err
	}
	return h.adminUser(req, admin, s[1:])
}

// adminNamed resolves {user}: me is the caller (A16).
func (h *Handlers) adminNamed(req *wire.Request, who string) (*directory.Admin, error) {
	if strings.EqualFold(who, "me") {
		if !req.Principal.IsAdmin() {
			return nil, fault.New(fault.Unauthorized, "No admin identity for access credentials provided")
		}
		who = req.Principal.ID.String()
	}
	return h.dir.Admin(req.Context(), who)
}

// selfOrSuperuser refuses everybody else (A11).
func selfOrSuperuser(p *auth.Principal, admin *directory.Admin) error {
	if p.Kind == auth.Superuser || (p.Kind == auth.Admin && p.ID == admin.ID) {
		return nil
	}
	return noAdminAccess()
}

func (h *Handlers) adminUser(req *wire.Request, admin *directory.Admin, rest []string) (*wire.Reply, error) {
	if len(rest) > 1 && !strings.EqualFold(rest[0], "organizations") && !strings.EqualFold(rest[0], "orgs") {
		return nil, noRoute()
	}
	command := ""
	if len(rest) > 0 {
		command = strings.ToLower(rest[0])
	}
	switch command {
	case "revoketoken", "revoketokens":
		return h.revokeAdminTokens(req, admin, command == "revoketoken")
	case "password":
		return h.adminPassword(req, admin)
	case "activate", "confirm", "reactivate", "resetpw":
		return nil, notOffered() // public
	case "feed", "organizations", "orgs":
		if err := selfOrSuperuser(req.Principal, admin); err != nil {
			return nil, err
		}
		return nil, notOffered()
	case "":
	default:
		return nil, noRoute()
	}
	if err := selfOrSuperuser(req.Principal, admin); err != nil {
		return nil, err
	}
	switch req.Method() {
	case "GET":
		return h.showAdminUser(req, admin)
	case "PUT":
		return nil, notOffered()
	}
	return nil, noMethod()
}

// showAdminUser answers with an admin user, his organisations and a token.
func (h *Handlers) showAdminUser(req *wire.Request, admin *directory.Admin) (*wire.Reply, error) {
	shallow := req.Query("shallow") == "true"
	list, err := h.organizationsOf(req, admin, !shallow)
	if err != nil {
		return nil, err
	}
	shown := showAdmin(admin)
	shown.Organizations = organizationMap(list, shallow)
	shown.Token = req.Principal.Token
	if shown.Token == "" { // Basic
		life, err := h.dir.Life("", nil)
		if err != nil {
			return nil, err
		}
		grant, err := h.dir.Issue(req.Context(), entity.PrincipalAdmin, admin.ID, life)
		if err != nil {
			return nil, err
		}
		shown.Token = grant.Token
	}
	return wire.Management("get admin user").Field("status", "ok").Field("data", shown), nil
}

func (h *Handlers) createAdmin(req *wire.Request) (*wire.Reply, error) {
	a := args{req: req}
	email := a.get("email")
	password := a.exact("password")
	if a.err != nil {
		return nil, a.err
	}
	if email == "" {
		return nil, bad("email form parameter is required")
	}
	e, err := h.newAdmin(req, email, password)
	if err != nil {
		return nil, err
	}
	out, err := h.propose(req, command.CreateEntities{Rules: command.Admins(), Items: []command.NewEntity{*e}})
	if err != nil {
		return nil, err
	}
	admin, err := directory.CreatedAdmin(out)
	if err != nil {
		return nil, err
	}
	return wire.Management("create user").Field("status", "ok").Field("data", map[string]any{"user": showAdmin(admin)}), nil
}

// Fields of a body that are never a custom property.
var (
	adminFields  = []string{"username", "name", "email"}
	secretFields = []string{
		"password", "oldpassword", "newpassword", "pin", "access_token", "client_id", "client_secret", "credentials", "credentialsHistory",
	}
)

// newAdmin makes an admin user of the parameters of a request. JSON members
// that are neither known nor named in not become custom properties.
func (h *Handlers) newAdmin(req *wire.Request, email, password string, not ...string) (*command.NewEntity, error) {
	a := args{req: req}
	username, name := a.get("username"), a.get("name")
	if a.err != nil {
		return nil, a.err
	}
	if username == "" {
		username = email
	}
	if name == "" {
		name = email
	}
	if strings.EqualFold(username, "me") || strings.EqualFold(username, "resetpw") {
		return nil, bad("the username %q is reserved", username)
	}
	for _, n := range []struct{ what, name string }{{"username", username}, {"email", email}} {
		if err := checkName(n.what, n.name); err != nil {
			return nil, err
		}
	}
	if len(name) > maxName {
		return nil, bad("name is longer than %d bytes", maxName)
	}
	properties, err := customProperties(req, not)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(password) == "" {
		if password, err = directory.RandomPassword(); err != nil {
			return nil, err
		}
	}
	credential, err := h.dir.HashPassword(req.Context(), password)
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(struct {
		Username   string          `json:"username"`
		Name       string          `json:"name"`
		Email      string          `json:"email"`
		Activated  bool            `json:"activated"`
		Confirmed  bool            `json:"confirmed"`
		Disabled   bool            `json:"disabled"`
		Properties json.RawMessage `json:"properties"`
	}{username, name, email, true, true, false, properties})
	if err != nil {
		return nil, err
	}
	e := newEntity(record)
	e.Credentials = []command.Credential{credential}
	return &e, nil
}

// customProperties returns what of a JSON body is nobody else's.
func customProperties(req *wire.Request, not []string) (json.RawMessage, error) {
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
	return compactWithout(v, append(append(append([]string(nil), adminFields...), secretFields...), not...)...)
}

// compactWithout returns an object as compact JSON, without the members named,
// nulls, and passwords at any depth.
func compactWithout(v *fastjson.Value, names ...string) (json.RawMessage, error) {
	var any map[string]json.RawMessage
	if err := json.Unmarshal(v.MarshalTo(nil), &any); err != nil {
		return nil, fault.Wrap(err, fault.JSONParse, "the body is not valid JSON")
	}
	for key, value := range any {
		if foldedIn(key, names) || string(value) == "null" {
			delete(any, key)
			continue
		}
		any[key] = withoutPasswords(value)
	}
	return json.Marshal(any)
}

// withoutPasswords drops members called password from objects inside value.
func withoutPasswords(value json.RawMessage) json.RawMessage {
	var inner map[string]json.RawMessage
	if json.Unmarshal(value, &inner) != nil || inner == nil {
		return value
	}
	for key, v := range inner {
		if strings.EqualFold(key, "password") {
			delete(inner, key)
			continue
		}
		inner[key] = withoutPasswords(v)
	}
	out, err := json.Marshal(inner)
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}

func foldedIn(key string, names []string) bool {
	for _, n := range names {
		if strings.EqualFold(key, n) {
			return true
		}
	}
	return false
}

// adminPassword answers PUT and POST of an admin user's password (spec
// management section 5.4). Knowing the old one authorises.
func (h *Handlers) adminPassword(req *wire.Request, admin *directory.Admin) (*wire.Reply, error) {
	if m := req.Method(); m != "PUT" && m != "POST" {
		return nil, noMethod()
	}
	a := args{req: req}
	old, next := a.exact("oldpassword"), a.exact("newpassword")
	if old == "" {
		old = a.exact("password")
	}
	if a.err != nil {
		return nil, a.err
	}
	super := req.Principal.Kind == auth.Superuser
	if super && next == "" {
		next = old
	}
	if next == "" || (old == "" && !super) {
		return nil, bad("oldpassword and newpassword are both required")
	}
	if err := h.dir.SetAdminPassword(req.Context(), admin.ID.String(), old, next, super); err != nil {
		return nil, err
	}
	return wire.Management("set user password"), nil
}

// organizationUsers answers /management/orgs/{org}/users/…: aliases of what
// lies under /management/users, for members.
func (h *Handlers) organizationUsers(req *wire.Request, org *directory.Organization, s []string) (*wire.Reply, error) {
	if len(s) == 0 {
		if err := mayManage(req.Principal, org); err != nil {
			return nil, err
		}
		if req.Method() != "GET" {
			return nil, notOffered()
		}
		members, err := h.dir.Members(req.Context(), org.ID)
		if err != nil {
			return nil, err
		}
		list := make([]adminObject, 0, len(members))
		for _, m := range members {
			list = append(list, showAdmin(m))
		}
		return wire.Management("get organization users").Field("data", list), nil
	}
	if strings.EqualFold(s[0], "resetpw") {
		return nil, notOffered() // public
	}
	admin, err := h.adminNamed(req, s[0])
	if err != nil {
		return nil, err
	}
	if len(s) == 1 && req.Method() != "GET" {
		if err := mayManage(req.Principal, org); err != nil {
			return nil, err
		}
		return nil, notOffered()
	}
	m, err := h.dir.Describe(req.Context(), org.ID, true)
	if err != nil {
		return nil, err
	}
	member := false
	for _, a := range m.Members {
		member = member || a.ID == admin.ID
	}
	if !member {
		if err := mayManage(req.Principal, org); err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Management, "Could not find user for username: %s in organization %s", s[0], org.Name)
	}
	if len(s) > 1 || selfOrSuperuser(req.Principal, admin) == nil {
		return h.adminUser(req, admin, s[1:])
	}
	if err := mayManage(req.Principal, org); err != nil {
		return nil, err
	}
	shown := showAdmin(admin)
	shown.Organizations = organizationMap([]directory.Membership{*m}, req.Query("shallow") == "true")
	return wire.Management("get admin user").Field("status", "ok").Field("data", shown), nil
}
