package management

import (
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// grantRequest is what a token endpoint is asked.
type grantRequest struct {
	grant, username, password, clientID, clientSecret, ttl string
}

// invalidGrant is the answer to anything that proves nothing (A17).
func invalidGrant() error {
	return fault.New(fault.InvalidGrant, "invalid username or password")
}

// readGrant reads the parameters of a token endpoint.
func readGrant(req *wire.Request) (grantRequest, error) {
	switch m := req.Method(); m {
	case "GET":
	case "POST":
		kind, err := req.Kind()
		if err != nil {
			return grantRequest{}, err
		}
		if kind == wire.NoBody && !req.HasQuery("grant_type") && req.Principal.Kind == auth.Anonymous {
			return grantRequest{}, bad("missing json post data")
		}
	default:
		return grantRequest{}, noMethod()
	}
	a := args{req: req}
	g := grantRequest{
		grant: a.get("grant_type"), username: a.get("username"), password: a.exact("password"),
		clientID: a.get("client_id"), clientSecret: a.get("client_secret"), ttl: a.get("ttl"),
	}
	if g.username == "" {
		g.username = a.get("email")
	}
	return g, a.err
}

// managementToken answers /management/token.
func (h *Handlers) managementToken(req *wire.Request) (*wire.Reply, error) {
	g, err := readGrant(req)
	if err != nil {
		return nil, err
	}
	// Refused before a password is compared: it costs nothing.
	life, err := h.dir.Life(g.ttl, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case g.grant == "password":
		admin, err := h.dir.LoginAdmin(req.Context(), g.username, g.password)
		if err != nil {
			return nil, oauth(err)
		}
		return h.adminGrant(req, admin, life)
	case g.grant == "client_credentials":
		client, err := h.clientOf(req, g)
		if err != nil {
			return nil, err
		}
		return h.clientGrant(req, client, life)
	case g.grant == "" && req.Principal.IsAdmin():
		admin, err := h.dir.Admin(req.Context(), req.Principal.ID.String())
		if err != nil {
			return nil, err
		}
		return h.adminGrant(req, admin, life)
	}
	return nil, oauth(invalidGrant())
}

// clientOf returns the client that the parameters prove, or without them the
// one that the request was authenticated as.
func (h *Handlers) clientOf(req *wire.Request, g grantRequest) (*auth.Principal, error) {
	if g.clientID == "" && g.clientSecret == "" {
		if k := req.Principal.Kind; k == auth.OrgClient || k == auth.AppClient {
			return req.Principal, nil
		}
		return nil, oauth(invalidGrant())
	}
	p, err := h.dir.Client(req.Context(), g.clientID, g.clientSecret)
	return p, oauth(err)
}

func (h *Handlers) adminGrant(req *wire.Request, admin *directory.Admin, life int64) (*wire.Reply, error) {
	grant, err := h.dir.Issue(req.Context(), entity.PrincipalAdmin, admin.ID, life)
	if err != nil {
		return nil, err
	}
	return h.adminToken(req, admin, grant)
}

// adminToken shows a token of an admin user, and him with his organisations.
func (h *Handlers) adminToken(req *wire.Request, admin *directory.Admin, grant directory.Grant) (*wire.Reply, error) {
	list, err := h.organizationsOf(req, admin, false)
	if err != nil {
		return nil, err
	}
	shown := showAdmin(admin)
	shown.Organizations = organizationMap(list, false)
	return tokenReply(grant).Field("passwordChanged", admin.PasswordChanged).Field("user", shown), nil
}

func tokenReply(grant directory.Grant) *wire.Reply {
	return wire.Object().Field("access_token", grant.Token).Field("expires_in", grant.ExpiresIn)
}

// clientGrant answers with a token of a client.
func (h *Handlers) clientGrant(req *wire.Request, client *auth.Principal, life int64) (*wire.Reply, error) {
	kind := entity.PrincipalOrgClient
	if client.Kind == auth.AppClient {
		kind = entity.PrincipalAppClient
	}
	grant, err := h.dir.Issue(req.Context(), kind, client.ID, life)
	if err != nil {
		return nil, err
	}
	reply := tokenReply(grant)
	if client.Kind == auth.AppClient {
		return reply.Field("application", client.ID.String()), nil
	}
	org, err := h.describe(req, client.ID)
	if err != nil {
		return nil, err
	}
	return reply.Field("organization", org), nil
}

// me answers /management/me: the caller and his token, or a token request.
func (h *Handlers) me(req *wire.Request) (*wire.Reply, error) {
	p := req.Principal
	if req.Method() != "GET" || p.Kind == auth.Anonymous || p.Kind == auth.OrgClient || p.Kind == auth.AppClient {
		return h.managementToken(req)
	}
	if !p.IsAdmin() {
		return nil, noAdminAccess()
	}
	if p.Token == "" { // Basic
		return h.managementToken(req)
	}
	admin, err := h.dir.Admin(req.Context(), p.ID.String())
	if err != nil {
		return nil, err
	}
	return h.adminToken(req, admin, directory.Grant{Token: p.Token, ExpiresIn: h.dir.Remaining(p)})
}

// applicationToken answers /{org}/{app}/token.
func (h *Handlers) applicationToken(req *wire.Request) (*wire.Reply, error) {
	if req.App.ID == entity.ManagementID {
		return nil, fault.New(fault.Unauthorized, "No application access authorized")
	}
	g, err := readGrant(req)
	if err != nil {
		return nil, err
	}
	switch g.grant {
	case "password":
		return h.userPassword(req, g)
	case "client_credentials":
		life, err := h.dir.Life(g.ttl, nil)
		if err != nil {
			return nil, err
		}
		client, err := h.clientOf(req, g)
		if err != nil {
			return nil, err
		}
		if access, err := client.In(req.App.Application); err != nil || !access.Everything() {
			return nil, oauth(invalidGrant())
		}
		return h.clientGrant(req, client, life)
	case "pin":
		return nil, notOffered()
	}
	return nil, oauth(invalidGrant())
}

func (h *Handlers) userPassword(req *wire.Request, g grantRequest) (*wire.Reply, error) {
	app, err := h.dir.ApplicationByID(req.Context(), req.App.ID)
	if err != nil {
		return nil, err
	}
	life, err := h.dir.Life(g.ttl, app)
	if err != nil {
		return nil, err
	}
	user, err := h.dir.LoginUser(req.Context(), app.Number, g.username, g.password)
	if err != nil {
		return nil, oauth(err)
	}
	return h.userGrant(req, app, user, life)
}

func (h *Handlers) userGrant(req *wire.Request, app *directory.Application, user *directory.User, life int64) (*wire.Reply, error) {
	grant, err := h.dir.IssueUser(req.Context(), app.Number, user, life)
	if err != nil {
		return nil, err
	}
	return tokenReply(grant).RawField("user", showUser(user)), nil
}

// userToken answers /{org}/{app}/users/{user}/token: a token of a user for who
// may do everything. No user gets one, not even his own (A20).
func (h *Handlers) userToken(req *wire.Request, who string) (*wire.Reply, error) {
	if req.Method() != "GET" {
		return nil, noMethod()
	}
	if !req.Access.Everything() {
		if req.Principal.Kind == auth.AppUser {
			return nil, oauth(fault.New(fault.UnauthorizedClient, "App users cannot ask for tokens of users"))
		}
		return nil, req.Access.Check(0)
	}
	app, err := h.dir.ApplicationByID(req.Context(), req.App.ID)
	if err != nil {
		return nil, err
	}
	life, err := h.dir.Life(req.Query("ttl"), app)
	if err != nil {
		return nil, err
	}
	user, err := h.dir.User(req.Context(), app.Number, who)
	if err != nil {
		return nil, err
	}
	if err := directory.MayLogin(user.Activated, user.Disabled); err != nil {
		return nil, oauth(err)
	}
	return h.userGrant(req, app, user, life)
}

// possession is a token that was presented to be revoked.
type possession struct {
	text  string
	app   entity.AppID
	token entity.Token
	known bool
}

// presented reads the parameter token, if one token is to be revoked.
func (h *Handlers) presented(req *wire.Request, one bool) (possession, error) {
	var p possession
	if !one {
		return p, nil
	}
	a := args{req: req}
	if p.text = a.get("token"); a.err != nil || p.text == "" {
		return p, a.err
	}
	var err error
	p.app, p.token, p.known, err = h.dir.Owner(req.Context(), p.text)
	return p, err
}

func (p *possession) of(app entity.AppID, kind entity.PrincipalKind, id entity.ID) bool {
	return p.known && p.app == app && p.token.Kind == kind && p.token.Principal == id
}

// checkRevocable refuses to revoke nothing, and a token of somebody else.
func (p *possession) checkRevocable(app entity.AppID, kind entity.PrincipalKind, id entity.ID) error {
	switch {
	case p.text == "":
		return bad("token is required")
	case p.known && !p.of(app, kind, id):
		return bad("the token is not one of this user")
	}
	return nil
}

// revokeUserTokens answers revoketoken and revoketokens of an app user.
// Allowed: who has the permission, the user himself, and for one token
// whoever presents it.
func (h *Handlers) revokeUserTokens(req *wire.Request, who string, one bool) (*wire.Reply, error) {
	if m := req.Method(); m != "PUT" && m != "POST" {
		return nil, noMethod()
	}
	p := req.Principal
	mine := p.Kind == auth.AppUser && p.App == req.App.ID
	if strings.EqualFold(who, "me") && mine {
		who = p.ID.String()
	}
	token, err := h.presented(req, one)
	if err != nil {
		return nil, err
	}
	user, err := h.dir.User(req.Context(), req.App.Number, who)
	if err != nil && !fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, err
	}
	path := func(name string) []string { return []string{"users", name, strings.ToLower(req.Segments()[2])} }
	spellings := [][]string{path(who)}
	allowed := false
	if user != nil {
		id := user.Entity.ID
		spellings = append(spellings, path(id.String()), path(user.Username))
		allowed = (mine && p.ID == id) || token.of(req.App.Number, entity.PrincipalAppUser, id)
	}
	if !allowed {
		if err := req.Access.Check(auth.OpOf(req.Method()), spellings...); err != nil {
			return nil, err
		}
	}
	if user == nil {
		return nil, err
	}
	if !one {
		if err := h.dir.RevokeUser(req.Context(), req.App.Number, user.Entity.ID); err != nil {
			return nil, err
		}
		return wire.Management("revoked user tokens"), nil
	}
	if err := token.checkRevocable(req.App.Number, entity.PrincipalAppUser, user.Entity.ID); err != nil {
		return nil, err
	}
	if err := h.dir.Revoke(req.Context(), token.text); err != nil {
		return nil, err
	}
	return wire.Management("revoked user token"), nil
}

// revokeAdminTokens answers revoketoken and revoketokens of an admin user.
func (h *Handlers) revokeAdminTokens(req *wire.Request, admin *directory.Admin, one bool) (*wire.Reply, error) {
	if m := req.Method(); m != "PUT" && m != "POST" {
		return nil, noMethod()
	}
	token, err := h.presented(req, one)
	if err != nil {
		return nil, err
	}
	if !token.of(entity.Management, entity.PrincipalAdmin, admin.ID) {
		if err := selfOrSuperuser(req.Principal, admin); err != nil {
			return nil, err
		}
	}
	if !one {
		err = h.dir.RevokeAdmin(req.Context(), admin.ID)
	} else if err = token.checkRevocable(entity.Management, entity.PrincipalAdmin, admin.ID); err == nil {
		err = h.dir.Revoke(req.Context(), token.text)
	}
	if err != nil {
		return nil, err
	}
	return wire.Management("revoked user tokens"), nil
}
