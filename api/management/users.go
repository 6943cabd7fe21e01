package management

import (
	"context"
	"strings"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// requestUserReset has the link sent with which the password of an application's user
// can be reset (spec users-groups-roles section 1.8).
func (c *call) requestUserReset() (*wire.Reply, error) {
	return c.asked(func(who string) (*person, error) {
		p, _, err := c.userPerson(who)
		if fault.Is(err, fault.ServiceResourceNotFound) {
			return nil, nil
		}
		return p, err
	})
}

func (c *call) resetUserForm() (*wire.Reply, error) {
	p, _, err := c.userPerson(c.segment("who"))
	if err != nil {
		return nil, err
	}
	return c.resetFormOf(p)
}

func (c *call) resetUser() (*wire.Reply, error) {
	p, _, err := c.userPerson(c.segment("who"))
	if err != nil {
		return nil, err
	}
	return c.resetOf(p, func(ctx context.Context, id entity.ID, token, password string) (bool, error) {
		return c.dir.ResetUserPassword(ctx, p.app, id, token, password)
	})
}

// conditions are what an application asks of those who register (section 1.9).
type conditions struct{ confirm, approve, notify bool }

// admitUser adds what must be answered before a user of an application may sign in, or
// what tells of him. It reports whether he is active.
func (c *call) admitUser(o *outbox, p *person, cond conditions) (active bool, err error) {
	switch {
	case cond.confirm:
		o.send(mailUserConfirmation, p.recipient(), map[string]string{
			"confirm_email": p.email, "confirmation_url": o.linkTo(p, entity.TokenConfirm, "confirm"),
		})
	case cond.approve:
		err = c.askMembers(o, p)
	default:
		return true, c.userIsActive(o, p, cond)
	}
	return false, err
}

// askMembers asks the members of the organisation to activate a user.
func (c *call) askMembers(o *outbox, p *person) error {
	to, org, err := c.organizationMembers()
	if err != nil || len(to) == 0 {
		return err
	}
	o.send(mailMembersUserActivation, to, map[string]string{
		"organization_name": org, "user_email": p.email, "activation_url": o.linkTo(p, entity.TokenActivate, "activate"),
	})
	return nil
}

// userIsActive tells a user that he may sign in, and the members if they want to know.
func (c *call) userIsActive(o *outbox, p *person, cond conditions) error {
	if p.email != "" {
		o.send(mailUserActivated, p.recipient(), nil)
	}
	if !cond.notify {
		return nil
	}
	to, org, err := c.organizationMembers()
	o.send(mailMembersUserActive, to, map[string]string{"organization_name": org, "user_email": p.email})
	return err
}

func (c *call) organizationMembers() ([]Recipient, string, error) {
	members, err := c.dir.Members(c.req.Context(), c.req.App.Organization)
	return recipientsOf(members), c.req.App.OrganizationName, err
}

// conditions reads what the application asks for.
func (c *call) conditions() (conditions, error) {
	app, err := c.dir.ApplicationByID(c.req.Context(), c.req.App.ID)
	if err != nil {
		return conditions{}, err
	}
	return conditions{
		confirm: app.Flag("registration_requires_email_confirmation"), approve: app.Flag("registration_requires_admin_approval"),
		notify: app.Flag("notify_admin_of_new_users"),
	}, nil
}

// followUser answers a link of a mail to an application's user.
func (c *call) followUser(l *link, purpose entity.TokenPurpose, follow func(*person, *directory.User, conditions) (waits bool, err error)) (*wire.Reply, error) {
	p, u, err := c.userPerson(c.segment("who"))
	if err != nil {
		return nil, err
	}
	proof, ok, err := c.proof()
	if err != nil {
		return nil, err
	}
	l.workflow = c.req.App.Organization
	if !ok || !proof.Is(p.app, entity.PrincipalAppUser, p.id, purpose) || !meant(&proof.Token, u) {
		return c.broken(l)
	}
	cond, err := c.conditions()
	if err != nil {
		return nil, err
	}
	waits, err := follow(p, u, cond)
	if err != nil {
		return nil, err
	}
	return c.done(l, waits)
}

func (c *call) activateUser() (*wire.Reply, error) {
	l := &link{action: "activate user", subject: pages.User, view: "applications.users.user.activate"}
	return c.followUser(l, entity.TokenActivate, func(p *person, u *directory.User, cond conditions) (bool, error) {
		if u.Activated {
			return false, nil
		}
		return false, c.setUser(p, cond, "activated")
	})
}

func (c *call) confirmUser() (*wire.Reply, error) {
	l := &link{action: "confirm user", subject: pages.User, view: "applications.users.user.confirm", confirm: true}
	return c.followUser(l, entity.TokenConfirm, func(p *person, u *directory.User, cond conditions) (bool, error) {
		waits := cond.approve && !u.Activated
		switch {
		case u.Confirmed && (u.Activated || waits): // again
			return waits, nil
		case !waits:
			return false, c.setUser(p, cond, "confirmed", "activated")
		}
		o := c.outbox(p.app)
		o.send(mailUserConfirmed, p.recipient(), nil)
		if err := c.askMembers(o, p); err != nil {
			return false, err
		}
		return true, c.changeUser(o, p, "confirmed")
	})
}

// setUser makes a user active, and tells of it.
func (c *call) setUser(p *person, cond conditions, flags ...string) error {
	o := c.outbox(p.app)
	if err := c.userIsActive(o, p, cond); err != nil {
		return err
	}
	return c.changeUser(o, p, flags...)
}

// changeUser sets flags of a user together with what is in the outbox. Who is active
// was not deactivated.
func (c *call) changeUser(o *outbox, p *person, flags ...string) error {
	if o.err != nil {
		return o.err
	}
	users, err := schema.Of("users")
	if err != nil {
		return err
	}
	f := directory.Fields{"deactivated": []byte("null")}
	for _, flag := range flags {
		f.Set(flag, true)
	}
	_, err = c.proposeIn(p.app, o.now, command.UpdateEntity{Rules: users.Rules(), Target: command.Target{ID: p.id}, Patch: f.JSON()}, o.ops...)
	return err
}

// reactivateUser begins the activation of a user again.
func (c *call) reactivateUser() (*wire.Reply, error) {
	p, u, err := c.userPerson(c.segment("who"))
	if err != nil {
		return nil, err
	}
	if err := c.dir.AllowMail(c.req.Context(), p.app, p.id.String()); err != nil {
		return nil, err
	}
	cond, err := c.conditions()
	if err != nil {
		return nil, err
	}
	o := c.outbox(p.app)
	active, err := c.admitUser(o, p, cond)
	switch {
	case err != nil:
	case active && !u.Activated && !u.Deactivated:
		err = c.changeUser(o, p, "activated")
	case u.Deactivated: // by somebody who may; no mail brings him back
	default:
		err = c.sendOut(o)
	}
	if err != nil {
		return nil, err
	}
	return wire.Management("reactivate user"), nil
}

// meant reports whether a token was made for this user, and not for another who had his
// UUID before. One that was made together with him does not know his number.
func meant(t *entity.Token, u *directory.User) bool {
	return t.Seq == u.Entity.Seq || (t.Seq == 0 && t.Created >= u.Entity.Created)
}

// userPersonOf is a user of the request's application as mails know him.
func (c *call) userPersonOf(u *directory.User) *person {
	return &person{
		app: c.req.App.Number, kind: entity.PrincipalAppUser, id: u.Entity.ID, seq: u.Entity.Seq, name: u.Name, email: u.Email,
		path:     strings.Join([]string{"", c.req.App.OrganizationName, c.req.App.Name, "users", u.Entity.ID.String()}, "/"),
		workflow: c.req.App.Organization,
	}
}

// Welcome returns what goes with the creation of a user who may not sign in yet: mails
// as tasks, and the tokens in their links. His number may be unknown still.
func (h *Handlers) Welcome(req *wire.Request, user *entity.Entity) ([]command.Op, error) {
	u, err := directory.UserOf(*user)
	if err != nil {
		return nil, err
	}
	c := &call{Handlers: h, req: req}
	cond, err := c.conditions()
	if err != nil {
		return nil, err
	}
	o := c.outbox(req.App.Number)
	o.now = max(o.now, user.Created)
	if cond.confirm && u.Email == "" {
		return nil, nil // only an administrator can help him
	}
	if _, err := c.admitUser(o, c.userPersonOf(u), cond); err != nil {
		return nil, err
	}
	return o.ops, o.err
}

// SendPin mails an application's user his PIN: IllegalArgument if he has no e-mail
// address.
func (h *Handlers) SendPin(ctx context.Context, app *wire.Application, user *entity.Entity, pin string) error {
	u, err := directory.UserOf(*user)
	if err != nil {
		return err
	}
	if u.Email == "" {
		return bad("the user has no e-mail address")
	}
	task, err := h.Mailer.Task(Mail{Key: mailUserPin, To: []Recipient{recipientOf(u.Name, u.Email)}, Variables: map[string]string{"pin": pin}})
	if err != nil {
		h.Log.Warn("mail cannot be sent", "mail", mailUserPin, "error", err)
		return nil
	}
	out, err := h.cluster.Propose(ctx, app.Number, command.Command{App: app.Number, Op: command.PutTask{Task: task}})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}
