package management

import (
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// Mails that are sent here, as the templates call them.
const (
	mailAdminReset            = "admin-password-reset"
	mailAdminConfirmation     = "admin-confirmation"
	mailAdminConfirmed        = "admin-confirmed"
	mailAdminActivated        = "admin-activated"
	mailAdminInvited          = "admin-invited"
	mailOperatorAdmin         = "sysadmin-admin-activation"
	mailOperatorAdminActive   = "sysadmin-admin-activated"
	mailOperatorOrg           = "sysadmin-organization-activation"
	mailOperatorOrgActive     = "sysadmin-organization-activated"
	mailOrgConfirmation       = "organization-confirmation"
	mailOrgConfirmed          = "organization-confirmed"
	mailOrgActivated          = "organization-activated"
	mailUserReset             = "user-password-reset"
	mailUserConfirmation      = "user-confirmation"
	mailUserConfirmed         = "user-confirmed"
	mailUserActivated         = "user-activated"
	mailUserPin               = "user-pin"
	mailMembersUserActivation = "admin-user-activation"
	mailMembersUserActive     = "admin-user-activated"
)

// outbox collects what goes with a change: mails as tasks, and the records of the
// tokens in their links. A mail that cannot be made is left out and noted in the log:
// it never fails the change.
type outbox struct {
	c   *call
	app entity.AppID // whose tasks and tokens they are
	now int64        // of the command, ms since the epoch
	ops []command.Op
	err error // there was no randomness
}

func (c *call) outbox(app entity.AppID) *outbox { return &outbox{c: c, app: app, now: c.now()} }

// mostRecipients of one mail; more are several mails.
const mostRecipients = 100

// send adds a mail. Without recipients there is none.
func (o *outbox) send(key string, to []Recipient, variables map[string]string) {
	for len(to) > 0 {
		n := min(len(to), mostRecipients)
		task, err := o.c.Mailer.Task(Mail{Key: key, To: to[:n], Variables: variables})
		to = to[n:]
		if err != nil {
			o.c.Log.Warn("mail cannot be sent", "mail", key, "request", o.c.req.ID(), "error", err)
			continue
		}
		// They become due in the order in which they were added.
		task.NotBefore = o.now + int64(len(o.ops))
		o.ops = append(o.ops, command.PutTask{Task: task})
	}
}

// link adds a token and returns the URL that ends with it.
func (o *outbox) link(record entity.Token, path string) string {
	text, op, err := o.c.dir.NewLink(o.app, record, o.now)
	if err != nil {
		o.err = err
		return ""
	}
	o.ops = append(o.ops, op)
	return o.base(record.Workflow) + path + "?token=" + text
}

// settingBaseURL is an organisation's own base URL.
const settingBaseURL = directory.SettingBaseURL

// base is the base URL of links on behalf of an organisation.
func (o *outbox) base(workflow entity.ID) string {
	if own := o.c.setting(workflow, settingBaseURL); own != "" {
		return strings.TrimRight(own, "/")
	}
	return o.c.req.BaseURL()
}

// adminOperator is who approves of admin users on behalf of an organisation.
func (o *outbox) adminOperator(workflow entity.ID) string {
	return firstText(o.c.setting(workflow, settingOperatorEmail), o.c.cfg.Registration.adminOperator())
}

// setting returns an organisation's own setting; empty if it has none, is none, or is
// only about to be created.
func (c *call) setting(org entity.ID, name string) string {
	if org.IsZero() {
		return ""
	}
	o, err := c.dir.Organization(c.req.Context(), org.String())
	if err != nil {
		return ""
	}
	return o.Settings[name]
}

// person is somebody with an account: an admin user, or a user of an application.
type person struct {
	app         entity.AppID
	kind        entity.PrincipalKind
	id          entity.ID
	seq         entity.Seq // of an application's user
	name, email string
	path        string // under which links to him lie
	workflow    entity.ID
}

func adminPerson(a *directory.Admin, workflow entity.ID) person {
	return person{
		app: entity.Management, kind: entity.PrincipalAdmin, id: a.ID, name: a.Name, email: a.Email,
		path: "/management/users/" + a.ID.String(), workflow: workflow,
	}
}

func (p *person) recipient() []Recipient { return []Recipient{recipientOf(p.name, p.email)} }

// recipientOf cuts a name to what a mail takes.
func recipientOf(name, address string) Recipient {
	const longest = 200
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	if !utf8.ValidString(name) || name == address {
		name = ""
	}
	return Recipient{Name: name, Address: address}
}

func recipientsOf(admins []*directory.Admin) []Recipient {
	list := make([]Recipient, 0, len(admins))
	for _, a := range admins {
		list = append(list, recipientOf(a.Name, a.Email))
	}
	return list
}

// operator is a list of none or one.
func operator(address string) []Recipient {
	if address == "" {
		return nil
	}
	return []Recipient{{Address: address}}
}

// linkTo adds a token for a purpose and returns its URL.
func (o *outbox) linkTo(p *person, purpose entity.TokenPurpose, page string) string {
	return o.link(entity.Token{Kind: p.kind, Principal: p.id, Seq: p.seq, Purpose: purpose, Workflow: p.workflow}, p.path+"/"+page)
}

// resetMail adds the mail with which a password can be reset.
func (o *outbox) resetMail(p *person) {
	key, variables := mailAdminReset, map[string]string{"user_uuid": p.id.String(), "reset_url_base": o.base(p.workflow) + p.path + "/resetpw"}
	if p.kind == entity.PrincipalAppUser {
		key, variables["application_id"] = mailUserReset, o.c.req.App.ID.String()
	}
	url := o.linkTo(p, entity.TokenResetPassword, "resetpw")
	variables["reset_url"] = url
	_, variables["raw_token"], _ = strings.Cut(url, "?token=")
	o.send(key, p.recipient(), variables)
}

// admit adds what must be answered before an admin user may sign in, or if nothing is
// in the way what tells of that (spec management section 2.1). It reports whether he
// is active.
func (o *outbox) admit(a *directory.Admin, workflow entity.ID) (active bool) {
	r := &o.c.cfg.Registration
	p := adminPerson(a, workflow)
	switch {
	case r.ConfirmAdmins:
		o.confirmation(&p)
	case r.ApproveAdmins:
		o.approval(&p)
	default:
		o.activated(&p, r.NotifyAdmins)
		return true
	}
	return false
}

func (o *outbox) confirmation(p *person) {
	o.send(mailAdminConfirmation, p.recipient(), map[string]string{
		"confirm_email":    p.email,
		"confirmation_url": o.linkTo(p, entity.TokenConfirm, "confirm"),
		"reset_url":        o.linkTo(p, entity.TokenResetPassword, "resetpw"),
	})
}

func (o *outbox) approval(p *person) {
	if to := operator(o.adminOperator(p.workflow)); to != nil {
		o.send(mailOperatorAdmin, to, map[string]string{
			"user_email": p.email, "activation_url": o.linkTo(p, entity.TokenActivate, "activate"),
		})
	}
}

// activated tells of an admin user who may sign in now.
func (o *outbox) activated(p *person, him bool) {
	r := &o.c.cfg.Registration
	if him {
		o.send(mailAdminActivated, p.recipient(), nil)
	}
	if r.NotifyOfAdmins {
		o.send(mailOperatorAdminActive, operator(o.adminOperator(p.workflow)), map[string]string{"user_email": p.email})
	}
}

// admitOrganization adds what must be answered before an organisation is active, or
// what tells of that (section 2.2). It reports whether it is.
func (o *outbox) admitOrganization(org *directory.Organization, owners []*directory.Admin) (active bool) {
	r := &o.c.cfg.Registration
	switch {
	case r.ApproveOrganizations:
		if to := operator(r.organizationOperator()); to != nil {
			o.send(mailOperatorOrg, to, map[string]string{
				"organization_name": org.Name, "organization_owners": addresses(owners), "activation_url": o.organizationLink(org),
			})
		}
		o.send(mailOrgConfirmed, recipientsOf(owners), map[string]string{"organization_name": org.Name})
	case r.ConfirmOrganizations:
		o.send(mailOrgConfirmation, recipientsOf(owners), map[string]string{
			"organization_name": org.Name, "confirmation_url": o.organizationLink(org),
		})
		o.tellOfOrganization(org, owners)
	default:
		o.tellOfOrganization(org, owners)
		return true
	}
	return false
}

func (o *outbox) organizationLink(org *directory.Organization) string {
	return o.link(entity.Token{
		Kind: entity.PrincipalOrgClient, Principal: org.ID, Purpose: entity.TokenActivate, Workflow: org.ID,
	}, "/management/organizations/"+org.ID.String()+"/activate")
}

func (o *outbox) tellOfOrganization(org *directory.Organization, owners []*directory.Admin) {
	if r := &o.c.cfg.Registration; r.NotifyOfOrganizations {
		o.send(mailOperatorOrgActive, operator(r.organizationOperator()), map[string]string{
			"organization_name": org.Name, "organization_owners": addresses(owners),
		})
	}
}

// addresses lists some admin users for a mail.
func addresses(admins []*directory.Admin) string {
	const most = 20
	var b strings.Builder
	for i, a := range admins {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Email)
	}
	return b.String()
}
