package raftfsm

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// model is what the machine is compared with: maps that are searched from one
// end to the other, and no bytes on any disk.
type model struct {
	window      uint64 // entries
	collections map[modelKey]*modelCollection
	seen        map[command.RequestID]*modelSeen
	tasks       map[entity.ID]*modelTask
	gone        map[entity.AppID]bool
}

type modelTask struct {
	app            entity.AppID
	turn, attempts uint64
	dead           bool
}

type modelKey struct {
	app  entity.AppID
	name string
}

type modelCollection struct {
	next     entity.Seq
	entities map[entity.ID]*modelEntity
}

type modelEntity struct {
	header entity.Entity
	props  map[string]string // lower-case name to JSON text
}

type modelSeen struct {
	epoch   uint64
	app     entity.AppID
	kind    command.Kind
	outcome modelOutcome
	ids     []modelRef
}

type modelRef struct {
	at modelKey
	id entity.ID
}

// modelOutcome is an outcome in a form that compares.
type modelOutcome struct {
	Code     fault.Code
	Created  bool
	Entities []string
	Errors   []string
}

func newModel(window uint64) *model {
	return &model{window: window, collections: map[modelKey]*modelCollection{}, seen: map[command.RequestID]*modelSeen{},
		tasks: map[entity.ID]*modelTask{}, gone: map[entity.AppID]bool{}}
}

func describe(h entity.Entity, props map[string]string) string {
	text := fmt.Sprintf("%x created %d modified %d seq %d rev %d", h.ID, h.Created, h.Modified, h.Seq, h.Rev)
	for _, name := range []string{"name", "username", "email", "n", "other"} {
		if v, ok := props[name]; ok {
			text += " " + name + "=" + v
		}
	}
	return text
}

// outcomeOf puts an outcome of the machine into the model's form.
func outcomeOf(o command.Outcome) (modelOutcome, error) {
	m := modelOutcome{Created: o.Created}
	if o.Fault != nil {
		m.Code = o.Fault.Code
	}
	for _, e := range o.Entities {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(e.JSON, &raw); err != nil {
			return m, fmt.Errorf("entity %s: %q: %w", e.ID, e.JSON, err)
		}
		props := map[string]string{}
		for k, v := range raw {
			props[strings.ToLower(k)] = string(v)
		}
		if len(props) != len(raw) {
			return m, fmt.Errorf("entity %s has a property twice: %s", e.ID, e.JSON)
		}
		m.Entities = append(m.Entities, describe(e, props))
	}
	for _, e := range o.Errors {
		m.Errors = append(m.Errors, fmt.Sprintf("%d %s", e.Index, e.Code))
	}
	return m, nil
}

func (m *model) apply(index uint64, cmd *command.Command) modelOutcome {
	epochLen := (m.window + windowEpochs - 1) / windowEpochs
	keep := (m.window + epochLen - 1) / epochLen
	epoch := index / epochLen
	if cmd.Request != (command.RequestID{}) {
		if s := m.seen[cmd.Request]; s != nil && s.epoch+keep >= epoch {
			return m.retry(s, cmd)
		}
	}
	out, refs := m.run(cmd)
	if cmd.Request != (command.RequestID{}) {
		m.seen[cmd.Request] = &modelSeen{epoch: epoch, app: cmd.App, kind: cmd.Kind(), outcome: out, ids: refs}
	}
	return out
}

// retry answers with the recorded outcome; where entities have changed since, with
// what the command makes of them.
func (m *model) retry(s *modelSeen, cmd *command.Command) modelOutcome {
	if s.app != cmd.App || s.kind != cmd.Kind() {
		return modelOutcome{Code: fault.Conflict}
	}
	out := s.outcome
	if s.kind == command.KindDeleteEntity {
		return out
	}
	out.Entities = append([]string(nil), out.Entities...)
	for i, ref := range s.ids {
		was := out.Entities[i]
		var e *modelEntity
		if c := m.collections[ref.at]; c != nil { // else the application was purged
			e = c.entities[ref.id]
		}
		field := func(text string, i int) string { return strings.Fields(text)[i] }
		header := strings.Join(strings.Fields(was)[:9], " ")
		none := describe(entity.Entity{}, nil)
		show := func(props map[string]string) string {
			return header + strings.TrimPrefix(describe(entity.Entity{}, props), none)
		}
		const seq, rev = 6, 8
		switch {
		case e == nil || field(describe(e.header, nil), seq) != field(was, seq):
			out.Entities[i] = show(brought(cmd, ref.id, out.Created, nil))
		case field(describe(e.header, nil), rev) == field(was, rev):
			out.Entities[i] = describe(e.header, e.props)
		default:
			out.Entities[i] = show(brought(cmd, ref.id, out.Created, e.props))
		}
	}
	return out
}

