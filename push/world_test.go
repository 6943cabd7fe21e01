package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/node/nodetest"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/push/noop"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	partition = entity.Partition(3)
	app       = entity.FirstApp
)

// world is a partition with a real state machine and its log, which nodes believe to
// lead, one after the other.
type world struct {
	*nodetest.Machines
	t     testing.TB
	mu    sync.Mutex
	nodes []*fakeNode
	fate  func(command.Command) bool // reports whether the answer gets lost; nil: never
}

func newWorld(t testing.TB) *world {
	w := &world{t: t}
	w.Machines = nodetest.StartMachines(t, nodetest.MachinesConfig{
		Partitions: []entity.Partition{partition}, DedupEntries: 1000, MemtableBytes: 8 << 20, Tasked: func(entity.Partition) { w.woken() },
	})
	return w
}

func (w *world) woken() {
	for _, n := range w.nodes {
		n.runner.Wake(partition)
	}
}

func (w *world) view() *storage.View { return w.View(partition) }

// propose appends a command to the log and applies it.
func (w *world) propose(cmd command.Command) (command.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := w.fate != nil && w.fate(cmd)
	out := w.Apply(partition, cmd)
	if lost {
		return command.Outcome{}, fault.New(fault.Timeout, "the outcome is not known")
	}
	return out, nil
}

// do proposes what must succeed.
func (w *world) do(op command.Op) command.Outcome {
	w.t.Helper()
	out, err := w.propose(command.Command{App: app, Op: op})
	if err != nil || out.Fault != nil {
		w.t.Fatalf("%T: %v %v", op, err, out.Fault)
	}
	return out
}

// create adds an entity.
func (w *world) create(rules command.Rules, properties string, credentials ...command.Credential) entity.Entity {
	w.t.Helper()
	now := time.Now().UnixMilli()
	return w.do(command.CreateEntities{Rules: rules, Items: []command.NewEntity{{
		ID: entity.NewID(), Created: now, Modified: now, JSON: []byte(properties), Credentials: credentials,
	}}}).Entities[0]
}

var notifierRules = command.Rules{Collection: notifiers, Type: "notifier", Unique: []string{"name"}}

func (w *world) notifier(name, kind string) entity.Entity {
	w.t.Helper()
	return w.create(notifierRules, fmt.Sprintf(`{"name":%q,"provider":%q}`, name, kind), command.Credential{Kind: entity.CredentialNotifier, Value: []byte(`{"apiKey":"hush"}`)})
}

// devices adds devices that are registered with a notifier by tokens.
func (w *world) devices(notifier string, tokens ...string) (list []entity.Entity) {
	w.t.Helper()
	for len(tokens) > 0 {
		part := tokens[:min(len(tokens), 500)]
		tokens = tokens[len(part):]
		op := command.CreateEntities{Rules: devices}
		now := time.Now().UnixMilli()
		for _, token := range part {
			op.Items = append(op.Items, command.NewEntity{ID: entity.NewID(), Created: now, Modified: now, JSON: fmt.Appendf(nil, `{%q:%q}`, notifier+suffix, token)})
		}
		list = append(list, w.do(op).Entities...)
	}
	return list
}

func tokens(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("t%d", i))
	}
	return list
}

// notify makes a notification to all devices, as the API does. more are members.
func (w *world) notify(payloads, more string) entity.ID {
	w.t.Helper()
	return w.notifyTo(`{}`, payloads, more)
}

