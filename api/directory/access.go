package directory

import (
	"context"
	"time"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// holder names what has permissions: a user, group or role of an application.
type holder struct {
	app entity.AppID
	id  entity.ID
}

// granted is what a holder grants, and the version of the permissions it was read at.
type granted struct {
	set      *auth.Set
	inactive int64 // of a role: longest pause between two uses of a token that it survives, ms; 0: any
	standard bool  // it is the role default
}

// standing is whose permissions a principal has in an application.
type holdings struct {
	holders []entity.ID
	missing bool // there is no role of guests
}

// names of the roles that have a meaning of their own.
const (
	guestRole   = "guest"
	defaultRole = "default"
)

// Access returns what a principal may do in an application: everything, or what its
// roles, its groups and it itself are permitted. Faults: Unauthorized for credentials
// of another application (A13), NotImplemented for the management application.
//
// Roles and permissions are read once and remembered while they are unchanged, so a
// change counts from the next request on.
func (d *Directory) Access(ctx context.Context, p *auth.Principal, app *auth.Application, number entity.AppID) (auth.Access, error) {
	access, err := p.In(*app)
	if err != nil {
		return access, err
	}
	if err := d.ensureRoles(ctx, app, number); err != nil {
		return auth.Access{}, err
	}
	if access.Everything() || (p.Kind == auth.AppUser && p.App != app.ID) {
		return access, nil
	}
	version, err := d.cluster.Version(ctx, number)
	if err != nil {
		return auth.Access{}, err
	}
	held, err := d.held(ctx, number, p, version)
	if err != nil {
		return auth.Access{}, err
	}
	if held.missing {
		return auth.NoGuests(), nil
	}
	sets := make([]*auth.Set, 0, len(held.holders))
	for _, id := range held.holders {
		g, fresh, err := d.grantsOf(ctx, holder{number, id}, version)
		if err != nil {
			return auth.Access{}, err
		}
		if fresh && g.standard && g.set != nil && g.set.Everything() && !app.Open {
			d.warn(app.ID, number)
		}
		if g.set == nil {
			continue
		}
		if g.inactive > 0 {
			if out, err := d.idle(ctx, number, p, g.inactive); err != nil {
				return auth.Access{}, err
			} else if out {
				continue
			}
		}
		sets = append(sets, g.set)
	}
	return p.Permissions(sets), nil
}

// held returns whose permissions a guest or an app user has.
func (d *Directory) held(ctx context.Context, app entity.AppID, p *auth.Principal, version entity.Version) (holdings, error) {
	key := holder{app, p.ID} // guests have no id
	if h, at, ok := d.holdings.get(key); ok && at == version.Principals {
		return h, nil
	}
	var h holdings
	read := func(ctx context.Context) error {
		return d.with(ctx, app, func(v *storage.View) (err error) {
			if p.Kind == auth.Anonymous {
				h, err = guestHoldings(v, app)
			} else {
				h, err = userHoldings(v, app, p.ID)
			}
			return err
		})
	}
	err := read(ctx)
	if err == nil && h.missing {
		// The role may have been made after this request began, by itself or by another:
		// nobody is turned away for what this replica does not know yet.
		err = read(context.WithValue(ctx, entity.FreshnessKey{}, &entity.Freshness{Since: time.Now()}))
	}
	if err == nil {
		d.holdings.put(key, h, version.Principals)
	}
	return h, err
}

func guestHoldings(v *storage.View, app entity.AppID) (holdings, error) {
	e, ok, err := findBy(v, app, "roles", "name", guestRole)
	if err != nil || !ok {
		return holdings{missing: true}, err
	}
	return holdings{holders: []entity.ID{e.ID}}, nil
}

// userHoldings collects the default role, the user, his roles, his groups and theirs.
func userHoldings(v *storage.View, app entity.AppID, user entity.ID) (holdings, error) {
	h := holdings{holders: []entity.ID{user}}
	e, ok, err := findBy(v, app, "roles", "name", defaultRole)
	if err != nil {
		return h, err
	}
	if ok {
		h.holders = append(h.holders, e.ID)
	}
	e, ok, err = find(v, app, "users", user)
	if err != nil || !ok || !e.HasOut {
		return h, err
	}
	users, _, err := storage.ReadCollectionID(v, app, "users")
	if err != nil {
		return h, err
	}
	self := entity.End{Collection: users, Seq: e.Seq}
	groups, err := members(v, app, self, entity.VerbGroups)
	if err != nil {
		return h, err
	}
	seen := make(map[entity.ID]bool)
	add := func(list []member) {
		for _, m := range list {
			if !seen[m.id] {
				seen[m.id] = true
				h.holders = append(h.holders, m.id)
			}
		}
	}
	add(groups)
	for _, end := range append([]member{{end: self}}, groups...) {
		roles, err := members(v, app, end.end, entity.VerbRoles)
		if err != nil {
			return h, err
		}
		add(roles)
	}
	return h, nil
}

// member is the far end of a membership.
type member struct {
	id  entity.ID
	end entity.End
}

// members returns what an entity is connected to by a reserved verb.
func members(v *storage.View, app entity.AppID, from entity.End, verb string) ([]member, error) {
	number, ok, err := storage.VerbID(v, app, verb)
	if err != nil || !ok {
		return nil, wrapRead("read a verb", err)
	}
	ends, err := storage.Edges(v, app, from, keys.Outbound, number)
	if err != nil {
		return nil, wrapRead("read memberships", err)
	}
	list := make([]member, 0, len(ends))
	for _, end := range ends {
		e, ok, err := storage.ReadEntity(v, app, end.Collection, end.Seq)
		if err != nil {
			return nil, wrapRead("read a member", err)
		}
		if ok { // else it was deleted, and its edges are on their way out
			list = append(list, member{e.ID, end})
		}
	}
	return list, nil
}

// warn tells once that the users of an application may do everything.
func (d *Directory) warn(app entity.ID, number entity.AppID) {
	if d.cfg.Warn == nil {
		return
	}
	if _, _, told := d.warned.get(number); !told {
		d.warned.put(number, struct{}{}, 0)
		d.cfg.Warn(app)
	}
}

// UsersMayAll reports whether the role default of an application grants everything.
func (d *Directory) UsersMayAll(ctx context.Context, app entity.AppID) (all bool, err error) {
	err = d.with(ctx, app, func(v *storage.View) error {
		e, ok, err := findBy(v, app, "roles", "name", defaultRole)
		if err != nil || !ok {
			return err
		}
		list, err := permissionsOf(v, holder{app, e.ID})
		all = len(list) > 0 && auth.NewSet(list).Everything()
		return err
	})
	return all, err
}

// permissionsOf reads what a holder grants.
func permissionsOf(v *storage.View, h holder) ([]*auth.Permission, error) {
	texts, err := storage.Grants(v, h.app, h.id)
	if err != nil {
		return nil, wrapRead("read permissions", err)
	}
	list := make([]*auth.Permission, 0, len(texts))
	for _, text := range texts {
		// One that cannot be read was stored by a version that could, and grants nothing.
		if p, err := auth.ParsePermission(text); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// grantsOf returns what a holder grants, and whether that was read anew.
func (d *Directory) grantsOf(ctx context.Context, h holder, version entity.Version) (g granted, fresh bool, err error) {
	if g, at, ok := d.grants.get(h); ok && at == version.Grants {
		return g, false, nil
	}
	err = d.with(ctx, h.app, func(v *storage.View) error {
		list, err := permissionsOf(v, h)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			g.set = auth.NewSet(list)
		}
		return g.readRole(v, h)
	})
	if err == nil {
		d.grants.put(h, g, version.Grants)
	}
	return g, true, err
}

// readRole adds what there is to say of a role; of users and groups nothing is.
func (g *granted) readRole(v *storage.View, h holder) error {
	e, ok, err := find(v, h.app, "roles", h.id)
	if err != nil || !ok {
		return err
	}
	role, err := parseRecord(&e)
	if err != nil {
		return err
	}
	name := text(role, "name")
	g.standard = name == defaultRole
	if limit := lookup(role, "inactivity"); limit != nil && limit.Type() == fastjson.TypeNumber && name != guestRole && name != defaultRole {
		g.inactive = max(0, limit.GetInt64())
	}
	return nil
}

// ensureRoles gives an application its default roles unless it has had them. Nobody
// sees one without: whoever comes first makes them.
func (d *Directory) ensureRoles(ctx context.Context, app *auth.Application, number entity.AppID) error {
	if _, _, ok := d.seeded.get(number); ok {
		return nil
	}
	var has bool
	err := d.with(ctx, number, func(v *storage.View) (err error) {
		_, has, err = storage.ReadCollectionID(v, number, "roles")
		return wrapRead("read collection roles", err)
	})
	if err == nil && !has {
		_, err = d.SeedRoles(ctx, number, app.Open, false)
	}
	if err == nil {
		d.seeded.put(number, struct{}{}, 0)
	}
	return err
}

// SeedRoles gives an application its default roles, unless it has had them. If reset,
// it is given those that are missing, and all default permissions. It returns the
// roles that were created.
func (d *Directory) SeedRoles(ctx context.Context, app entity.AppID, open, reset bool) ([]entity.Entity, error) {
	typ, err := schema.Of("roles")
	if err != nil {
		return nil, err
	}
	op := command.SeedRoles{Rules: typ.Rules(), Reset: reset}
	now := d.millis()
	for _, role := range auth.DefaultRoles(open) {
		json, err := roleJSON(role)
		if err != nil {
			return nil, err
		}
		op.Roles = append(op.Roles, command.NewRole{
			Entity: command.NewEntity{ID: entity.NewID(), Created: now, Modified: now, JSON: json}, Permissions: role.Permissions,
		})
	}
	out, err := d.do(ctx, app, op)
	if fault.Is(err, fault.NotFound) { // deleted and purged meanwhile
		err = fault.New(fault.OrganizationApplicationNotFound, "Could not find application")
	}
	return out.Entities, err
}

func roleJSON(role auth.Role) ([]byte, error) {
	var a fastjson.Arena
	o := a.NewObject()
	o.Set("name", a.NewString(role.Name))
	o.Set("roleName", a.NewString(role.Name))
	o.Set("title", a.NewString(role.Title))
	o.Set("inactivity", a.NewNumberInt(0))
	return o.MarshalTo(nil), nil
}
