package raftfsm

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const grantsApp = entity.FirstApp

var roleRules = command.Rules{Collection: "roles", Type: "role", Unique: []string{"name"}, Required: []string{"name"}}

// one applies a command of an application and returns what became of it.
func (f *fixture) one(app entity.AppID, op command.Op) command.Outcome {
	f.t.Helper()
	return f.apply(command.Command{App: app, Time: 1000 + int64(f.index), Op: op})[0]
}

// wanted is one, of a command that must not be refused.
func (f *fixture) wanted(app entity.AppID, op command.Op) command.Outcome {
	f.t.Helper()
	out := f.one(app, op)
	if out.Fault != nil {
		f.t.Fatalf("%T: %v", op, out.Fault)
	}
	return out
}

func (f *fixture) refused(app entity.AppID, code fault.Code, op command.Op) {
	f.t.Helper()
	if out := f.one(app, op); out.Fault == nil || out.Fault.Code != code {
		f.t.Errorf("%T: %v, want %s", op, out.Fault, code)
	}
}

func (f *fixture) grants(owner entity.ID) []string {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	list, err := storage.Grants(v, grantsApp, owner)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *fixture) sound() {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	report, err := Check(context.Background(), v)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range report.Problems {
		f.t.Errorf("check: %s", p)
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
}

func seed(reset bool, names ...string) command.SeedRoles {
	op := command.SeedRoles{Rules: roleRules, Reset: reset}
	for i, name := range names {
		op.Roles = append(op.Roles, command.NewRole{
			Entity:      command.NewEntity{ID: idOf(100 + i), Created: 5, JSON: []byte(`{"name":"` + name + `"}`)},
			Permissions: []string{"get:/" + name, "put:/" + name},
		})
	}
	return op
}

func TestPermissionsOfAnOwner(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.wanted(grantsApp, seed(false, "guest", "default"))
	guest, other := idOf(100), idOf(101)
	if got := f.grants(guest); !slices.Equal(got, []string{"get:/guest", "put:/guest"}) {
		t.Errorf("seeded %q", got)
	}
	before := f.machine.Version(grantsApp)
	f.wanted(grantsApp, command.SetPermissions{Collection: "roles", Owner: guest, Add: []string{"*:/a", "get:/guest"}, Remove: []string{"put:/guest", "no:/such"}})
	if got := f.grants(guest); !slices.Equal(got, []string{"*:/a", "get:/guest"}) {
		t.Errorf("changed %q", got)
	}
	if after := f.machine.Version(grantsApp); after.Grants == before.Grants || after.Principals != before.Principals {
		t.Errorf("version %+v, before %+v", after, before)
	}
	f.wanted(grantsApp, command.SetPermissions{Collection: "roles", Owner: guest, Add: []string{"x"}, Remove: []string{"x"}})
	if got := f.grants(guest); !slices.Equal(got, []string{"*:/a", "get:/guest", "x"}) {
		t.Errorf("what is both removed and added is there: %q", got)
	}
	var many []string
	for i := range command.MaxPermissions {
		many = append(many, strings.Repeat("p", i+1))
	}
	f.refused(grantsApp, fault.ServiceResourceNotFound, command.SetPermissions{Collection: "roles", Owner: idOf(7), Add: []string{"a"}})
	f.refused(grantsApp, fault.IllegalArgument, command.SetPermissions{Collection: "items", Owner: guest, Add: []string{"a"}})
	f.refused(grantsApp, fault.IllegalArgument, command.SetPermissions{Collection: "roles", Owner: guest, Add: []string{""}})
	f.refused(grantsApp, fault.IllegalArgument, command.SetPermissions{Collection: "roles", Owner: guest, Add: []string{strings.Repeat("x", command.MaxPermission+1)}})
	f.refused(grantsApp, fault.IllegalArgument, command.SetPermissions{Collection: "roles", Owner: guest, Add: many})
	if got := f.grants(guest); len(got) != 3 {
		t.Errorf("refused commands left %q", got)
	}
	f.sound()
	f.wanted(grantsApp, command.DeleteEntity{Collection: "roles", Target: command.Target{ID: guest}})
	f.wanted(grantsApp, command.DeleteEntities{Collection: "roles", IDs: []entity.ID{other}})
	if a, b := f.grants(guest), f.grants(other); len(a)+len(b) > 0 {
		t.Errorf("deleted roles keep %q and %q", a, b)
	}
	f.sound()
}

func TestSeedingAndResettingRoles(t *testing.T) {
	f := newFixture(t, 3, 0)
	if out := f.wanted(grantsApp, seed(false, "guest", "default")); len(out.Entities) != 2 {
		t.Errorf("created %d roles", len(out.Entities))
	}
	if out := f.wanted(grantsApp, seed(false, "guest", "more")); len(out.Entities) != 0 {
		t.Error("seeded twice")
	}
	guest := idOf(100)
	f.wanted(grantsApp, command.SetPermissions{Collection: "roles", Owner: guest, Add: []string{"extra"}, Remove: []string{"get:/guest"}})
	f.wanted(grantsApp, command.DeleteEntity{Collection: "roles", Target: command.Target{ID: idOf(101)}})
	again := seed(true, "guest", "default")
	again.Roles[0].Entity.ID, again.Roles[1].Entity.ID = idOf(200), idOf(201)
	out := f.wanted(grantsApp, again)
	if len(out.Entities) != 1 || out.Entities[0].ID != idOf(201) || len(out.Errors) != 0 {
		t.Errorf("reset created %v, errors %v", out.Entities, out.Errors)
	}
	if got := f.grants(guest); !slices.Equal(got, []string{"extra", "get:/guest", "put:/guest"}) {
		t.Errorf("reset left %q", got)
	}
	if got := f.grants(idOf(201)); len(got) != 2 {
		t.Errorf("the role that was missing has %q", got)
	}
	f.sound()
}

func TestTogetherIsOneStep(t *testing.T) {
	f := newFixture(t, 3, 0)
	users := command.Rules{Collection: "users", Type: "user", Unique: []string{"username"}}
	create := func(n int, name string) command.CreateEntities {
		return command.CreateEntities{Rules: users, Items: []command.NewEntity{{ID: idOf(n), Created: 5, JSON: []byte(`{"username":"` + name + `"}`)}}}
	}
	token := command.PutToken{Hash: [32]byte{1}, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: idOf(1), Purpose: entity.TokenConfirm}}
	task := command.PutTask{Task: command.NewTask{ID: idOf(50), Kind: "mail", Body: []byte("b")}}
	bad := command.PutTask{Task: command.NewTask{ID: idOf(51), Kind: "not a kind"}}
	request := requestOf(1)
	both := command.Command{App: grantsApp, Time: 9, Request: request, Op: command.Together{First: create(1, "ann"), Then: []command.Op{bad, token, task}}}
	out := f.apply(both)[0]
	if out.Fault != nil || len(out.Entities) != 1 || out.Entities[0].ID != idOf(1) {
		t.Fatalf("outcome %+v", out)
	}
	found := func() (tokens, tasks bool) {
		v := f.state.View(3)
		_, tokens, err := storage.ReadToken(v, grantsApp, token.Hash)
		if err != nil {
			t.Fatal(err)
		}
		_, tasks, err = storage.ReadTask(v, idOf(50))
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		return tokens, tasks
	}
	if tokens, tasks := found(); !tokens || !tasks {
		t.Errorf("token %v, task %v", tokens, tasks)
	}
	if again := f.apply(both)[0]; again.Fault != nil || string(again.Entities[0].JSON) != `{"username":"ann"}` {
		t.Errorf("a retry got %+v", again)
	}
	f.wanted(grantsApp, command.RevokeToken{Hash: token.Hash})
	f.refused(grantsApp, fault.Duplicate, command.Together{First: create(2, "ANN"), Then: []command.Op{token}})
	if tokens, _ := found(); tokens {
		t.Error("the first was refused, and what goes with it was done")
	}
	f.sound()
}

