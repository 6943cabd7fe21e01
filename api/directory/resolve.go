package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// route is an application as a path names it; org is empty where the path has
// only the application's UUID.
type route struct{ org, app string }

// Organization returns the organisation a path segment names, by name in any
// case or by UUID: Management (R2) if there is none.
func (d *Directory) Organization(ctx context.Context, segment string) (*Organization, error) {
	version, err := d.version(ctx, entity.Management)
	if err != nil {
		return nil, err
	}
	if o, at, ok := d.organizations.get(segment); ok && at == version {
		return o, nil
	}
	var org *Organization
	err = d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		org, err = readOrganization(v, segment)
		return err
	})
	if err != nil {
		return nil, err
	}
	if org == nil {
		return nil, fault.New(fault.Management, "Could not find organization for ID: %s", clip(segment))
	}
	d.organizations.put(strings.Clone(segment), org, version)
	return org, nil
}

// clip bounds what of a client's text a message repeats.
func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// readOrganization returns nil if there is none.
func readOrganization(v *storage.View, segment string) (*Organization, error) {
	var e entity.Entity
	var ok bool
	var err error
	if id, isID := entity.ParseID(segment); isID {
		e, ok, err = find(v, entity.Management, organizationsName, id)
	} else {
		e, ok, err = findBy(v, entity.Management, organizationsName, "name", segment)
	}
	if err != nil || !ok {
		return nil, err
	}
	return organizationOf(e)
}

// Application returns the live application that /{org}/{app} names, each by
// name or UUID: OrganizationApplicationNotFound (R1) if there is none.
func (d *Directory) Application(ctx context.Context, org, app string) (*Application, error) {
	return d.application(ctx, route{org, app})
}

// ApplicationByID returns the live application a UUID names (R1). The
// management application is one of them: auth closes it.
func (d *Directory) ApplicationByID(ctx context.Context, id entity.ID) (*Application, error) {
	return d.application(ctx, route{app: id.String()})
}

func (d *Directory) application(ctx context.Context, r route) (*Application, error) {
	version, err := d.version(ctx, entity.Management)
	if err != nil {
		return nil, err
	}
	if a, at, ok := d.applications.get(r); ok && at == version {
		return a, nil
	}
	var app *Application
	err = d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		app, err = readApplication(v, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if app == nil {
		name := clip(r.app)
		if r.org != "" {
			name = clip(r.org) + "/" + name
		}
		return nil, fault.New(fault.OrganizationApplicationNotFound, "Could not find application for %s", name)
	}
	d.applications.put(route{strings.Clone(r.org), strings.Clone(r.app)}, app, version)
	return app, nil
}

// readApplication returns nil if there is none.
func readApplication(v *storage.View, r route) (*Application, error) {
	id, isID := entity.ParseID(r.app)
	if r.org == "" {
		if !isID {
			return nil, nil
		}
		return readApplicationByID(v, id)
	}
	org, err := readOrganization(v, r.org)
	if err != nil || org == nil {
		return nil, err
	}
	if isID {
		if a, err := readApplicationByID(v, id); err != nil || (a != nil && a.Organization == org.ID) {
			return a, err
		}
	}
	e, ok, err := findBy(v, entity.Management, applicationsName, "name", org.Key()+"/"+strings.TrimSpace(r.app))
	if err != nil || !ok {
		return nil, err
	}
	return applicationOf(v, e)
}

func readApplicationByID(v *storage.View, id entity.ID) (*Application, error) {
	if id == entity.ManagementID {
		a := &Application{Partition: entity.System}
		a.ID, a.Number, a.Name, a.OrganizationName = id, entity.Management, "management", "management"
		return a, nil
	}
	e, ok, err := find(v, entity.Management, applicationsName, id)
	if err != nil || !ok {
		return nil, err
	}
	return applicationOf(v, e)
}

// AppName is an application in a listing.
type AppName struct {
	ID   entity.ID
	Name string // "org/app", lower case
}

// Applications lists the live applications of an organisation, or the deleted
// ones, by name.
func (d *Directory) Applications(ctx context.Context, org entity.ID, deleted bool) ([]AppName, error) {
	var names []AppName
	err := d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		names, err = readApplicationNames(v, org, deleted)
		return err
	})
	return names, err
}

