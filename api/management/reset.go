package management

import (
	"context"
	"errors"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const actionReset = "reset user password"

// resetForm shows the form that asks whose password is to be reset.
func (c *call) resetForm() (*wire.Reply, error) {
	if elsewhere := c.view("management.users.resetpw", entity.ID{}); elsewhere != "" && c.req.App == nil {
		return wire.Found(elsewhere), nil
	}
	return page(c.Pages.ResetRequest(c.visit(), pages.ResetRequest{})), nil
}

// requestReset has the link sent with which an admin user's password can be reset.
func (c *call) requestReset() (*wire.Reply, error) {
	return c.asked(func(who string) (*person, error) {
		a, err := c.dir.Admin(c.req.Context(), who)
		if fault.Is(err, fault.Management) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p := adminPerson(a, c.workflow())
		return &p, nil
	})
}

// workflow is the organisation on whose behalf a request about an admin user is made.
func (c *call) workflow() entity.ID {
	if c.org == nil {
		return entity.ID{}
	}
	return c.org.ID
}

// asked answers the form of resetForm. find returns nil for nobody.
func (c *call) asked(find func(who string) (*person, error)) (*wire.Reply, error) {
	a := args{req: c.req}
	who := a.get("email")
	json, err := c.formWantsJSON()
	if err := errors.Join(a.err, err); err != nil {
		return nil, err
	}
	again := func(message string) (*wire.Reply, error) {
		if json {
			return nil, bad("%s", message)
		}
		return page(c.Pages.ResetRequest(c.visit(), pages.ResetRequest{Email: who, Message: message})), nil
	}
	if who == "" {
		return again(pages.NoEmail)
	}
	if message, err := c.refusedForm(json); err != nil || message != "" {
		if err != nil {
			return nil, err
		}
		return again(message)
	}
	p, err := find(who)
	if err != nil {
		return nil, err
	}
	if p == nil && c.cfg.RevealAccounts {
		return again(pages.UnknownEmail)
	}
	if err := c.sendReset(p, who); err != nil {
		return nil, err
	}
	if json {
		return wire.Management(actionReset), nil
	}
	return page(c.Pages.InstructionsSent()), nil
}

// refusedForm returns what is wrong with a form that has a mail sent; empty: nothing.
func (c *call) refusedForm(json bool) (message string, err error) {
	a := args{req: c.req}
	if !json {
		token := a.get(pages.FormField)
		if a.err != nil {
			return "", a.err
		}
		if message, err := shown(c.Pages.VerifyForm(c.visit(), pages.ForReset, token)); err != nil || message != "" {
			return message, err
		}
	}
	if json && !c.cfg.AskPrograms {
		return "", nil
	}
	answer, err := challenge.AnswerOf(c.req.Param)
	if err != nil {
		return "", err
	}
	return shown(c.Pages.CheckAnswer(c.req.Context(), answer))
}

// shown returns the message of a fault that is the client's.
func shown(err error) (message string, other error) {
	var f *fault.Error
	if errors.As(err, &f) && f.Code == fault.IllegalArgument {
		return f.Message, nil
	}
	return "", err
}

// sendReset sends somebody the link to reset his password; nil is nobody, who was asked
// for by this name. Who has had his mails gets no more, and nobody costs as much time as
// somebody: what is answered tells neither.
func (c *call) sendReset(p *person, who string) error {
	app := entity.Management
	if c.req.App != nil {
		app = c.req.App.Number
	}
	if p != nil {
		who = p.id.String()
	}
	err := c.dir.AllowMail(c.req.Context(), app, who)
	if err != nil && !fault.Is(err, fault.TooManyRequests) {
		return err
	}
	if p == nil || err != nil {
		_, err := c.proposeIn(app, 0, command.RevokeToken{}) // of no token
		return err
	}
	o := c.outbox(app)
	o.resetMail(p)
	return c.sendOut(o)
}

func (c *call) resetAdminForm() (*wire.Reply, error) {
	p := adminPerson(c.admin, c.workflow())
	return c.resetFormOf(&p)
}

// resetFormOf shows the form that a link of a mail leads to: for the new password if its
// token is good, else for another mail.
func (c *call) resetFormOf(p *person) (*wire.Reply, error) {
	token := c.req.Query("token")
	ok, err := c.dir.MayReset(c.req.Context(), p.app, p.id, token)
	if err != nil {
		return nil, err
	}
	if elsewhere := c.view("management.users.user.resetpw", p.workflow); elsewhere != "" && c.req.App == nil {
		return wire.Found(elsewhere), nil
	}
	if ok {
		return page(c.Pages.SetPassword(c.visit(), pages.SetPassword{Token: token})), nil
	}
	message := ""
	if token != "" {
		message = pages.InvalidToken
	}
	return page(c.Pages.ResetAccount(c.visit(), pages.ResetAccount{Email: p.email, Message: message})), nil
}

func (c *call) resetAdmin() (*wire.Reply, error) {
	p := adminPerson(c.admin, c.workflow())
	return c.resetOf(&p, c.dir.ResetAdminPassword)
}

// resetter sets a password by the token of a mail; false: the token is no good.
type resetter func(ctx context.Context, id entity.ID, token, password string) (bool, error)

// resetOf answers the forms of resetFormOf.
func (c *call) resetOf(p *person, set resetter) (*wire.Reply, error) {
	a := args{req: c.req}
	one, two, token := a.exact("password1"), a.exact("password2"), a.get("token")
	json, err := c.formWantsJSON()
	if err := errors.Join(a.err, err); err != nil {
		return nil, err
	}
	if one == "" && two == "" {
		return c.resetAgain(p, token, json)
	}
	again := func(message string) (*wire.Reply, error) {
		if json {
			return nil, bad("%s", message)
		}
		return page(c.Pages.SetPassword(c.visit(), pages.SetPassword{Token: token, Message: message})), nil
	}
	if !json {
		if message, err := shown(c.Pages.VerifyForm(c.visit(), pages.ForPassword, a.get(pages.FormField))); err != nil || message != "" {
			if err != nil {
				return nil, err
			}
			return again(message)
		}
	}
	ok, err := c.dir.MayReset(c.req.Context(), p.app, p.id, token)
	if err != nil {
		return nil, err
	}
	if ok && one != two {
		return again(pages.NotTheSame)
	}
	if ok {
		ok, err = set(c.req.Context(), p.id, token, one)
	}
	var f *fault.Error
	switch {
	case errors.As(err, &f) && (f.Code == fault.PasswordPolicy || f.Code == fault.PasswordReused) && !json:
		return again(f.Message)
	case err != nil:
		return nil, err
	case !ok && json:
		return nil, bad("%s", pages.InvalidToken)
	case !ok:
		return page(c.Pages.ResetAccount(c.visit(), pages.ResetAccount{Email: p.email, Message: pages.InvalidToken})), nil
	}
	c.note()
	if json {
		return wire.Management(actionReset), nil
	}
	return page(c.Pages.PasswordSet(c.cfg.LoginURL)), nil
}

// resetAgain has another mail sent to an account that the URL names.
func (c *call) resetAgain(p *person, token string, json bool) (*wire.Reply, error) {
	message, err := c.refusedForm(json)
	switch {
	case err != nil:
		return nil, err
	case message == "":
	case json:
		return nil, bad("%s", message)
	case token != "":
		return page(c.Pages.SetPassword(c.visit(), pages.SetPassword{Token: token, Message: pages.NoPassword})), nil
	default:
		return page(c.Pages.ResetAccount(c.visit(), pages.ResetAccount{Email: p.email, Message: message})), nil
	}
	if err := c.sendReset(p, ""); err != nil {
		return nil, err
	}
	if json {
		return wire.Management(actionReset), nil
	}
	return page(c.Pages.InstructionsSent()), nil
}

// userPerson returns the application's user that a path names.
func (c *call) userPerson(who string) (*person, *directory.User, error) {
	u, err := c.dir.User(c.req.Context(), c.req.App.Number, who)
	if err != nil {
		return nil, nil, err
	}
	return c.userPersonOf(u), u, nil
}
