package management

import (
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// grantRequest is what a token endpoint is asked.
type grantRequest struct {
	grant, username, password, pin, clientID, clientSecret, code, ttl string
}

// invalidGrant is the answer to anything that proves nothing (A17).
func invalidGrant() error {
	return fault.New(fault.InvalidGrant, "invalid username or password")
}

// readGrant reads the parameters of a token endpoint.
func readGrant(req *wire.Request) (grantRequest, error) {
	if req.Method() == "POST" {
		kind, err := req.Kind()
		if err != nil {
			return grantRequest{}, err
		}
		if kind == wire.NoBody && !req.HasQuery("grant_type") && req.Principal.Kind == auth.Anonymous {
			return grantRequest{}, bad("missing json post data")
		}
	}
	a := args{req: req}
	g := grantRequest{
		grant: a.get("grant_type"), username: a.get("username"), password: a.exact("password"), pin: a.get("pin"),
		clientID: a.get("client_id"), clientSecret: a.get("client_secret"), code: a.get("code"), ttl: a.get("ttl"),
	}
	if g.username == "" {
		g.username = a.get("email")
	}
	return g, a.err
}

// managementToken answers /management/token.
func (c *call) managementToken() (*wire.Reply, error) {
	g, err := readGrant(c.req)
	if err != nil {
		return nil, err
	}
	// Refused before a password is compared: it costs nothing.
	life, err := c.dir.Life(g.ttl, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case g.grant == "password":
		admin, err := c.dir.LoginAdmin(c.req.Context(), g.username, g.password)
		if err != nil {
			return nil, oauth(err)
		}
		return c.adminGrant(admin, life)
	case g.grant == "client_credentials":
		client, err := c.clientOf(g)
		if err != nil {
			return nil, err
		}
		return c.clientGrant(client, life)
	case g.grant == "authorization_code":
		return c.codeGrant(g.code)
	case g.grant == "" && c.req.Principal.IsAdmin():
		admin, err := c.dir.Admin(c.req.Context(), c.req.Principal.ID.String())
		if err != nil {
			return nil, err
		}
		return c.adminGrant(admin, life)
	}
	return nil, oauth(invalidGrant())
}

// clientOf returns the client that the parameters prove, or without them the
// one that the request was authenticated as.
func (c *call) clientOf(g grantRequest) (*auth.Principal, error) {
	if g.clientID == "" && g.clientSecret == "" {
		if k := c.req.Principal.Kind; k == auth.OrgClient || k == auth.AppClient {
			return c.req.Principal, nil
		}
		return nil, oauth(invalidGrant())
	}
	p, err := c.dir.Client(c.req.Context(), g.clientID, g.clientSecret)
	return p, oauth(err)
}

func (c *call) adminGrant(admin *directory.Admin, life int64) (*wire.Reply, error) {
	grant, err := c.dir.Issue(c.req.Context(), entity.PrincipalAdmin, admin.ID, life)
	if err != nil {
		return nil, err
	}
	return c.adminToken(admin, grant)
}

// adminToken shows a token of an admin user, and him with his organisations.
func (c *call) adminToken(admin *directory.Admin, grant directory.Grant) (*wire.Reply, error) {
	list, err := c.organizationsOf(admin, false)
	if err != nil {
		return nil, err
	}
	shown := adminOf(admin)
	shown.Organizations = organizationMap(list, false)
	return tokenReply(grant).Field("passwordChanged", admin.PasswordChanged).Field("user", shown), nil
}

func tokenReply(grant directory.Grant) *wire.Reply {
	return wire.Object().Field("access_token", grant.Token).Field("expires_in", grant.ExpiresIn)
}

// clientGrant answers with a token of a client.
func (c *call) clientGrant(client *auth.Principal, life int64) (*wire.Reply, error) {
	kind := entity.PrincipalOrgClient
	if client.Kind == auth.AppClient {
		kind = entity.PrincipalAppClient
	}
	grant, err := c.dir.Issue(c.req.Context(), kind, client.ID, life)
	if err != nil {
		return nil, err
	}
	reply := tokenReply(grant)
	if client.Kind == auth.AppClient {
		return reply.Field("application", client.ID.String()), nil
	}
	org, err := c.describe(client.ID)
	if err != nil {
		return nil, err
	}
	return reply.Field("organization", org), nil
}

// me answers /management/me: the caller and his token, or a token request.
func (c *call) me() (*wire.Reply, error) {
	p := c.req.Principal
	if c.req.Method() != "GET" || p.Kind == auth.Anonymous || p.Kind == auth.OrgClient || p.Kind == auth.AppClient {
		return c.managementToken()
	}
	if !p.IsAdmin() {
		return nil, noAdminAccess()
	}
	if p.Token == "" { // Basic
		return c.managementToken()
	}
	admin, err := c.dir.Admin(c.req.Context(), p.ID.String())
	if err != nil {
		return nil, err
	}
	return c.adminToken(admin, directory.Grant{Token: p.Token, ExpiresIn: c.dir.Remaining(p)})
}

// applicationToken answers /{org}/{app}/token.
func (c *call) applicationToken() (*wire.Reply, error) {
	g, err := readGrant(c.req)
	if err != nil {
		return nil, err
	}
	switch g.grant {
	case "password", "pin":
		return c.userSignIn(g)
	case "client_credentials":
		life, err := c.dir.Life(g.ttl, nil)
		if err != nil {
			return nil, err
		}
		client, err := c.clientOf(g)
		if err != nil {
			return nil, err
		}
		if access, err := client.In(c.req.App.Application); err != nil || !access.Everything() {
			return nil, oauth(invalidGrant())
		}
		return c.clientGrant(client, life)
	case "authorization_code":
		return c.codeGrant(g.code)
	}
	return nil, oauth(invalidGrant())
}

// userSignIn answers the grants password and pin.
func (c *call) userSignIn(g grantRequest) (*wire.Reply, error) {
	app, err := c.dir.ApplicationByID(c.req.Context(), c.req.App.ID)
	if err != nil {
		return nil, err
	}
	life, err := c.dir.Life(g.ttl, app)
	if err != nil {
		return nil, err
	}
	var user *directory.User
	if g.grant == "pin" {
		user, err = c.dir.LoginPin(c.req.Context(), app.Number, g.username, g.pin)
	} else {
		user, err = c.dir.LoginUser(c.req.Context(), app.Number, g.username, g.password)
	}
	if err != nil {
		return nil, oauth(err)
	}
	return c.userGrant(app, user, life)
}

// codeGrant answers with the token that a code of authorize is: there is no other to
// exchange it for (spec auth-and-tokens section 6.4).
func (c *call) codeGrant(code string) (*wire.Reply, error) {
	p, err := c.dir.TokenOf(c.req.Context(), code)
	if err != nil {
		if wire.Status(fault.CodeOf(err)) < 500 {
			err = invalidGrant()
		}
		return nil, oauth(err)
	}
	grant := directory.Grant{Token: p.Token, ExpiresIn: c.dir.Remaining(p)}
	switch {
	case c.req.App == nil && p.IsAdmin():
		admin, err := c.dir.Admin(c.req.Context(), p.ID.String())
		if err != nil {
			return nil, err
		}
		return c.adminToken(admin, grant)
	case c.req.App != nil && p.Kind == auth.AppUser && p.App == c.req.App.ID:
		user, err := c.dir.User(c.req.Context(), c.req.App.Number, p.ID.String())
		if err != nil {
			return nil, err
		}
		return tokenReply(grant).RawField("user", userOf(user)), nil
	}
	return nil, oauth(invalidGrant())
}

func (c *call) userGrant(app *directory.Application, user *directory.User, life int64) (*wire.Reply, error) {
	grant, err := c.dir.IssueUser(c.req.Context(), app.Number, user, life)
	if err != nil {
		return nil, err
	}
	return tokenReply(grant).RawField("user", userOf(user)), nil
}

// userToken answers /{org}/{app}/users/{user}/token: a token of a user for who
// may do everything. No user gets one, not even his own (A20).
func (c *call) userToken() (*wire.Reply, error) {
	if !c.req.Access.Everything() {
		if c.req.Principal.Kind == auth.AppUser {
			return nil, oauth(fault.New(fault.UnauthorizedClient, "App users cannot ask for tokens of users"))
		}
		return nil, c.req.Access.Check(0)
	}
	app, err := c.dir.ApplicationByID(c.req.Context(), c.req.App.ID)
	if err != nil {
		return nil, err
	}
	life, err := c.dir.Life(c.req.Query("ttl"), app)
	if err != nil {
		return nil, err
	}
	user, err := c.dir.User(c.req.Context(), app.Number, c.segment("who"))
	if err != nil {
		return nil, err
	}
	if err := directory.MayLogin(user.Activated, user.Disabled); err != nil {
		return nil, oauth(err)
	}
	return c.userGrant(app, user, life)
}
