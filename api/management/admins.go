package management

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// showAdmin answers with an admin user, his organisations and a token.
func (c *call) showAdmin() (*wire.Reply, error) {
	shallow := c.req.Query("shallow") == "true"
	list, err := c.organizationsOf(c.admin, !shallow)
	if err != nil {
		return nil, err
	}
	shown := adminOf(c.admin)
	shown.Organizations = organizationMap(list, shallow)
	shown.Token = c.req.Principal.Token
	if shown.Token == "" { // Basic
		life, err := c.dir.Life("", nil)
		if err != nil {
			return nil, err
		}
		grant, err := c.dir.Issue(c.req.Context(), entity.PrincipalAdmin, c.admin.ID, life)
		if err != nil {
			return nil, err
		}
		shown.Token = grant.Token
	}
	return wire.Management("get admin user").Field("status", "ok").Field("data", shown), nil
}

func (c *call) createAdmin() (*wire.Reply, error) {
	a := args{req: c.req}
	email, password := a.get("email"), a.exact("password")
	if a.err != nil {
		return nil, a.err
	}
	if email == "" {
		return nil, bad("email form parameter is required")
	}
	r := &c.cfg.Registration
	e, admin, err := c.newAdmin(email, password, !r.ConfirmAdmins && !r.ApproveAdmins)
	if err != nil {
		return nil, err
	}
	o := c.outbox(entity.Management)
	if o.admit(admin, entity.ID{}); o.err != nil {
		return nil, o.err
	}
	admin, err = c.enroll(o, e)
	if err != nil {
		return nil, err
	}
	return aboutAdmin("create user", admin), nil
}

// enroll creates an admin user with what goes with him.
func (c *call) enroll(o *outbox, e *command.NewEntity, then ...command.Op) (*directory.Admin, error) {
	out, err := c.proposeIn(entity.Management, o.now,
		command.CreateEntities{Rules: command.Admins(), Items: []command.NewEntity{*e}}, append(then, o.ops...)...)
	if err != nil {
		return nil, err
	}
	c.admin, err = directory.CreatedAdmin(out)
	return c.admin, err
}

// Fields of a body that are never a custom property. What an account may do is among
// them: no body says that.
var (
	adminFields  = []string{"username", "name", "email", "activated", "confirmed", "disabled", "adminuser", "uuid", "applicationid", "type", "superuser", "invite"}
	secretFields = []string{
		"password", "oldpassword", "newpassword", "pin", "access_token", "client_id", "client_secret", "credentials", "credentialsHistory",
	}
)

// checkUsername refuses a name that routes have taken, or that cannot be addressed.
func checkUsername(username string) error {
	if strings.EqualFold(username, "me") || strings.EqualFold(username, "resetpw") {
		return bad("the username %q is reserved", username)
	}
	return checkName("username", username)
}

// checkEmail refuses what is clearly no address: an admin user without one can neither
// confirm it nor get a new password.
func checkEmail(email string) error {
	if !auth.MayBeMailAddress(email) {
		return bad("%q is no e-mail address", cutText(email))
	}
	return checkName("email", email)
}

// cutText is at most as much of a text as a message should quote.
func cutText(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxName)], "") }

// newAdmin makes an admin user of the parameters of a request, and says how he will be
// known. JSON members that are neither known nor named in not become custom properties.
func (c *call) newAdmin(email, password string, active bool, not ...string) (*command.NewEntity, *directory.Admin, error) {
	a := args{req: c.req}
	username, name := firstText(a.get("username"), email), firstText(a.get("name"), email)
	if a.err != nil {
		return nil, nil, a.err
	}
	if err := checkUsername(username); err != nil {
		return nil, nil, err
	}
	if err := checkEmail(email); err != nil {
		return nil, nil, err
	}
	if len(name) > maxName {
		return nil, nil, bad("name is longer than %d bytes", maxName)
	}
	properties, err := c.customProperties(not)
	if err != nil {
		return nil, nil, err
	}
	if strings.TrimSpace(password) == "" {
		if password, err = directory.RandomPassword(); err != nil {
			return nil, nil, err
		}
	}
	admin := &directory.Admin{Username: username, Name: name, Email: email, Activated: active, Confirmed: !c.cfg.Registration.ConfirmAdmins}
	record := directory.Fields{}
	for key, value := range map[string]any{
		"username": username, "name": name, "email": email,
		"activated": admin.Activated, "confirmed": admin.Confirmed, "disabled": false,
	} {
		record.Set(key, value)
	}
	if err := record.SetCustom(withoutEmpty(properties)); err != nil {
		return nil, nil, err
	}
	credential, err := c.dir.HashAdminPassword(c.req.Context(), password)
	if err != nil {
		return nil, nil, err
	}
	e := newEntity(record.JSON())
	e.Credentials = []command.Credential{credential}
	admin.ID = e.ID
	return &e, admin, nil
}

// customProperties returns what of a JSON body is nobody else's.
func (c *call) customProperties(not []string) (map[string]json.RawMessage, error) {
	if kind, err := c.req.Kind(); err != nil || kind != wire.JSONBody {
		return nil, err
	}
	text, err := c.objectText()
	if err != nil {
		return nil, err
	}
	return members(text, append(append(append([]string(nil), adminFields...), secretFields...), not...)...)
}

// objectText is body as it was sent. The parser's own way back to text is not taken: what
// it makes of control characters is no JSON.
func (c *call) objectText() ([]byte, error) {
	if _, err := c.body(); err != nil {
		return nil, err
	}
	return c.req.JSON()
}

