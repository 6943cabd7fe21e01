package management

import (
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// possession is a token that was presented to be revoked.
type possession struct {
	text  string
	app   entity.AppID
	token entity.Token
	known bool
}

// presented reads the parameter token, if one token is to be revoked.
func (c *call) presented(one bool) (possession, error) {
	var p possession
	if !one {
		return p, nil
	}
	a := args{req: c.req}
	if p.text = a.get("token"); a.err != nil || p.text == "" {
		return p, a.err
	}
	var err error
	p.app, p.token, p.known, err = c.dir.Owner(c.req.Context(), p.text)
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

func (c *call) revokeUserToken() (*wire.Reply, error)  { return c.revokeOfUser(true) }
func (c *call) revokeUserTokens() (*wire.Reply, error) { return c.revokeOfUser(false) }

// revokeOfUser answers revoketoken and revoketokens of an app user.
// Allowed: who has the permission, the user himself, and for one token
// whoever presents it.
func (c *call) revokeOfUser(one bool) (*wire.Reply, error) {
	p, who := c.req.Principal, c.segment("who")
	mine := p.Kind == auth.AppUser && p.App == c.req.App.ID
	if strings.EqualFold(who, "me") && mine {
		who = p.ID.String()
	}
	token, err := c.presented(one)
	if err != nil {
		return nil, err
	}
	user, err := c.dir.User(c.req.Context(), c.req.App.Number, who)
	if err != nil && !fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, err
	}
	path := func(name string) []string { return []string{"users", name, strings.ToLower(c.req.Segments()[2])} }
	spellings := [][]string{path(who)}
	allowed := false
	if user != nil {
		id := user.Entity.ID
		spellings = append(spellings, path(id.String()), path(user.Username))
		allowed = (mine && p.ID == id) || token.of(c.req.App.Number, entity.PrincipalAppUser, id)
	}
	if !allowed {
		if err := c.req.Access.Check(auth.OpOf(c.req.Method()), spellings...); err != nil {
			return nil, err
		}
	}
	if user == nil {
		return nil, err
	}
	if !one {
		if err := c.dir.RevokeUser(c.req.Context(), c.req.App.Number, user.Entity.ID); err != nil {
			return nil, err
		}
		return wire.Management("revoked user tokens"), nil
	}
	if err := token.checkRevocable(c.req.App.Number, entity.PrincipalAppUser, user.Entity.ID); err != nil {
		return nil, err
	}
	if err := c.dir.Revoke(c.req.Context(), token.text); err != nil {
		return nil, err
	}
	return wire.Management("revoked user token"), nil
}

// revokeAdminTokens ends all tokens of an admin user.
func (c *call) revokeAdminTokens() (*wire.Reply, error) {
	if err := c.dir.RevokeAdmin(c.req.Context(), c.admin.ID); err != nil {
		return nil, err
	}
	return wire.Management("revoked user tokens"), nil
}

// revokeAdminToken ends one token of an admin user, for himself, the superuser, or
// whoever has it.
func (c *call) revokeAdminToken() (*wire.Reply, error) {
	token, err := c.presented(true)
	if err != nil {
		return nil, err
	}
	if !token.of(entity.Management, entity.PrincipalAdmin, c.admin.ID) && !c.isSelf() {
		return nil, noAdminAccess()
	}
	if err := token.checkRevocable(entity.Management, entity.PrincipalAdmin, c.admin.ID); err != nil {
		return nil, err
	}
	if err := c.dir.Revoke(c.req.Context(), token.text); err != nil {
		return nil, err
	}
	return wire.Management("revoked user tokens"), nil
}
