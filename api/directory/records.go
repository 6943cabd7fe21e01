package directory

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Organization is an organisation's record.
type Organization struct {
	ID         entity.ID
	Name       string // as given at its creation; compared without case
	Activated  bool
	Properties []byte            // JSON object
	Settings   map[string]string // of its own, over the server's; not to be changed
}

// Settings of an organisation that change how its applications answer.
const (
	SettingBaseURL     = "usergrid.api.url.base"
	SettingConnections = "usergrid.rest.default-connection-param"
)

// Key is the organisation's name in lower case: the key of maps, and the first
// half of its applications' names.
func (o *Organization) Key() string { return strings.ToLower(o.Name) }

// Application is an application's record, and where it lives.
type Application struct {
	wire.Application
	Partition entity.Partition
	TokenTTL  int64         // accesstokenttl, ms; 0: tokens never expire
	HasTTL    bool          // accesstokenttl is set
	Record    entity.Entity // the record as stored; its JSON must not be changed or shown as it is
}

// FullName is "org/app", in lower case.
func (a *Application) FullName() string { return a.OrganizationName + "/" + a.Name }

// Flag reports whether a property of the application is true.
func (a *Application) Flag(property string) bool {
	v, err := parseRecord(&a.Record)
	return err == nil && flag(v, property, false)
}

// Admin is an admin user's record.
type Admin struct {
	ID                             entity.ID
	Username, Name, Email          string
	Activated, Confirmed, Disabled bool
	Properties                     []byte // JSON object of custom properties
	PasswordChanged                int64  // ms since the epoch; 0: has none
}

// User is an app user's record.
type User struct {
	Entity                entity.Entity
	Username, Name, Email string
	Activated, Disabled   bool
	Confirmed             bool // has followed the link of a confirmation
	Deactivated           bool // by somebody who may, since when the user was last active
}

func parseRecord(e *entity.Entity) (*fastjson.Value, error) {
	v, err := fastjson.ParseBytes(e.JSON)
	if err != nil {
		return nil, fault.Wrap(err, fault.Corrupt, "record %s is not JSON", e.ID)
	}
	return v, nil
}

// text returns a string property, whatever the case of its key.
func text(v *fastjson.Value, name string) string {
	b := lookup(v, name).GetStringBytes()
	return string(b)
}

// lookup returns a top-level property, whose stored spelling may differ in
// case; nil if there is none.
func lookup(v *fastjson.Value, name string) *fastjson.Value {
	if found := v.Get(name); found != nil {
		return found
	}
	o, err := v.Object()
	if err != nil {
		return nil
	}
	var found *fastjson.Value
	o.Visit(func(key []byte, value *fastjson.Value) {
		if keys.SameFold(string(key), name) {
			found = value
		}
	})
	return found
}

func flag(v *fastjson.Value, name string, missing bool) bool {
	switch f := lookup(v, name); {
	case f == nil:
		return missing
	case f.Type() == fastjson.TypeTrue:
		return true
	default:
		return false
	}
}

func organizationOf(e entity.Entity) (*Organization, error) {
	v, err := parseRecord(&e)
	if err != nil {
		return nil, err
	}
	return &Organization{
		ID: e.ID, Name: text(v, "name"), Activated: flag(v, "activated", true), Properties: customs(v), Settings: settings(v),
	}, nil
}

func adminOf(e entity.Entity) (*Admin, error) {
	v, err := parseRecord(&e)
	if err != nil {
		return nil, err
	}
	return &Admin{
		ID: e.ID, Username: text(v, "username"), Name: text(v, "name"), Email: text(v, "email"),
		Activated: flag(v, "activated", false), Confirmed: flag(v, "confirmed", true), Disabled: flag(v, "disabled", false),
		Properties: customs(v),
	}, nil
}

// UserOf reads the record of an application's user. Fault: Corrupt.
func UserOf(e entity.Entity) (*User, error) { return userOf(e) }

func userOf(e entity.Entity) (*User, error) {
	v, err := parseRecord(&e)
	if err != nil {
		return nil, err
	}
	e.JSON = bytes.Clone(e.JSON)
	return &User{
		Entity: e, Username: text(v, "username"), Name: text(v, "name"), Email: text(v, "email"),
		Activated: flag(v, "activated", false), Disabled: flag(v, "disabled", false),
		Confirmed: flag(v, "confirmed", false), Deactivated: lookup(v, "deactivated") != nil,
	}, nil
}