// brought are the properties that a command makes of an entity.
func brought(cmd *command.Command, id entity.ID, created bool, now map[string]string) map[string]string {
	switch op := cmd.Op.(type) {
	case command.CreateEntities:
		for _, item := range op.Items {
			if item.ID == id {
				return propsOf(item.JSON)
			}
		}
	case command.UpdateEntity:
		if created {
			return propsOf(op.Create.JSON)
		}
		return patched(now, &op)
	}
	return now
}

// patched is what an update makes of properties.
func patched(props map[string]string, op *command.UpdateEntity) map[string]string {
	props = maps.Clone(props)
	if props == nil {
		props = map[string]string{}
	}
	for name, v := range propsOf(op.Patch) {
		if v != "null" && v != `""` {
			props[name] = v
		} else if len(op.Rules.Required) == 0 || op.Rules.Required[0] != name {
			delete(props, name)
		}
	}
	return props
}

func (m *model) collection(at modelKey) *modelCollection {
	c := m.collections[at]
	if c == nil {
		c = &modelCollection{next: 1, entities: map[entity.ID]*modelEntity{}}
		m.collections[at] = c
	}
	return c
}

// clash is why an entity cannot have these properties.
func (c *modelCollection) clash(id entity.ID, props map[string]string, unique []string) fault.Code {
	for _, name := range unique {
		v, ok := props[name]
		if ok && v[0] != '"' {
			return fault.PropertyTypeConversion
		}
	}
	for _, name := range unique {
		v, ok := props[name]
		for other, e := range c.entities {
			if w, has := e.props[name]; ok && has && other != id && same(v, w) {
				return fault.Duplicate
			}
		}
	}
	return ""
}

func same(a, b string) bool {
	trim := func(s string) string { return strings.ToLower(strings.TrimSpace(strings.Trim(s, `"`))) }
	return trim(a) == trim(b)
}

func (c *modelCollection) insert(item *command.NewEntity, unique []string) (*modelEntity, fault.Code) {
	props := propsOf(item.JSON)
	code := c.clash(item.ID, props, unique)
	if code != fault.PropertyTypeConversion && c.entities[item.ID] != nil {
		code = fault.Conflict // the id is looked at first
	}
	if code != "" {
		return nil, code
	}
	e := &modelEntity{props: props, header: entity.Entity{ID: item.ID, Created: item.Created, Modified: max(item.Created, item.Modified), Seq: c.next, Rev: c.next}}
	c.next++
	c.entities[item.ID] = e
	return e, ""
}

func propsOf(text []byte) map[string]string {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		panic(err)
	}
	props := map[string]string{}
	for k, v := range raw {
		props[strings.ToLower(k)] = string(v)
	}
	return props
}

func (m *model) find(at modelKey, t command.Target) *modelEntity {
	c := m.collections[at]
	if c == nil {
		return nil
	}
	if !t.ID.IsZero() {
		return c.entities[t.ID]
	}
	for _, a := range t.Aliases {
		for _, e := range c.entities {
			if v, ok := e.props[a.Property]; ok && v[0] == '"' && same(v, a.Value) {
				return e
			}
		}
	}
	return nil
}

func (m *model) elsewhere(at modelKey, id entity.ID) bool {
	for other, c := range m.collections {
		if other.app == at.app && other.name != at.name && !id.IsZero() && c.entities[id] != nil {
			return true
		}
	}
	return false
}

