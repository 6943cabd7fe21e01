package raftfsm

import (
	"context"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// registryFixture has an organisation, its owner and an application, live, and
// one that is deleted.
func registryFixture(t testing.TB) *fixture {
	f := newFixture(t, entity.System, 0)
	for i, op := range []command.Op{
		command.InitCluster{Cluster: entity.Cluster{ID: idOf(100)}},
		command.CreateOrganization{
			Name: "Acme", Organization: command.NewEntity{ID: idOf(1), JSON: []byte(`{"name":"Acme"}`)},
			Owner: &command.NewEntity{ID: idOf(2), JSON: []byte(`{"username":"ada","email":"ada@example.test"}`),
				Credentials: []command.Credential{{Kind: entity.CredentialPassword, Value: []byte("hash")}}},
			Application: &command.NewApplication{ID: idOf(3), Name: "shop", Partition: 2, Secret: "s"},
		},
		command.CreateApplication{Organization: idOf(1), Application: command.NewApplication{ID: idOf(4), Name: "old", Partition: 1}},
		command.DeleteApplication{Organization: idOf(1), Application: idOf(4)},
		command.CreateApplication{Organization: idOf(1), Application: command.NewApplication{ID: idOf(5), Name: "older", Partition: 1}},
		command.DeleteApplication{Organization: idOf(1), Application: idOf(5), PurgeAt: 9000},
	} {
		if out := f.apply(command.Command{Request: requestOf(i + 1), Time: 1000, App: entity.Management, Op: op})[0]; out.Fault != nil {
			t.Fatal(out.Fault)
		}
	}
	return f
}

// TestCheckFindsDamage damages a sound partition in one place each.
func TestCheckFindsDamage(t *testing.T) {
	const p, m = entity.System, entity.Management
	const organizations, admins, applications = 1, 2, 3
	for _, tc := range []struct {
		what   string // part of the problem that is reported
		damage func(b *storage.Batch)
	}{
		{"this index entry", func(b *storage.Batch) { b.Delete(keys.AppendID(nil, p, m, admins, idOf(2))) }},
		{"this index entry", func(b *storage.Batch) { b.Delete(keys.AppendUnique(nil, p, m, admins, 2, "ADA@example.test")) }},
		{"not to entity", func(b *storage.Batch) {
			b.Set(keys.AppendUnique(nil, p, m, admins, 1, "ada"), keys.AppendUniqueValue(nil, 2, idOf(9)))
		}},
		{"does not have this unique value", func(b *storage.Batch) {
			b.Set(keys.AppendUnique(nil, p, m, admins, 1, "eve"), keys.AppendUniqueValue(nil, 1, idOf(2)))
		}},
		{"which does not exist", func(b *storage.Batch) { b.Set(keys.AppendID(nil, p, m, admins, idOf(9)), keys.AppendSeq(nil, 7)) }},
		{"which is not entity", func(b *storage.Batch) { b.Set(keys.AppendID(nil, p, m, admins, idOf(9)), keys.AppendSeq(nil, 1)) }},
		{"counts 1 entities; there are 0", func(b *storage.Batch) { b.Delete(keys.AppendEntity(nil, p, m, admins, 1)) }},
		{"damaged entity", func(b *storage.Batch) { b.Set(keys.AppendEntity(nil, p, m, admins, 1), []byte("x")) }},
		{"says it is number", func(b *storage.Batch) {
			b.Set(keys.AppendEntity(nil, p, m, admins, 5), entity.AppendRecord(nil, &entity.Entity{ID: idOf(2), Seq: 1, Rev: 1, JSON: []byte(`{}`)}))
		}},
		{"next number is 1", func(b *storage.Batch) {
			b.Set(keys.AppendCollection(nil, p, m, admins), storage.AppendCollection(nil, &storage.Collection{NextSeq: 1, Count: 1}))
		}},
		{"has no counters", func(b *storage.Batch) { b.Delete(keys.AppendCollection(nil, p, m, admins)) }},
		{"has no name", func(b *storage.Batch) { b.Delete(keys.AppendName(nil, p, m, 0, "admins")) }},
		{"which is another's", func(b *storage.Batch) { b.Set(keys.AppendName(nil, p, m, 0, "zebras"), []byte{admins}) }},
		{"has not given", func(b *storage.Batch) { b.Set(keys.AppendName(nil, p, m, 0, "zebras"), []byte{99}) }},
		{"number of", func(b *storage.Batch) { b.Set(keys.AppendName(nil, p, m, 0, "admins"), nil) }},
		{"owner", func(b *storage.Batch) {
			b.Set(keys.AppendCredential(nil, p, m, idOf(9), entity.CredentialPassword), entity.AppendCredential(nil, &entity.Credential{}))
		}},
		{"damaged credential", func(b *storage.Batch) { b.Set(keys.AppendCredential(nil, p, m, idOf(2), 1), []byte("x")) }},
		{"damaged token", func(b *storage.Batch) { b.Set(keys.AppendToken(nil, p, m, [32]byte{1}), []byte("x")) }},
		{"no link back", func(b *storage.Batch) { b.Delete(keys.AppendLink(nil, p, m, keys.LinkMemberOf, idOf(2), idOf(1))) }},
		{"links user", func(b *storage.Batch) { b.Set(keys.AppendLink(nil, p, m, keys.LinkMember, idOf(1), idOf(9)), nil) }},
		{"unknown relation", func(b *storage.Batch) { b.Set(keys.AppendLink(nil, p, m, 99, idOf(1), idOf(2)), nil) }},
		{"no organization links", func(b *storage.Batch) { b.Delete(keys.AppendLink(nil, p, m, keys.LinkApplication, idOf(1), idOf(3))) }},
		{"no organization links", func(b *storage.Batch) { b.Delete(keys.AppendLink(nil, p, m, keys.LinkDeletedApp, idOf(1), idOf(4))) }},
		{"links application", func(b *storage.Batch) { b.Set(keys.AppendLink(nil, p, m, keys.LinkApplication, idOf(1), idOf(4)), nil) }},
		{"does not lead to application", func(b *storage.Batch) { b.Delete(keys.AppendRoute(nil, entity.FirstApp)) }},
		{"says it is number 16 in partition 2", func(b *storage.Batch) {
			b.Set(keys.AppendRoute(nil, entity.FirstApp), keys.AppendRouteValue(nil, 7, idOf(3)))
		}},
		{"leads to application", func(b *storage.Batch) { b.Set(keys.AppendRoute(nil, 99), keys.AppendRouteValue(nil, 1, idOf(9))) }},
		{"recorded outcome", func(b *storage.Batch) { b.Set(keys.AppendDedup(nil, p, 0, requestOf(1)), []byte("x")) }},
		{"cluster record", func(b *storage.Batch) { b.Set(keys.AppendCluster(nil), []byte("x")) }},
		{"counter of applications", func(b *storage.Batch) { b.Set(keys.AppendNextApp(nil), []byte{1}) }},
		{"missing: task", func(b *storage.Batch) {
			task := entity.Task{ID: idOf(50), Kind: "mail", State: entity.TaskReady}
			b.Set(keys.AppendTask(nil, p, task.ID), entity.AppendTask(nil, &task))
		}},
		{"damaged record of task", func(b *storage.Batch) { b.Set(keys.AppendTask(nil, p, idOf(50)), []byte("x")) }},
		{"queues task", func(b *storage.Batch) { b.Set(keys.AppendQueued(nil, p, keys.Queued{ID: idOf(50)}), []byte("mail")) }},
		{"is not the place of task", func(b *storage.Batch) {
			b.Set(keys.AppendQueued(nil, p, keys.Queued{State: entity.TaskReady, NotBefore: 7, ID: idOf(5)}), []byte("mail"))
		}},
		{"is of kind", func(b *storage.Batch) {
			b.Set(keys.AppendQueued(nil, p, keys.Queued{State: entity.TaskReady, Priority: entity.Idle, App: m, NotBefore: 9000, ID: idOf(5)}), []byte("mail"))
		}},
		{"application 1 was purged", func(b *storage.Batch) { b.Set(keys.AppendGone(nil, p, m), nil) }},
		{"damaged mark", func(b *storage.Batch) { b.Set(keys.AppendGone(nil, p, 17), []byte("x")) }},
		{"unknown kind", func(b *storage.Batch) { b.Set([]byte("\x00\x00\x00\x00\x00\x00\x00\x10?x"), nil) }},
		{"unknown key", func(b *storage.Batch) { b.Set([]byte("\x00\x00\x00\x00\x00\x00\x00\x00?x"), nil) }},
		{"too short", func(b *storage.Batch) { b.Set([]byte("\x00\x00\x00\x00x"), nil) }},
	} {
		checkDamage(t, registryFixture(t), p, tc.what, tc.damage)
	}
}

// checkDamage damages a sound partition and looks for a problem that says what.
func checkDamage(t *testing.T, f *fixture, p entity.Partition, what string, damage func(*storage.Batch)) {
	t.Helper()
	checkClean(t, f.state, p)
	b := f.state.NewBatch(p)
	damage(b)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	v := f.state.View(p)
	report, err := Check(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, problem := range report.Problems {
		found = found || strings.Contains(problem.String(), what)
	}
	if !found || report.Found != uint64(len(report.Problems)) {
		t.Errorf("no problem says %q: %v", what, report.Problems)
	}
}

func TestCheckCounts(t *testing.T) {
	f := registryFixture(t)
	v := f.state.View(entity.System)
	report, err := Check(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	if report.Applied != 6 || report.Entities != 5 || report.Tasks != 1 || report.Collections != 4 || report.Applications != 1 || report.Found != 0 {
		t.Errorf("report is %+v", report)
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	b := f.state.NewBatch(entity.System)
	for i := range 2000 {
		b.Set(keys.AppendToken(nil, entity.System, entity.Management, [32]byte{byte(i), byte(i >> 8), 1}), []byte("x"))
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	large := f.state.View(entity.System)
	if _, err := Check(ended, large); err == nil {
		t.Error("a check goes on after its context has ended")
	}
	report, err = Check(context.Background(), large)
	if err != nil || report.Found != 2000 || len(report.Problems) != maxProblems {
		t.Errorf("found %d problems and lists %d: %v", report.Found, len(report.Problems), err)
	}
	for _, v := range []*storage.View{v, large} {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}