// notifyTo makes a notification to those devices that everyDevice finds.
func (w *world) notifyTo(pathQuery, payloads, more string) entity.ID {
	w.t.Helper()
	id, now := entity.NewID(), time.Now()
	raw := fmt.Appendf(nil, `{"payloads":%s,"pathQuery":%s%s}`, payloads, pathQuery, more)
	facts, err := entity.ReadNotificationFacts(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	raw = append(raw[:len(raw)-1], fmt.Sprintf(`,"state":%q}`, entity.NotificationState(facts, now.UnixMilli()))...)
	w.do(command.Together{
		First: command.CreateEntities{Rules: notifications, Items: []command.NewEntity{{ID: id, Created: now.UnixMilli(), Modified: now.UnixMilli(), JSON: raw}}},
		Then:  []command.Op{w.task(id, facts.Deliver)},
	})
	return id
}

func (w *world) task(id entity.ID, due int64) command.PutTask {
	return command.PutTask{Task: command.NewTask{ID: entity.PushTask(app, id), Kind: entity.TaskPush, Priority: entity.Normal, NotBefore: due, Body: id[:]}}
}

// change patches an entity, and wakes the task of a notification, as the API does.
func (w *world) change(rules command.Rules, id entity.ID, patch string) {
	w.t.Helper()
	w.do(command.UpdateEntity{Rules: rules, Target: command.Target{ID: id}, Patch: []byte(patch)})
	if rules.Collection == notifications.Collection {
		_, _ = w.propose(command.Command{App: app, Op: command.ScheduleTask{ID: entity.PushTask(app, id), NotBefore: time.Now().UnixMilli()}})
	}
}

func (w *world) entity(collection string, id entity.ID) (object, entity.Entity, bool) {
	w.t.Helper()
	v := w.view()
	defer v.Close()
	c, _, err := storage.ReadCollectionID(v, app, collection)
	if err != nil {
		w.t.Fatal(err)
	}
	e, ok, err := storage.ReadEntityByID(v, app, c, id)
	if err != nil {
		w.t.Fatal(err)
	}
	if !ok {
		return nil, e, false
	}
	o, err := parseObject(e.JSON)
	if err != nil {
		w.t.Fatal(err)
	}
	return o, e, true
}

// all returns the entities of a collection, the oldest first.
func (w *world) all(collection string) (list []entity.Entity) {
	w.t.Helper()
	v := w.view()
	defer v.Close()
	list, err := allOf(v, collection)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func allOf(v *storage.View, collection string) (list []entity.Entity, err error) {
	c, ok, err := storage.ReadCollectionID(v, app, collection)
	if err != nil || !ok {
		return nil, err
	}
	it, err := v.Scan(keys.EntityRange(v.Partition(), app, c))
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for ok := it.Last(); ok; ok = it.Prev() {
		e, err := entity.DecodeRecord(it.Value())
		if err != nil {
			return nil, err
		}
		e.JSON = slices.Clone(e.JSON)
		list = append(list, e)
	}
	return list, it.Err()
}

// says returns some members of a notification as they are written.
func (w *world) says(id entity.ID, names ...string) string {
	w.t.Helper()
	o, _, ok := w.entity(notifications.Collection, id)
	if !ok {
		return "gone"
	}
	var parts []string
	for _, name := range names {
		if v := o.get(name); v == nil {
			parts = append(parts, "-")
		} else {
			parts = append(parts, string(v))
		}
	}
	return strings.Join(parts, " ")
}

// ended waits until the notification has ended, and says how.
func (w *world) ended(id entity.ID) string {
	w.t.Helper()
	w.eventually("the notification has ended", func() bool { return w.says(id, "finished") != "-" && !w.hasTask(id) })
	return w.says(id, "state", "statistics", "deviceProcessedCount")
}

func (w *world) hasTask(id entity.ID) bool {
	v := w.view()
	defer v.Close()
	_, ok, err := storage.ReadTask(v, entity.PushTask(app, id))
	if err != nil {
		w.t.Error(err)
	}
	return ok
}

// eventually waits for a fact.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for range 100_000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("not so after a long time: %s", what)
}

// fakeNode is a node that may lead the partition.
type fakeNode struct {
	w      *world
	leads  atomic.Bool
	runner *tasks.Runner
	engine *Engine
	stop   func()
}

func (n *fakeNode) Led() []entity.Partition {
	if n.leads.Load() {
		return []entity.Partition{partition}
	}
	return nil
}
func (n *fakeNode) Leads(p entity.Partition) bool { return p == partition && n.leads.Load() }
func (n *fakeNode) View(p entity.Partition) (*storage.View, error) {
	return n.w.View(p), nil
}
func (n *fakeNode) ProposeIn(ctx context.Context, _ entity.Partition, cmd command.Command) (command.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return command.Outcome{}, fault.New(fault.Timeout, "too late")
	}
	return n.w.propose(cmd)
}
func (n *fakeNode) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	cmd.App = app
	return n.ProposeIn(ctx, partition, cmd)
}