func readApplicationNames(v *storage.View, org entity.ID, deleted bool) ([]AppName, error) {
	relation, collection := keys.LinkApplication, applicationsName
	if deleted {
		relation, collection = keys.LinkDeletedApp, deletedName
	}
	ids, err := storage.Links(v, entity.Management, relation, org)
	if err != nil {
		return nil, wrapRead("list applications of "+org.String(), err)
	}
	names := make([]AppName, 0, len(ids))
	for _, id := range ids {
		e, ok, err := find(v, entity.Management, collection, id)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fault.New(fault.Corrupt, "application %s of organisation %s has no record", id, org)
		}
		rec, err := parseRecord(&e)
		if err != nil {
			return nil, err
		}
		names = append(names, AppName{ID: id, Name: strings.ToLower(text(rec, "name"))})
	}
	slices.SortFunc(names, func(a, b AppName) int { return strings.Compare(a.Name, b.Name) })
	return names, nil
}

// AllApplications lists the applications of the cluster, newest first: at most
// limit of them.
func (d *Directory) AllApplications(ctx context.Context, deleted bool, limit int) ([]AppName, error) {
	collection := applicationsName
	if deleted {
		collection = deletedName
	}
	var names []AppName
	err := d.with(ctx, entity.Management, func(v *storage.View) error {
		return scan(v, collection, limit, func(e entity.Entity) error {
			rec, err := parseRecord(&e)
			if err != nil {
				return err
			}
			names = append(names, AppName{ID: e.ID, Name: strings.ToLower(text(rec, "name"))})
			return nil
		})
	})
	return names, err
}

// AllOrganizations lists the organisations of the cluster, newest first, from
// behind the one numbered after (0: from the newest): at most limit of them,
// and the number to go on from, 0 at the end.
func (d *Directory) AllOrganizations(ctx context.Context, after entity.Seq, limit int) (orgs []*Organization, next entity.Seq, err error) {
	err = d.with(ctx, entity.Management, func(v *storage.View) error {
		var last entity.Seq
		full := false
		return scanFrom(v, organizationsName, after, limit+1, func(e entity.Entity) error {
			if full = len(orgs) == limit; full {
				next = last
				return nil
			}
			o, err := organizationOf(e)
			orgs, last = append(orgs, o), e.Seq
			return err
		})
	})
	return orgs, next, err
}

// scan shows f the newest entities of a collection of the management
// application.
func scan(v *storage.View, collection string, limit int, f func(entity.Entity) error) error {
	return scanFrom(v, collection, 0, limit, f)
}

func scanFrom(v *storage.View, collection string, after entity.Seq, limit int, f func(entity.Entity) error) error {
	c, ok, err := storage.ReadCollection(v, entity.Management, collection)
	if err != nil || !ok {
		return wrapRead("read collection "+collection, err)
	}
	lower, upper := keys.EntityRange(entity.System, entity.Management, c.ID)
	if after > 0 {
		lower = append(keys.AppendEntity(nil, entity.System, entity.Management, c.ID, after), 0)
	}
	it, err := v.Scan(lower, upper)
	if err != nil {
		return wrapRead("list "+collection, err)
	}
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		e, err := entity.DecodeRecord(it.Value())
		if err == nil {
			err = f(e)
		}
		if err != nil {
			return firstError(err, it.Close())
		}
		limit--
	}
	return wrapRead("list "+collection, firstError(it.Err(), it.Close()))
}

// Members returns the admin users of an organisation.
func (d *Directory) Members(ctx context.Context, org entity.ID) ([]*Admin, error) {
	var admins []*Admin
	err := d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		admins, err = readMembers(v, org)
		return err
	})
	return admins, err
}

