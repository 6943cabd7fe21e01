package management

import (
	"slices"
	"strconv"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// proof reads the token of a link, under one of the names that clients give it, and
// returns what it proves; false for nothing.
func (c *call) proof() (directory.Proof, bool, error) {
	token := c.req.Query("token")
	if token == "" {
		if text := c.req.Query("access_token"); auth.IsMailToken(text) {
			token = text
		}
	}
	return c.dir.Prove(c.req.Context(), token)
}

// told reports whether the client wants a mail sent about an activation, or leaves that
// to the configuration.
func (c *call) told() bool {
	for _, name := range []string{"confirm", "confirm_email"} {
		if c.req.HasQuery(name) {
			yes, err := strconv.ParseBool(c.req.Query(name))
			return err == nil && yes
		}
	}
	return c.cfg.Registration.NotifyAdmins
}

// link is an activation or a confirmation as it is shown.
type link struct {
	action   string
	subject  pages.Subject
	view     string // name of the page, for those who put another in its place
	confirm  bool   // else it activates
	workflow entity.ID
}

// done answers a link that was followed.
func (c *call) done(l *link, waits bool) (*wire.Reply, error) {
	if !c.wantsPage() {
		reply := wire.Management(l.action)
		if waits {
			reply.Field("status", "confirmed_awaiting_activation")
		}
		return reply, nil
	}
	if elsewhere := c.view(l.view, l.workflow); elsewhere != "" {
		return wire.Found(elsewhere), nil
	}
	switch {
	case waits:
		return page(c.Pages.AwaitingActivation(l.subject)), nil
	case l.confirm:
		return page(c.Pages.Confirmed(l.subject)), nil
	}
	return page(c.Pages.Activated(l.subject)), nil
}

// broken answers a link whose token is no good.
func (c *call) broken(l *link) (*wire.Reply, error) {
	switch {
	case !c.wantsPage() && l.confirm:
		return nil, bad("confirmation token invalid or expired")
	case !c.wantsPage():
		return nil, bad("activation token invalid or expired")
	case l.confirm:
		return page(c.Pages.BadConfirmation(l.subject)), nil
	}
	return page(c.Pages.BadActivation(l.subject)), nil
}

func (c *call) activateOrganization() (*wire.Reply, error) {
	return c.followOrganization(&link{action: "activate organization", view: "management.organizations.organization.activate"})
}

func (c *call) confirmOrganization() (*wire.Reply, error) {
	return c.followOrganization(&link{action: "confirm organization", view: "management.organizations.organization.confirm", confirm: true})
}

func (c *call) followOrganization(l *link) (*wire.Reply, error) {
	l.subject, l.workflow = pages.Organization, c.org.ID
	proof, ok, err := c.proof()
	if err != nil {
		return nil, err
	}
	if !ok || !proof.Is(entity.Management, entity.PrincipalOrgClient, c.org.ID, entity.TokenActivate) {
		l.confirm = false // one token, one message
		return c.broken(l)
	}
	if !c.org.Activated {
		if err := c.activateOrganizationNow(c.told()); err != nil {
			return nil, err
		}
	}
	return c.done(l, false)
}

// activateOrganizationNow activates an organisation and its members, unless those have
// to confirm their addresses.
func (c *call) activateOrganizationNow(tell bool) error {
	members, err := c.dir.Members(c.req.Context(), c.org.ID)
	if err != nil {
		return err
	}
	o := c.outbox(entity.Management)
	o.tellOfOrganization(c.org, members)
	if tell {
		o.send(mailOrgActivated, recipientsOf(members), map[string]string{"organization_name": c.org.Name})
	}
	ops := o.ops
	if !c.cfg.Registration.ConfirmAdmins {
		for _, m := range members {
			if !m.Activated {
				ops = append(ops, setFlags(command.Admins(), m.ID, "activated"))
			}
		}
	}
	if o.err != nil {
		return o.err
	}
	first := setFlags(command.Organizations(), c.org.ID, "activated")
	for {
		n := min(len(ops), mostTogether)
		if _, err := c.proposeIn(entity.Management, o.now, first, ops[:n]...); err != nil {
			return err
		}
		if ops = ops[n:]; len(ops) == 0 {
			return nil
		}
	}
}

// mostTogether is how many commands go with another in one step.
const mostTogether = 60

// setFlags is the command that sets flags of an account.
func setFlags(rules command.Rules, id entity.ID, flags ...string) command.UpdateEntity {
	f := directory.Fields{}
	for _, flag := range flags {
		f.Set(flag, true)
	}
	return command.UpdateEntity{Rules: rules, Target: command.Target{ID: id}, Patch: f.JSON()}
}

// reactivateOrganization begins the activation again; with nothing in its way, that is
// all of it.
func (c *call) reactivateOrganization() (*wire.Reply, error) {
	if err := c.dir.AllowMail(c.req.Context(), entity.Management, c.org.ID.String()); err != nil {
		return nil, err
	}
	if err := c.readmitOrganization(c.org); err != nil {
		return nil, err
	}
	return wire.Management("reactivate organization"), nil
}

func (c *call) readmitOrganization(org *directory.Organization) error {
	members, err := c.dir.Members(c.req.Context(), org.ID)
	if err != nil {
		return err
	}
	o := c.outbox(entity.Management)
	if o.admitOrganization(org, members) {
		if org.Activated {
			return nil
		}
		c.org = org
		return c.activateOrganizationNow(c.cfg.Registration.NotifyAdmins)
	}
	return c.sendOut(o)
}

// sendOut records mails that go with no other change.
func (c *call) sendOut(o *outbox) error {
	if o.err != nil || len(o.ops) == 0 {
		return o.err
	}
	if _, err := c.proposeIn(o.app, o.now, command.RevokeToken{}, o.ops...); err != nil { // of no token
		return err
	}
	return nil
}

func (c *call) activateAdmin() (*wire.Reply, error) {
	l := &link{action: "activate user", subject: pages.User, view: "management.users.user.activate"}
	proof, ok, err := c.proof()
	if err != nil {
		return nil, err
	}
	l.workflow = proof.Token.Workflow
	if !ok || !proof.Is(entity.Management, entity.PrincipalAdmin, c.admin.ID, entity.TokenActivate) {
		return c.broken(l)
	}
	if !c.admin.Activated {
		if err := c.activateAdminNow("activated"); err != nil {
			return nil, err
		}
	}
	return c.done(l, false)
}

func (c *call) activateAdminNow(flags ...string) error {
	o := c.outbox(entity.Management)
	p := adminPerson(c.admin, entity.ID{})
	o.activated(&p, c.told())
	_, err := c.proposeIn(entity.Management, o.now, setFlags(command.Admins(), c.admin.ID, flags...), o.ops...)
	return err
}

func (c *call) confirmAdmin() (*wire.Reply, error) {
	l := &link{action: "confirm user", subject: pages.User, view: "management.users.user.confirm", confirm: true}
	proof, ok, err := c.proof()
	if err != nil {
		return nil, err
	}
	l.workflow = proof.Token.Workflow
	if !ok || !proof.Is(entity.Management, entity.PrincipalAdmin, c.admin.ID, entity.TokenConfirm) {
		return c.broken(l)
	}
	waits := c.cfg.Registration.ApproveAdmins && !c.admin.Activated
	switch {
	case c.admin.Confirmed && (c.admin.Activated || waits): // again
	case waits:
		o := c.outbox(entity.Management)
		p := adminPerson(c.admin, l.workflow)
		o.send(mailAdminConfirmed, p.recipient(), map[string]string{"confirmed_email": p.email})
		o.approval(&p)
		if o.err != nil {
			return nil, o.err
		}
		_, err = c.proposeIn(entity.Management, o.now, setFlags(command.Admins(), c.admin.ID, "confirmed"), o.ops...)
	default:
		err = c.activateAdminNow("confirmed", "activated")
	}
	if err != nil {
		return nil, err
	}
	return c.done(l, waits)
}

// reactivateAdmin has the mails of an activation sent again (spec management section
// 5.7). Who waits for his organisation waits on: its mails are sent.
func (c *call) reactivateAdmin() (*wire.Reply, error) {
	if err := c.dir.AllowMail(c.req.Context(), entity.Management, c.admin.ID.String()); err != nil {
		return nil, err
	}
	if err := c.readmitAdmin(); err != nil {
		return nil, err
	}
	return wire.Management("reactivate user"), nil
}

func (c *call) readmitAdmin() error {
	o := c.outbox(entity.Management)
	p := adminPerson(c.admin, entity.ID{})
	switch r := &c.cfg.Registration; {
	case c.dir.IsSuperuserName(c.admin.Username):
		return nil
	case c.admin.Activated:
		o.confirmation(&p)
		o.activated(&p, r.NotifyAdmins)
	case !r.ConfirmAdmins && !r.ApproveAdmins && (r.ApproveOrganizations || r.ConfirmOrganizations):
		list, err := c.dir.Memberships(c.req.Context(), c.admin.ID, false, 100)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(list, func(m directory.Membership) bool { return !m.Organization.Activated }); i >= 0 {
			return c.readmitOrganization(list[i].Organization)
		}
		fallthrough
	default:
		if o.admit(c.admin, entity.ID{}) {
			_, err := c.proposeIn(entity.Management, o.now, setFlags(command.Admins(), c.admin.ID, "activated"), o.ops...)
			return err
		}
	}
	return c.sendOut(o)
}