// start starts a node with providers, which leads.
func (w *world) start(services provider.Set, change func(*Config)) *fakeNode {
	w.t.Helper()
	n := &fakeNode{w: w}
	n.leads.Store(true)
	services = mapsWith(services, provider.Noop, noop.Provider{})
	cfg := DefaultConfig()
	cfg.Providers = services
	if change != nil {
		change(&cfg)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	var err error
	if n.engine, err = Start(cfg, n, everyDevice{}, plain{}, log); err != nil {
		w.t.Fatal(err)
	}
	tc := tasks.DefaultConfig()
	tc.Log = log
	tc.Kinds = []tasks.Kind{{Name: entity.TaskPush, Run: func(ctx context.Context, job *tasks.Job) (tasks.Step, error) {
		s, err := n.engine.Step(ctx, Task{App: job.Task.App, Partition: job.Partition, Body: job.Task.Body, Attempts: int(job.Task.Attempts), Now: job.Now})
		return tasks.Step{Effect: s.Effect, Finish: s.Finish, NotBefore: s.NotBefore, Body: s.Body}, err
	}}}
	if n.runner, err = tasks.New(tc, n); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); n.runner.Run(ctx) }()
	n.stop = sync.OnceFunc(func() { n.engine.Close(); cancel(); <-done })
	return n
}

func mapsWith(set provider.Set, name string, p provider.Provider) provider.Set {
	with := provider.Set{name: p}
	for k, v := range set {
		with[k] = v
	}
	return with
}

// plain secrets are not sealed.
type plain struct{}

func (plain) Open(_ entity.ID, _ byte, sealed []byte) ([]byte, error) { return sealed, nil }

// everyDevice finds all devices by scanning, or those that have a property: {"having":name}.
type everyDevice struct{}

func (everyDevice) Devices(_ context.Context, v *storage.View, _ entity.AppID, pathQuery, _ []byte, _ bool, position []byte, limit int) ([]entity.Entity, []byte, error) {
	target, err := parseObject(pathQuery)
	if err != nil {
		return nil, nil, err
	}
	if target.get("broken") != nil {
		return nil, nil, fault.New(fault.QueryParse, "no such grammar")
	}
	if target.get("corrupt") != nil {
		return nil, nil, fault.New(fault.Corrupt, "key 0123 of partition 3")
	}
	if target.get("odd") != nil {
		return nil, nil, errors.New("nobody knows")
	}
	list, err := allOf(v, devices.Collection)
	if err != nil {
		return nil, nil, err
	}
	var after entity.Seq
	if position != nil {
		if _, err := fmt.Sscan(string(position), &after); err != nil {
			return nil, nil, err
		}
	}
	having := target.text("having")
	list = slices.DeleteFunc(list, func(e entity.Entity) bool {
		o, err := parseObject(e.JSON)
		return e.Seq <= after || err != nil || having != "" && o.get(having) == nil
	})
	if len(list) <= limit {
		return list, nil, nil
	}
	return list[:limit], fmt.Appendf(nil, "%d", list[limit-1].Seq), nil
}

func (everyDevice) Holders(_ context.Context, v *storage.View, _ entity.AppID, property, token string, limit int) (found []entity.Entity, err error) {
	list, err := allOf(v, devices.Collection)
	for _, e := range list {
		if o, err := parseObject(e.JSON); err == nil && o.text(property) == token && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, err
}

// service is a provider whose answers a test gives. It counts what it is sent.
type service struct {
	noop.Provider
	answer func(context.Context, provider.Message) provider.Result

	mu       sync.Mutex
	messages []provider.Message
	opened   int
	closed   int
	now, max int // sends at a time
}

type serviceSender struct {
	provider.Sender
	*service
}

func (s *service) Open(n provider.Notifier) (provider.Sender, error) {
	inner, err := s.Provider.Open(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return serviceSender{inner, s}, err
}

func (s serviceSender) Close() {
	s.mu.Lock()
	s.closed++
	s.mu.Unlock()
	s.Sender.Close()
}

func (s serviceSender) Send(ctx context.Context, m provider.Message) provider.Result {
	s.mu.Lock()
	s.messages = append(s.messages, m)
	s.now++
	s.max = max(s.max, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	return s.answer(ctx, m)
}

// sends is how often each token was sent to.
func (s *service) sends() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, m := range s.messages {
		n[m.Token]++
	}
	return n
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// inWorld runs a test in a world with a clock of its own.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		for _, n := range w.nodes {
			n.stop()
		}
		w.Close()
	})
}

// receipts returns the receipts, by token.
func (w *world) receipts() map[string][]object {
	w.t.Helper()
	by := map[string][]object{}
	for _, e := range w.all(receipts.Collection) {
		o, err := parseObject(e.JSON)
		if err != nil || !json.Valid(e.JSON) {
			w.t.Fatal(err)
		}
		by[o.text("notifierId")] = append(by[o.text("notifierId")], o)
	}
	return by
}