func (m *model) run(cmd *command.Command) (out modelOutcome, refs []modelRef) {
	if m.gone[cmd.App] {
		switch cmd.Op.(type) {
		case command.CreateEntities, command.UpdateEntity, command.DeleteEntity, command.SetCredential, command.PutToken,
			command.PutSettings, command.ClearSettings, command.Reindex, command.ReindexStep, command.ClearStep:
			return modelOutcome{Code: fault.NotFound}, nil
		}
	}
	switch op := cmd.Op.(type) {
	case command.PurgeApplication:
		m.gone[cmd.App] = true
		maps.DeleteFunc(m.collections, func(at modelKey, _ *modelCollection) bool { return at.app == cmd.App })
	case command.PutTask:
		if m.tasks[op.Task.ID] == nil {
			if m.gone[cmd.App] {
				return modelOutcome{Code: fault.NotFound}, nil
			}
			m.tasks[op.Task.ID] = &modelTask{app: cmd.App}
		}
	case command.StepTask:
		return m.step(cmd, &op)
	case command.FailTask:
		task := m.tasks[op.ID]
		if code := task.refuses(op.Turn); code != "" {
			return modelOutcome{Code: code}, nil
		}
		task.turn++
		task.attempts++
		task.dead = op.Dead
	case command.CancelTask:
		if m.tasks[op.ID] == nil {
			return modelOutcome{Code: fault.EntityNotFound}, nil
		}
		delete(m.tasks, op.ID)
	case command.RetryTask:
		task := m.tasks[op.ID]
		switch {
		case task == nil:
			return modelOutcome{Code: fault.EntityNotFound}, nil
		case task.attempts == 0:
			return modelOutcome{Code: fault.Conflict}, nil
		}
		*task = modelTask{app: task.app, turn: task.turn + 1}
	case command.CreateEntities:
		return m.create(modelKey{cmd.App, op.Rules.Collection}, &op)
	case command.UpdateEntity:
		return m.update(modelKey{cmd.App, op.Rules.Collection}, cmd, &op)
	case command.DeleteEntity:
		at := modelKey{cmd.App, op.Collection}
		e := m.find(at, op.Target)
		if e == nil {
			if m.elsewhere(at, op.Target.ID) {
				return modelOutcome{Code: fault.UnexpectedEntityType}, nil
			}
			return modelOutcome{Code: fault.ServiceResourceNotFound}, nil
		}
		delete(m.collections[at].entities, e.header.ID)
		return modelOutcome{Entities: []string{describe(e.header, e.props)}}, nil
	case command.PutSettings:
		m.collection(modelKey{cmd.App, op.Collection})
	case command.ClearStep:
		if c := m.collections[modelKey{cmd.App, op.Collection}]; c != nil {
			maps.DeleteFunc(c.entities, func(_ entity.ID, e *modelEntity) bool {
				return slices.Contains(op.Seqs, e.header.Seq) && (op.Before == 0 || e.header.Modified < op.Before)
			})
		}
	case command.SetCredential:
		if m.find(modelKey{cmd.App, op.Collection}, command.Target{ID: op.Owner}) == nil {
			return modelOutcome{Code: fault.ServiceResourceNotFound}, nil
		}
	}
	return modelOutcome{}, nil
}

func (t *modelTask) refuses(turn uint64) fault.Code {
	switch {
	case t == nil:
		return fault.EntityNotFound
	case t.turn != turn || t.dead:
		return fault.Conflict
	}
	return ""
}

func (m *model) step(cmd *command.Command, op *command.StepTask) (out modelOutcome, refs []modelRef) {
	task := m.tasks[op.ID]
	if code := task.refuses(op.Turn); code != "" {
		return modelOutcome{Code: code}, nil
	}
	if task.app != cmd.App {
		return modelOutcome{Code: fault.IllegalArgument}, nil
	}
	if op.Effect != nil {
		if out, refs = m.run(&command.Command{Time: cmd.Time, App: cmd.App, Op: op.Effect}); out.Code != "" {
			return out, nil
		}
	}
	task.turn++
	task.attempts = 0
	if op.Finish {
		delete(m.tasks, op.ID)
	}
	return out, refs
}

func (m *model) create(at modelKey, op *command.CreateEntities) (out modelOutcome, refs []modelRef) {
	known := m.collections[at] != nil
	c := m.collection(at)
	saved := modelCollection{next: c.next, entities: maps.Clone(c.entities)}
	for i := range op.Items {
		e, code := c.insert(&op.Items[i], op.Rules.Unique)
		if code == "" {
			out.Entities = append(out.Entities, describe(e.header, e.props))
			refs = append(refs, modelRef{at, e.header.ID})
			continue
		}
		if op.Partial {
			out.Errors = append(out.Errors, fmt.Sprintf("%d %s", i, code))
			continue
		}
		*c = saved
		if !known {
			delete(m.collections, at)
		}
		return modelOutcome{Code: code}, nil
	}
	return out, refs
}