func readMembers(v *storage.View, org entity.ID) ([]*Admin, error) {
	ids, err := storage.Links(v, entity.Management, keys.LinkMember, org)
	if err != nil {
		return nil, wrapRead("list members of "+org.String(), err)
	}
	admins := make([]*Admin, 0, len(ids))
	for _, id := range ids {
		e, ok, err := find(v, entity.Management, adminsName, id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		a, err := adminOf(e)
		if err != nil {
			return nil, err
		}
		admins = append(admins, a)
	}
	return admins, nil
}

// Membership is one organisation of an admin user, with what listings show of
// it.
type Membership struct {
	Organization *Organization
	Applications []AppName
	Members      []*Admin // only if asked for
}

// Memberships returns the organisations of an admin user, by name: at most
// limit of them.
func (d *Directory) Memberships(ctx context.Context, admin entity.ID, members bool, limit int) ([]Membership, error) {
	var list []Membership
	err := d.with(ctx, entity.Management, func(v *storage.View) error {
		ids, err := organizationIDs(v, admin)
		if err != nil {
			return err
		}
		for _, id := range ids[:min(limit, len(ids))] {
			m, err := readMembership(v, id, members)
			if err != nil {
				return err
			}
			if m != nil {
				list = append(list, *m)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Membership) int { return strings.Compare(a.Organization.Key(), b.Organization.Key()) })
	return list, err
}

// Describe returns what listings show of an organisation.
func (d *Directory) Describe(ctx context.Context, org entity.ID, members bool) (*Membership, error) {
	var m *Membership
	err := d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		m, err = readMembership(v, org, members)
		return err
	})
	if err == nil && m == nil {
		err = fault.New(fault.Management, "Could not find organization for ID: %s", org)
	}
	return m, err
}

func readMembership(v *storage.View, id entity.ID, members bool) (*Membership, error) {
	e, ok, err := find(v, entity.Management, organizationsName, id)
	if err != nil || !ok {
		return nil, err
	}
	m := new(Membership)
	if m.Organization, err = organizationOf(e); err != nil {
		return nil, err
	}
	if m.Applications, err = readApplicationNames(v, id, false); err != nil {
		return nil, err
	}
	if members {
		m.Members, err = readMembers(v, id)
	}
	return m, err
}

// Admin returns the admin user a path segment or sign-in names: by UUID, by
// e-mail, else by username. Management (R3) if there is none.
func (d *Directory) Admin(ctx context.Context, who string) (*Admin, error) {
	var admin *Admin
	err := d.with(ctx, entity.Management, func(v *storage.View) error {
		e, ok, err := findPerson(v, entity.Management, adminsName, who)
		if err != nil || !ok {
			return err
		}
		if admin, err = adminOf(e); err != nil {
			return err
		}
		c, err := secretOf(v, entity.Management, e.ID, entity.CredentialPassword)
		admin.PasswordChanged = c.Changed
		return err
	})
	if err == nil && admin == nil {
		err = fault.New(fault.Management, "Could not find user for username: %s", clip(who))
	}
	return admin, err
}

// User returns the app user a path segment names: ServiceResourceNotFound (R5)
// if there is none.
func (d *Directory) User(ctx context.Context, app entity.AppID, who string) (*User, error) {
	var user *User
	err := d.with(ctx, app, func(v *storage.View) error {
		e, ok, err := findPerson(v, app, "users", who)
		if err != nil || !ok {
			return err
		}
		user, err = userOf(e)
		return err
	})
	if err == nil && user == nil {
		err = fault.New(fault.ServiceResourceNotFound, "Service resource not found")
	}
	return user, err
}

// IsMember reports whether an admin user is a member of an organisation.
func (d *Directory) IsMember(ctx context.Context, org, admin entity.ID) (bool, error) {
	var member bool
	err := d.with(ctx, entity.Management, func(v *storage.View) error {
		ids, err := organizationIDs(v, admin)
		member = slices.Contains(ids, org)
		return err
	})
	return member, err
}

// AdminByEmail returns the admin user with an address; nil if there is none.
func (d *Directory) AdminByEmail(ctx context.Context, email string) (admin *Admin, err error) {
	err = d.with(ctx, entity.Management, func(v *storage.View) error {
		e, ok, err := findBy(v, entity.Management, adminsName, "email", email)
		if err != nil || !ok {
			return err
		}
		admin, err = adminOf(e)
		return err
	})
	return admin, err
}