func applicationOf(view *storage.View, e entity.Entity) (*Application, error) {
	v, err := parseRecord(&e)
	if err != nil {
		return nil, err
	}
	org, ok := entity.ParseID(text(v, "organization"))
	if !ok {
		return nil, fault.New(fault.Corrupt, "application record %s names no organisation", e.ID)
	}
	a := &Application{
		Application: wire.Application{
			Application: auth.Application{ID: e.ID, Organization: org, Open: flag(v, "open", false)},
			Number:      entity.AppID(v.GetUint("number")),
		},
		Record: e,
	}
	a.Record.JSON = bytes.Clone(e.JSON)
	a.OrganizationName, a.Name, _ = strings.Cut(strings.ToLower(text(v, "name")), "/")
	if ttl := lookup(v, "accesstokenttl"); ttl != nil && ttl.Type() == fastjson.TypeNumber {
		a.TokenTTL, a.HasTTL = ttl.GetInt64(), true
	}
	p, id, ok, err := storage.ReadRoute(view, a.Number)
	if err != nil {
		return nil, err
	}
	if !ok || id != e.ID {
		return nil, fault.New(fault.Corrupt, "application %s has no route", e.ID)
	}
	a.Partition = p
	o, err := readOrganization(view, org.String())
	if err != nil {
		return nil, err
	}
	if o != nil {
		a.BaseURL = strings.TrimRight(o.Settings[SettingBaseURL], "/")
		a.Connections = o.Settings[SettingConnections]
	}
	return a, nil
}

// find returns an entity of a collection by UUID.
func find(r storage.Reader, app entity.AppID, collection string, id entity.ID) (entity.Entity, bool, error) {
	c, ok, err := storage.ReadCollection(r, app, collection)
	if err != nil || !ok {
		return entity.Entity{}, false, wrapRead("read collection "+collection, err)
	}
	e, ok, err := storage.ReadEntityByID(r, app, c.ID, id)
	return e, ok, wrapRead("read "+collection+" "+id.String(), err)
}

// findBy returns an entity of a collection by the value of a unique property.
func findBy(r storage.Reader, app entity.AppID, collection, property, value string) (entity.Entity, bool, error) {
	if strings.TrimSpace(value) == "" {
		return entity.Entity{}, false, nil
	}
	c, ok, err := storage.ReadCollection(r, app, collection)
	if err != nil || !ok {
		return entity.Entity{}, false, wrapRead("read collection "+collection, err)
	}
	e, ok, err := storage.ReadEntityByAlias(r, app, c.ID, property, value)
	return e, ok, wrapRead("read "+collection+" by "+property, err)
}

// IsEmail reports whether a path segment or a username has the shape of an
// e-mail address: local@domain.tld, the last part of two letters or more.
func IsEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || strings.ContainsAny(s, " /") {
		return false
	}
	i := strings.LastIndexByte(domain, '.')
	if i < 1 || len(domain)-i-1 < 2 {
		return false
	}
	for _, c := range domain[i+1:] {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return !strings.Contains(domain, "@")
}

// findPerson finds an admin user or an app user by UUID, e-mail or username, in
// the order of spec users-groups-roles section 0.2.
func findPerson(r storage.Reader, app entity.AppID, collection, who string) (entity.Entity, bool, error) {
	if id, ok := entity.ParseID(who); ok {
		return find(r, app, collection, id)
	}
	if IsEmail(who) {
		if e, ok, err := findBy(r, app, collection, "email", who); ok || err != nil {
			return e, ok, err
		}
	}
	return findBy(r, app, collection, "username", who)
}

// secretOf returns a credential's value as text; empty if there is none.
func secretOf(r storage.Reader, app entity.AppID, owner entity.ID, kind byte) (entity.Credential, error) {
	c, _, err := storage.ReadCredential(r, app, owner, kind)
	if err != nil {
		return entity.Credential{}, fmt.Errorf("directory: read a credential of %s: %w", owner, err)
	}
	c.Value = bytes.Clone(c.Value)
	return c, nil
}

// Names of the collections of the management application.
var (
	adminsName        = command.Admins().Collection
	organizationsName = command.Organizations().Collection
	applicationsName  = command.Applications().Collection
	deletedName       = command.DeletedApplications().Collection
)

// organizationIDs returns those an admin user is a member of.
func organizationIDs(v *storage.View, admin entity.ID) ([]entity.ID, error) {
	ids, err := storage.Links(v, entity.Management, keys.LinkMemberOf, admin)
	return ids, wrapRead("read memberships of "+admin.String(), err)
}

// Created returns the organisation and the owner of an outcome of
// CreateOrganization.
func Created(out command.Outcome) (*Organization, *Admin, error) {
	if len(out.Entities) < 2 {
		return nil, nil, fmt.Errorf("directory: an organisation was created with %d entities", len(out.Entities))
	}
	org, err := organizationOf(out.Entities[0])
	if err != nil {
		return nil, nil, err
	}
	owner, err := adminOf(out.Entities[1])
	return org, owner, err
}

// CreatedAdmin returns the admin user of an outcome that created one.
func CreatedAdmin(out command.Outcome) (*Admin, error) {
	if len(out.Entities) != 1 {
		return nil, fmt.Errorf("directory: an admin user was created with %d entities", len(out.Entities))
	}
	return adminOf(out.Entities[0])
}
