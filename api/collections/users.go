package collections

import (
	"crypto/md5" // #nosec G501 -- the name of a picture, not a secret
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// standing are properties of a user that say what he may do. They are set by
// the server and by those who administer the application.
var standing = []string{"activated", "confirmed", "disabled", "deactivated"}

// newUser applies the rules of registration (spec users-groups-roles section
// 1.3) to a document and takes its credentials out of it.
func (c *call) newUser(doc *document, item *command.NewEntity) error {
	if err := notMe(doc); err != nil {
		return err
	}
	if err := doc.requireAll(c.typ); err != nil {
		return err
	}
	if err := c.reachable(doc); err != nil {
		return err
	}
	c.keepStanding(doc)
	active, err := c.activates()
	if err != nil {
		return err
	}
	if err := doc.set("activated", []byte(`"activated"`), strconv.AppendBool(nil, active)); err != nil {
		return err
	}
	if email, ok := doc.text("email"); ok && !doc.has("picture") {
		if err := doc.setString("picture", gravatar(email)); err != nil {
			return err
		}
	}
	if password, ok := doc.secret("password"); ok && password != "" {
		credential, err := c.accounts.HashPassword(c.req.Context(), password)
		if err != nil {
			return err
		}
		item.Credentials = append(item.Credentials, credential)
	}
	return c.newPin(doc, item)
}

// newPin takes the PIN of a new user out of a document.
func (c *call) newPin(doc *document, item *command.NewEntity) error {
	pin, ok := doc.secret("pin")
	if !ok || pin == "" {
		return nil
	}
	credential, err := c.sealPin(item.ID, pin)
	if err == nil {
		item.Credentials = append(item.Credentials, credential)
	}
	return err
}

// registration is what an application asks of those who register.
type registration struct {
	known            bool // it was asked
	confirm, approve bool // of the address, by an administrator
}

// registers reads what the application asks of new users.
func (c *call) registers() (registration, error) {
	r := &c.registration
	if r.known {
		return *r, nil
	}
	record, err := c.record(c.req)
	if err != nil {
		return registration{}, err
	}
	r.known = true
	// The callback never fails, so neither does the walk.
	_ = eachMember(record.JSON, func(m member) error {
		set := string(m.value) == "true"
		switch {
		case strings.EqualFold(m.key, "registration_requires_email_confirmation"):
			r.confirm = set
		case strings.EqualFold(m.key, "registration_requires_admin_approval"):
			r.approve = set
		}
		return nil
	})
	return *r, nil
}

// activates reports whether new users of the application may sign in at once:
// not if it wants their address confirmed or an administrator's approval.
func (c *call) activates() (bool, error) {
	r, err := c.registers()
	return !r.confirm && (!r.approve || c.legacyApproval), err
}

// reachable refuses an address that is none where mails to it decide who may sign in.
// Elsewhere an address is a text like others.
func (c *call) reachable(doc *document) error {
	r, err := c.registers()
	if err != nil || !r.confirm {
		return err
	}
	if email, ok := doc.text("email"); ok && !auth.MayBeMailAddress(email) {
		return fault.New(fault.IllegalArgument, "email %q is no e-mail address, and has to be confirmed", email)
	}
	return nil
}

// changedUser applies the rules of PUT to a document.
func (c *call) changedUser(doc *document) error {
	c.keepStanding(doc)
	if i := doc.find("activated"); i >= 0 && string(doc.properties[i].value) == "true" {
		// Who is active again was not deactivated.
		if err := doc.set("deactivated", []byte(`"deactivated"`), []byte("null")); err != nil {
			return err
		}
	}
	return notMe(doc)
}

// keepStanding leaves out what only an administrator may say of a user.
func (c *call) keepStanding(doc *document) {
	if c.req.Access.Everything() {
		return
	}
	for _, property := range standing {
		doc.remove(property)
	}
}

func notMe(doc *document) error {
	if name, ok := doc.text("username"); ok && strings.EqualFold(name, "me") {
		return fault.New(fault.IllegalArgument, "username %q is reserved", name)
	}
	return nil
}

// gravatar is the URL of the picture that goes with an e-mail address.
func gravatar(email string) string {
	sum := md5.Sum([]byte(strings.ToLower(strings.TrimSpace(email)))) // #nosec G401
	return "http://www.gravatar.com/avatar/" + hex.EncodeToString(sum[:])
}

// account answers the requests about users to which path permissions do not
// apply; false if this is none of them.
func (c *call) account(below []string) (reply *wire.Reply, done bool, err error) {
	method := c.req.Method()
	switch {
	case len(below) == 1 && c.isMe(below[0]) && method == "GET":
		// A user may always read himself, and nobody else is anybody here.
		t, err := c.target(below[0])
		if err != nil {
			return nil, true, err
		}
		reply, err = c.show(t)
		return reply, true, err
	case len(below) == 1 && c.isMe(below[0]):
		c.me = true
	case len(below) == 2 && strings.EqualFold(below[1], "password") && (method == "PUT" || method == "POST"):
		reply, err = c.password(below[0])
		return reply, true, err
	}
	return nil, false, nil
}

// welcomed adds to the command that may create an entity the mails without which a user
// cannot sign in: who needs one is not created without it. Other entities need none.
func (c *call) welcomed(typ *schema.Type, create *command.NewEntity, op command.Op) (command.Op, error) {
	if create == nil || typ == nil || typ.Collection != "users" {
		return op, nil
	}
	if open, err := c.activates(); err != nil || open {
		return op, err
	}
	mails, err := c.mails.Welcome(c.req, &entity.Entity{ID: create.ID, Created: create.Created, JSON: create.JSON})
	if err != nil || len(mails) == 0 {
		return op, err
	}
	if both, ok := op.(command.Together); ok {
		return command.Together{First: both.First, Then: append(slices.Clip(both.Then), mails...)}, nil
	}
	return command.Together{First: op, Then: mails}, nil
}

// password answers PUT and POST of a user's password: administrators set it,
// everybody else must know the old one.
func (c *call) password(segment string) (*wire.Reply, error) {
	old, sent, err := c.req.LookupParam("oldpassword")
	if err == nil && !sent {
		old, sent, err = c.req.LookupParam("password")
	}
	if err != nil {
		return nil, err
	}
	password, err := c.req.Param("newpassword")
	if err != nil {
		return nil, err
	}
	force := c.req.Access.Everything()
	switch {
	case password == "":
		return nil, fault.New(fault.IllegalArgument, "newpassword is required")
	case !force && (!sent || old == ""):
		return nil, fault.New(fault.IllegalArgument, "oldpassword is required")
	}
	who := segment
	if c.isMe(segment) {
		if c.req.Principal.Kind != auth.AppUser {
			return nil, notFound()
		}
		who = c.req.Principal.ID.String()
	}
	if err := c.accounts.SetUserPassword(c.req.Context(), c.req.App.Number, who, old, password, force); err != nil {
		return nil, err
	}
	return wire.Management("set user password"), nil
}
