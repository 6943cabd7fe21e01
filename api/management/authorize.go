package management

import (
	"errors"
	"slices"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/redirect"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// authorization is what a client asks authorize for.
type authorization struct {
	pages.SignIn
	password string
}

// readAuthorization reads it; lead is where it may lead, the zero Target for nowhere.
func (c *call) readAuthorization() (authorization, error) {
	a := args{req: c.req}
	w := authorization{SignIn: pages.SignIn{
		ResponseType: a.get("response_type"), ClientID: a.get("client_id"), RedirectURI: a.get("redirect_uri"),
		Scope: a.get("scope"), State: a.exact("state"), Username: a.get("username"),
	}, password: a.exact("password")}
	if a.err != nil {
		return w, a.err
	}
	target, err := redirect.Parse(w.RedirectURI, c.cfg.Redirects)
	if err == nil {
		w.Target = target
	}
	return w, nil
}

// checkClient returns the page that refuses a client of an application's form; nil if it
// is its own or its organisation's.
func (c *call) checkClient(id string) *wire.Reply {
	if c.req.App == nil {
		return nil
	}
	owner, of, ok := auth.ParseClientID(id)
	if ok && ((owner == auth.OwnerApplication && of == c.req.App.ID) || (owner == auth.OwnerOrganization && of == c.req.App.Organization)) {
		return nil
	}
	return page(c.Pages.AuthorizeFailed(pages.InvalidClientID))
}

// authorizeForm shows the sign-in form (spec auth-and-tokens section 6.4).
func (c *call) authorizeForm() (*wire.Reply, error) {
	w, err := c.readAuthorization()
	if err != nil {
		return nil, err
	}
	if refused := c.checkClient(w.ClientID); refused != nil {
		return refused, nil
	}
	if elsewhere := c.view("management.authorize", entity.ID{}); elsewhere != "" && c.req.App == nil {
		return wire.Found(elsewhere), nil
	}
	w.Username = "" // nobody else fills in the form
	return page(c.Pages.SignIn(c.visit(), w.SignIn)), nil
}

// authorizeAdmin signs an admin user in and sends him back to the client.
func (c *call) authorizeAdmin() (*wire.Reply, error) {
	return c.authorize(func(w *authorization) (directory.Grant, error) {
		admin, err := c.dir.LoginAdmin(c.req.Context(), w.Username, w.password)
		if err != nil {
			return directory.Grant{}, err
		}
		life, err := c.dir.Life("", nil)
		if err != nil {
			return directory.Grant{}, err
		}
		return c.dir.Issue(c.req.Context(), entity.PrincipalAdmin, admin.ID, life)
	})
}

// authorizeUser does for an application's users what authorizeAdmin does for admin
// users.
func (c *call) authorizeUser() (*wire.Reply, error) {
	return c.authorize(func(w *authorization) (directory.Grant, error) {
		app, err := c.dir.ApplicationByID(c.req.Context(), c.req.App.ID)
		if err != nil {
			return directory.Grant{}, err
		}
		user, err := c.dir.LoginUser(c.req.Context(), app.Number, w.Username, w.password)
		if err != nil {
			return directory.Grant{}, err
		}
		life, err := c.dir.Life("", app)
		if err != nil {
			return directory.Grant{}, err
		}
		return c.dir.IssueUser(c.req.Context(), app.Number, user, life)
	})
}

func (c *call) authorize(signIn func(*authorization) (directory.Grant, error)) (*wire.Reply, error) {
	w, err := c.readAuthorization()
	if err != nil {
		return nil, err
	}
	if refused := c.checkClient(w.ClientID); refused != nil {
		return refused, nil
	}
	again := func(message string) (*wire.Reply, error) {
		w.Message = message
		return page(c.Pages.SignIn(c.visit(), w.SignIn)), nil
	}
	a := args{req: c.req}
	token := a.get(pages.FormField)
	if a.err != nil {
		return nil, a.err
	}
	if message, err := shown(c.Pages.VerifyForm(c.visit(), pages.ForSignIn, token)); err != nil || message != "" {
		if err != nil {
			return nil, err
		}
		return again(message)
	}
	if w.Target == (redirect.Target{}) {
		return again(pages.WrongPassword)
	}
	grant, err := signIn(&w)
	if message := signInMessage(err); message != "" {
		return again(message)
	}
	if err != nil {
		return nil, err
	}
	if w.ResponseType == "token" {
		return wire.Found(w.Target.Token(grant.Token, grant.ExpiresIn, w.State)), nil
	}
	return wire.Found(w.Target.Code(grant.Token, w.State)), nil
}

// signInMessage is what the form says of a sign-in that was refused; empty if it was
// not, or failed otherwise.
func signInMessage(err error) string {
	var o *wire.OAuthError
	if errors.As(err, &o) {
		return o.Description
	}
	var f *fault.Error
	switch {
	case !errors.As(err, &f):
		return ""
	case f.Code == fault.InvalidGrant && slices.Contains([]string{pages.NotActivated, pages.Disabled}, f.Message):
		return f.Message
	case f.Code == fault.InvalidGrant:
		return pages.WrongPassword
	}
	return ""
}
