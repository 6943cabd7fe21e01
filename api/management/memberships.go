package management

import (
	"strconv"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func (c *call) listMembers() (*wire.Reply, error) {
	members, err := c.dir.Members(c.req.Context(), c.org.ID)
	if err != nil {
		return nil, err
	}
	list := make([]adminObject, 0, len(members))
	for _, m := range members {
		list = append(list, adminOf(m))
	}
	return wire.Management("get organization users").Field("data", list), nil
}

// showMember answers with a member of an organisation: himself and the superuser as
// everywhere, others without a token and what he is elsewhere.
func (c *call) showMember() (*wire.Reply, error) {
	if c.isSelf() {
		return c.showAdmin()
	}
	m, err := c.dir.Describe(c.req.Context(), c.org.ID, true)
	if err != nil {
		return nil, err
	}
	shown := adminOf(c.admin)
	shown.Organizations = organizationMap([]directory.Membership{*m}, c.req.Query("shallow") == "true")
	return wire.Management("get admin user").Field("status", "ok").Field("data", shown), nil
}

// invite makes somebody a member of an organisation, and an admin user if he is none
// (spec management section 4.2).
func (c *call) invite() (*wire.Reply, error) {
	a := args{req: c.req}
	email, password := a.get("email"), a.exact("password")
	existing := true
	if text := a.get("invite"); text != "" {
		yes, err := strconv.ParseBool(text)
		if err != nil {
			return nil, bad("invite must be true or false")
		}
		existing = yes
	}
	if a.err != nil {
		return nil, a.err
	}
	if email == "" {
		return nil, bad("email is required")
	}
	if existing {
		admin, err := c.dir.AdminByEmail(c.req.Context(), email)
		if err != nil {
			return nil, err
		}
		if admin != nil {
			c.admin = admin
			return aboutAdmin("create user", admin), c.join()
		}
	}
	r := &c.cfg.Registration
	e, admin, err := c.newAdmin(email, password, !r.ConfirmAdmins && !r.ApproveAdmins)
	if err != nil {
		return nil, err
	}
	o := c.outbox(entity.Management)
	o.admit(admin, c.org.ID)
	p := adminPerson(admin, c.org.ID)
	o.resetMail(&p)
	o.invitation(c.org, admin)
	if o.err != nil {
		return nil, o.err
	}
	admin, err = c.enroll(o, e, command.SetMembership{Organization: c.org.ID, Admin: admin.ID, Member: true})
	if err != nil {
		return nil, err
	}
	return aboutAdmin("create user", admin), nil
}

func (o *outbox) invitation(org *directory.Organization, a *directory.Admin) {
	o.send(mailAdminInvited, []Recipient{recipientOf(a.Name, a.Email)}, map[string]string{"organization_name": org.Name})
}

// join makes the admin user of the call a member of its organisation. Who is one
// already gets no mail.
func (c *call) join() error {
	member, err := c.dir.IsMember(c.req.Context(), c.org.ID, c.admin.ID)
	if err != nil || member {
		return err
	}
	o := c.outbox(entity.Management)
	o.invitation(c.org, c.admin)
	_, err = c.proposeIn(entity.Management, o.now, command.SetMembership{Organization: c.org.ID, Admin: c.admin.ID, Member: true}, o.ops...)
	return gone(err)
}

// leave ends the membership of the admin user of the call. Who is none stays none.
func (c *call) leave() error {
	_, err := c.propose(command.SetMembership{Organization: c.org.ID, Admin: c.admin.ID})
	return gone(err)
}

// gone is how an account that has just been removed is told of.
func gone(err error) error {
	if fault.Is(err, fault.ServiceResourceNotFound) {
		return fault.Wrap(err, fault.Management, "Could not find user or organization")
	}
	return err
}

// putMember adds an admin user to an organisation; of a member it changes the account
// (spec management section 4.3).
func (c *call) putMember() (*wire.Reply, error) {
	member, err := c.dir.IsMember(c.req.Context(), c.org.ID, c.admin.ID)
	if err != nil {
		return nil, err
	}
	if member {
		says, err := c.saysSomething()
		if err != nil {
			return nil, err
		}
		if says && !c.isSelf() {
			return nil, noAdminAccess()
		}
		if says {
			return c.updateAdmin()
		}
	}
	return aboutAdmin("add user to organization", c.admin), c.join()
}

// saysSomething reports whether the body is more than an empty object.
func (c *call) saysSomething() (bool, error) {
	kind, err := c.req.Kind()
	if err != nil || kind != wire.JSONBody {
		return kind == wire.FormBody, err
	}
	text, err := c.objectText()
	if err != nil {
		return false, err
	}
	fields, err := members(text, "access_token")
	return len(fields) > 0, err
}

func (c *call) removeMember() (*wire.Reply, error) {
	return aboutAdmin("remove user from organization", c.admin), c.leave()
}

func (c *call) joinOrganization() (*wire.Reply, error) {
	return wire.Management("add user to organization").Field("data", organizationOf(c.org, true)), c.join()
}

func (c *call) leaveOrganization() (*wire.Reply, error) {
	return wire.Management("remove user from organization").Field("data", organizationOf(c.org, true)), c.leave()
}