func (m *model) update(at modelKey, cmd *command.Command, op *command.UpdateEntity) (out modelOutcome, refs []modelRef) {
	e := m.find(at, op.Target)
	if e == nil {
		if m.elsewhere(at, op.Target.ID) {
			return modelOutcome{Code: fault.UnexpectedEntityType}, nil
		}
		if op.Create == nil {
			return modelOutcome{Code: fault.ServiceResourceNotFound}, nil
		}
		created, code := m.collection(at).insert(op.Create, op.Rules.Unique)
		if code != "" {
			return modelOutcome{Code: code}, nil
		}
		return modelOutcome{Created: true, Entities: []string{describe(created.header, created.props)}}, []modelRef{{at, op.Create.ID}}
	}
	c := m.collections[at]
	props := patched(e.props, op)
	if code := c.clash(e.header.ID, props, op.Rules.Unique); code != "" {
		return modelOutcome{Code: code}, nil
	}
	e.props = props
	e.header.Modified = max(cmd.Time, e.header.Modified+1)
	e.header.Rev = c.next
	c.next++
	return modelOutcome{Entities: []string{describe(e.header, e.props)}}, []modelRef{{at, e.header.ID}}
}

var modelRules = []command.Rules{
	{Collection: "items", Type: "item", Unique: []string{"name"}},
	{Collection: "users", Type: "user", Unique: []string{"username", "email"}, Required: []string{"username"}},
	{Collection: "plain", Type: "plain"},
}

// randomLog makes a log of n entries: few ids and values, so that commands meet.
func randomLog(rng *rand.Rand, n int, window uint64) []*raft.Log {
	var log []*raft.Log
	var requests []command.Command
	index := uint64(0)
	for len(log) < n {
		index += 1 + uint64(rng.IntN(8)/7) // no-ops never reach a state machine
		if rng.IntN(20) == 0 {
			log = append(log, &raft.Log{Index: index, Type: raft.LogConfiguration, Data: []byte("configuration")})
			continue
		}
		cmds := make([]command.Command, 1+rng.IntN(4))
		for i := range cmds {
			if back := 3 * int(window); len(requests) > 0 && rng.IntN(6) == 0 {
				cmds[i] = requests[max(0, len(requests)-1-rng.IntN(back))]
				continue
			}
			cmds[i] = randomCommand(rng, int64(1000+10*len(requests)))
			if rng.IntN(10) > 0 {
				cmds[i].Request = requestOf(len(requests) + 1)
			}
			if rng.IntN(100) == 0 && len(requests) > 0 {
				cmds[i].Request = requests[len(requests)-1].Request // an id used for two commands
			}
			requests = append(requests, cmds[i])
		}
		log = append(log, entryOf(index, cmds...))
	}
	return log
}

func randomSettings(rng *rand.Rand, collection string, task entity.ID) command.PutSettings {
	op := command.PutSettings{Collection: collection, Task: task, Replace: rng.IntN(3) == 0, By: "ann"}
	switch rng.IntN(6) {
	case 0:
	case 1:
		op.Fields = &command.Fields{None: true}
	case 2:
		op.Fields = &command.Fields{All: true}
	default:
		op.Fields = &command.Fields{List: []string{"n", "Other.deep"}[rng.IntN(2):], Declared: []string{"email", "username"}[rng.IntN(2):]}
	}
	if rng.IntN(2) == 0 {
		all := [][]entity.CompositeKey{
			{{Property: "N"}, {Property: "other", Desc: true}}, {{Property: "name", Desc: true}, {Property: "created"}},
			{{Property: "email"}, {Property: "uuid"}, {Property: "n"}, {Property: "modified", Desc: true}},
		}
		first := rng.IntN(3)
		list := all[first : first+rng.IntN(4-first)]
		op.Composites = &list
	}
	return op
}