// TestTogetherDoesNotNest: a decoder refuses what could go as deep as an entry is long.
func TestTogetherDoesNotNest(t *testing.T) {
	inner := command.Together{First: command.RevokeToken{}}
	for name, op := range map[string]command.Op{
		"in the first place": command.Together{First: inner},
		"behind":             command.Together{First: command.RevokeToken{}, Then: []command.Op{inner}},
		"a purge behind":     command.Together{First: command.RevokeToken{}, Then: []command.Op{command.PurgeApplication{}}},
		"a step first":       command.Together{First: command.StepTask{}},
	} {
		if _, err := command.DecodeEntry(command.AppendEntry(nil, []command.Command{{App: grantsApp, Op: op}})); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMembershipAndRestore(t *testing.T) {
	f := newFixture(t, entity.System, 0)
	const app = entity.Management
	owner := command.NewEntity{ID: idOf(2), Created: 1, JSON: []byte(`{"username":"ann","email":"ann@example.org"}`)}
	other := command.NewEntity{ID: idOf(3), Created: 1, JSON: []byte(`{"username":"bob","email":"bob@example.org"}`)}
	f.wanted(app, command.CreateOrganization{
		Organization: command.NewEntity{ID: idOf(1), Created: 1, JSON: []byte(`{"name":"acme"}`)}, Name: "acme", Owner: &owner,
		Application: &command.NewApplication{ID: idOf(9), Name: "shop", Partition: 5, Secret: "old"},
	})
	f.wanted(app, command.CreateEntities{Rules: command.Admins(), Items: []command.NewEntity{other}})
	f.refused(app, fault.UnableToLeave, command.SetMembership{Organization: idOf(1), Admin: idOf(2)})
	f.refused(app, fault.ServiceResourceNotFound, command.SetMembership{Organization: idOf(1), Admin: idOf(8), Member: true})
	f.refused(app, fault.ServiceResourceNotFound, command.SetMembership{Organization: idOf(8), Admin: idOf(2), Member: true})
	for i, want := range []bool{true, false} {
		if out := f.wanted(app, command.SetMembership{Organization: idOf(1), Admin: idOf(3), Member: true}); out.Created != want || out.Entities[0].ID != idOf(3) {
			t.Errorf("joining, time %d: %+v", i+1, out)
		}
	}
	f.wanted(app, command.SetMembership{Organization: idOf(1), Admin: idOf(2)})
	f.refused(app, fault.UnableToLeave, command.SetMembership{Organization: idOf(1), Admin: idOf(3)})
	f.sound()

	restore := command.RestoreApplication{Organization: idOf(1), Application: idOf(9), Secret: command.Credential{Kind: entity.CredentialSecret, Value: []byte("new")}}
	f.refused(app, fault.EntityNotFound, restore)
	remove := command.DeleteApplication{Organization: idOf(1), Application: idOf(9), PurgeAt: 10_000_000}
	f.wanted(app, remove)
	second := command.CreateApplication{Organization: idOf(1), Application: command.NewApplication{ID: idOf(10), Name: "shop", Partition: 5}}
	f.wanted(app, second)
	f.refused(app, fault.Conflict, restore)
	f.sound()
	f.refused(app, fault.Conflict, command.DeleteApplication{Organization: idOf(1), Application: idOf(10)})
	f.wanted(app, command.CreateApplication{Organization: idOf(1), Application: command.NewApplication{ID: idOf(11), Name: "other", Partition: 5}})
	f.wanted(app, command.DeleteApplication{Organization: idOf(1), Application: idOf(11), PurgeAt: 10_000_000})
	late := command.Command{App: app, Time: 10_000_000 - 1000, Op: command.RestoreApplication{Organization: idOf(1), Application: idOf(11), Secret: restore.Secret}}
	if out := f.apply(late)[0]; out.Fault == nil || out.Fault.Code != fault.EntityNotFound {
		t.Errorf("restored a second before the purge: %+v", out)
	}
	back := late
	back.Time = 5000
	if out := f.apply(back)[0]; out.Fault != nil || len(out.Entities) != 1 || out.Entities[0].ID != idOf(11) {
		t.Errorf("restored: %+v", out)
	}
	v := f.state.View(entity.System)
	c, _, err := storage.ReadCredential(v, app, idOf(11), entity.CredentialSecret)
	if err != nil || string(c.Value) != "new" {
		t.Errorf("secret %q, %v", c.Value, err)
	}
	if _, planned, err := storage.ReadTask(v, idOf(11)); err != nil || planned {
		t.Errorf("the purge is still planned: %v, %v", planned, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	f.sound()
}

func TestTouchToken(t *testing.T) {
	f := newFixture(t, 3, 0)
	hash := [32]byte{5}
	f.wanted(grantsApp, command.PutToken{Hash: hash, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: idOf(1), Created: 10, Expires: 99}})
	f.wanted(grantsApp, command.TouchToken{Hash: hash, Accessed: 50, Inactive: 40})
	f.wanted(grantsApp, command.TouchToken{Hash: hash, Accessed: 45, Inactive: 3})
	f.wanted(grantsApp, command.TouchToken{Hash: [32]byte{6}, Accessed: 45})
	v := f.state.View(3)
	got, ok, err := storage.ReadToken(v, grantsApp, hash)
	if err != nil || !ok || got.Accessed != 50 || got.Inactive != 40 || got.Expires != 99 {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	f.sound()
}