// members returns the members of an object as compact JSON, without those named, and without
// passwords at any depth.
func members(text []byte, not ...string) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	var compact bytes.Buffer
	err := json.Compact(&compact, text)
	if err == nil {
		err = json.Unmarshal(compact.Bytes(), &all)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.JSONParse, "the body is not valid JSON")
	}
	for key, value := range all {
		if foldedIn(key, not) {
			delete(all, key)
			continue
		}
		all[key] = withoutPasswords(value)
	}
	return all, nil
}

// withoutEmpty leaves out what creates nothing.
func withoutEmpty(all map[string]json.RawMessage) map[string]json.RawMessage {
	for key, value := range all {
		if s := string(value); s == "null" || s == `""` {
			delete(all, key)
		}
	}
	return all
}

// withoutPasswords drops members called password from objects inside value.
func withoutPasswords(value json.RawMessage) json.RawMessage {
	var inner map[string]json.RawMessage
	if json.Unmarshal(value, &inner) != nil || inner == nil {
		return value
	}
	dst := directory.Fields{}
	for key, v := range inner {
		if !strings.EqualFold(key, "password") {
			dst[key] = withoutPasswords(v)
		}
	}
	return dst.JSON()
}

func foldedIn(key string, names []string) bool {
	for _, n := range names {
		if strings.EqualFold(key, n) {
			return true
		}
	}
	return false
}

// updateAdmin answers PUT of an admin user (spec management section 5.3).
func (c *call) updateAdmin() (*wire.Reply, error) {
	a := args{req: c.req}
	username, name, email := a.get("username"), a.get("name"), a.get("email")
	old, next := a.exact("oldpassword"), a.exact("newpassword")
	kind, err := c.req.Kind()
	switch {
	case a.err != nil:
		return nil, a.err
	case err != nil:
		return nil, err
	case kind == wire.NoBody:
		return nil, bad("missing json body")
	}
	properties, err := c.customProperties([]string{"organizations", "token", "properties", "displayEmailAddress", "htmldisplayEmailAddress"})
	if err != nil {
		return nil, err
	}
	patch, err := c.adminPatch(username, name, email)
	if err == nil {
		err = patch.SetCustom(properties)
	}
	if err != nil {
		return nil, err
	}
	if old != "" && next != "" {
		if err := c.dir.SetAdminPassword(c.req.Context(), c.admin.ID.String(), old, next, false); err != nil {
			return nil, err
		}
	}
	if len(patch) > 0 {
		if len(properties) > 0 {
			if err := c.dir.AddLegacy(c.req.Context(), patch, command.Admins().Collection, c.admin.ID); err != nil {
				return nil, err
			}
			if err := patch.SetCustom(properties); err != nil { // over what was there
				return nil, err
			}
		}
		_, err := c.propose(command.UpdateEntity{Rules: command.Admins(), Target: command.Target{ID: c.admin.ID}, Patch: patch.JSON()})
		if err != nil {
			return nil, err
		}
	}
	return wire.Management("update user info"), nil
}

// adminPatch is the patch of the names that are not blank.
func (c *call) adminPatch(username, name, email string) (directory.Fields, error) {
	patch := directory.Fields{}
	if username != "" && username != c.admin.Username {
		if err := checkUsername(username); err != nil {
			return nil, err
		}
		// Whoever has the name of the configuration is the superuser: it is nobody's to
		// take, nor to give away.
		if c.dir.IsSuperuserName(c.admin.Username) != c.dir.IsSuperuserName(username) {
			return nil, bad("the superuser is called as the configuration says")
		}
		patch.Set("username", username)
	}
	if email != "" {
		if err := checkEmail(email); err != nil {
			return nil, err
		}
		patch.Set("email", email)
	}
	if len(name) > maxName {
		return nil, bad("name is longer than %d bytes", maxName)
	}
	if name != "" {
		patch.Set("name", name)
	}
	return patch, nil
}

// adminPassword answers PUT and POST of an admin user's password (spec
// management section 5.4). Knowing the old one authorises.
func (c *call) adminPassword() (*wire.Reply, error) {
	a := args{req: c.req}
	old, next := a.exact("oldpassword"), a.exact("newpassword")
	if old == "" {
		old = a.exact("password")
	}
	if a.err != nil {
		return nil, a.err
	}
	super := c.req.Principal.Kind == auth.Superuser
	if super && next == "" {
		next = old
	}
	if next == "" || (old == "" && !super) {
		return nil, bad("oldpassword and newpassword are both required")
	}
	if err := c.dir.SetAdminPassword(c.req.Context(), c.admin.ID.String(), old, next, super); err != nil {
		return nil, err
	}
	return wire.Management("set user password"), nil
}

// adminOrganizations lists the organisations of an admin user.
func (c *call) adminOrganizations() (*wire.Reply, error) {
	list, err := c.dir.Memberships(c.req.Context(), c.admin.ID, false, 10_000)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(list))
	for i := range list {
		names[list[i].Organization.Key()] = list[i].Organization.ID.String()
	}
	return wire.Management("get user management").Field("data", names), nil
}

// createAdminOrganization creates another organisation of an admin user, with a sandbox.
func (c *call) createAdminOrganization() (*wire.Reply, error) {
	a := args{req: c.req}
	name := a.get("organization")
	if a.err != nil {
		return nil, a.err
	}
	if name == "" {
		return nil, fault.New(fault.Management, "Organization not specified.")
	}
	if err := checkOrganizationName(name); err != nil {
		return nil, err
	}
	n, err := c.newOrganization(name)
	if err != nil {
		return nil, err
	}
	n.op.OwnerID = c.admin.ID
	org, _, err := c.found(n, c.admin)
	if err != nil {
		return nil, err
	}
	return wire.Management("new organization for user").Field("data", organizationOf(org, true)), nil
}