func randomCommand(rng *rand.Rand, now int64) command.Command {
	rules := modelRules[rng.IntN(len(modelRules))]
	id := func() entity.ID { return idOf(1 + rng.IntN(30)) }
	values := []string{"a", "A", "b", " c ", "C", "é", "É", "d", "e", "f"}
	object := func(removing bool) []byte {
		b := []byte{'{'}
		for _, name := range []string{"name", "username", "email", "n", "other"} {
			if rng.IntN(2) == 0 {
				continue
			}
			if len(b) > 1 {
				b = append(b, ',')
			}
			if rng.IntN(4) == 0 {
				name = strings.ToUpper(name)
			}
			v := fmt.Sprintf("%q", values[rng.IntN(len(values))])
			switch k := rng.IntN(40); {
			case removing && k < 6:
				v = "null"
			case removing && k < 8:
				v = `""`
			case k == 8:
				v = "[1,{\"x\":\"}\"}]"
			case k == 9:
				v = "-12.5e3"
			case k == 10:
				v = `{"lat":1.5,"Longitude":"2"}`
			case k == 11:
				v = `["a","b c",1,1.0,true,{"deep":[null,"","x"]}]`
			case k == 12:
				v = fmt.Sprintf(`{"p%d":%d}`, rng.IntN(50), rng.IntN(3))
			}
			b = fmt.Appendf(b, "%q:%s", name, v)
		}
		return append(b, '}')
	}
	item := func() command.NewEntity {
		e := command.NewEntity{ID: id(), Created: now - int64(rng.IntN(3)), Modified: now - int64(rng.IntN(3)), JSON: object(false)}
		if rng.IntN(5) == 0 {
			e.Credentials = []command.Credential{{Kind: entity.CredentialPassword, Value: []byte("hash")}}
		}
		return e
	}
	target := func() command.Target {
		if rng.IntN(2) == 0 || len(rules.Unique) == 0 {
			return command.Target{ID: id()}
		}
		return command.Target{Aliases: []command.Alias{{Property: rules.Unique[rng.IntN(len(rules.Unique))], Value: values[rng.IntN(len(values))]}}}
	}
	cmd := command.Command{Time: now, App: entity.AppID(16 + rng.IntN(2))}
	task, turn := idOf(1+rng.IntN(4)), uint64(rng.IntN(4))
	seqs := func() (list []entity.Seq) {
		for range rng.IntN(20) {
			list = append(list, entity.Seq(1+rng.IntN(30)))
		}
		return list
	}
	switch k := rng.IntN(32); {
	case k == 31:
		cmd.Op = command.ClearStep{Collection: rules.Collection, Seqs: seqs(), Before: int64(rng.IntN(2)) * (now - 30)}
	case k >= 29:
		cmd.Op = command.ReindexStep{Collection: rules.Collection, Seqs: seqs()}
	case k == 28:
		cmd.Op = command.Reindex{Collection: rules.Collection, Task: idOf(int(now)), Updated: 5}
	case k == 27 && rng.IntN(3) == 0:
		cmd.Op = command.ClearSettings{Collection: rules.Collection, Task: idOf(int(now))}
	case k >= 26:
		cmd.Op = randomSettings(rng, rules.Collection, idOf(int(now)))
	case k == 25 && rng.IntN(20) == 0:
		cmd.Op = command.PurgeApplication{}
	case k == 25:
		cmd.Op = command.ExpireTokens{Before: now, Tokens: []command.TokenRef{{App: cmd.App, Hash: [32]byte{byte(rng.IntN(5))}}}}
	case k == 24:
		cmd.Op = command.PutTask{Task: command.NewTask{ID: task, Kind: "mail", Priority: entity.Normal, NotBefore: now, Body: []byte("b")}}
	case k >= 22:
		op := command.StepTask{ID: task, Turn: turn, NotBefore: now, Done: 1, Body: []byte("next"), Finish: rng.IntN(5) == 0}
		if rng.IntN(2) == 0 {
			op.Effect = command.CreateEntities{Rules: rules, Items: []command.NewEntity{item()}}
		}
		cmd.Op = op
	case k == 21:
		cmd.Op = command.FailTask{ID: task, Turn: turn, Error: "rain", NotBefore: now, Dead: rng.IntN(2) == 0}
	case k == 20 && rng.IntN(3) == 0:
		cmd.Op = command.CancelTask{ID: task}
	case k == 20:
		cmd.Op = command.RetryTask{ID: task}
	case k < 6:
		items := make([]command.NewEntity, 1+rng.IntN(3))
		for i := range items {
			items[i] = item()
		}
		cmd.Op = command.CreateEntities{Rules: rules, Items: items, Partial: rng.IntN(2) == 0}
	case k < 13:
		op := command.UpdateEntity{Rules: rules, Target: target(), Patch: object(true)}
		if rng.IntN(2) == 0 {
			e := item()
			if !op.Target.ID.IsZero() {
				e.ID = op.Target.ID
			}
			op.Create = &e
		}
		cmd.Op = op
	case k < 16:
		cmd.Op = command.DeleteEntity{Collection: rules.Collection, Target: target()}
	case k == 16:
		cmd.Op = command.SetCredential{Collection: rules.Collection, Owner: id(), Credential: command.Credential{Kind: entity.CredentialPassword, Value: []byte("next")}, RevokeTokens: true}
	case k == 17:
		cmd.Op = command.PutToken{Hash: [32]byte{byte(rng.IntN(5))}, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: id(), Created: now, Expires: now * int64(rng.IntN(2))}}
	case k == 18:
		cmd.Op = command.RevokeToken{Hash: [32]byte{byte(rng.IntN(5))}}
	default:
		cmd.Op = command.TermStart{Term: uint64(now), Node: "n1"}
	}
	return cmd
}
