package raftfsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestOperations runs the files in testdata/ops. Each directive is a command;
// its answer is the outcome, and every key the command wrote (+), changed (~)
// or removed (-). Ids are written #n.
func TestOperations(t *testing.T) {
	datadriven.Walk(t, "testdata/ops", func(t *testing.T, path string) {
		p := entity.Partition(3)
		if strings.Contains(path, "registry") || strings.Contains(path, "members") {
			p = entity.System
		}
		f := newFixture(t, p, 64)
		f.inFull = strings.HasSuffix(path, "indexes")
		f.counting = strings.HasSuffix(path, "counters")
		now := int64(1000)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			now += 10
			cmd := command.Command{Time: now, App: 16, Op: parseOp(t, d)}
			if p == entity.System {
				cmd.App = entity.Management
			}
			var app, request int
			if d.MaybeScanArgs(t, "app", &app) {
				cmd.App = entity.AppID(app)
			}
			if d.MaybeScanArgs(t, "request", &request) {
				cmd.Request = requestOf(request)
			}
			if d.MaybeScanArgs(t, "time", &now) {
				cmd.Time = now
			}
			before := f.dump()
			version := f.machine.Version(cmd.App)
			out := f.apply(cmd)[0]
			var b strings.Builder
			writeOutcome(&b, out)
			if f.machine.Version(cmd.App) != version {
				b.WriteString("version grew\n")
			}
			writeDifference(&b, before, f.dump())
			return b.String()
		})
	})
}

func parseOp(t *testing.T, d *datadriven.TestData) command.Op {
	var rules command.Rules
	d.MaybeScanArgs(t, "collection", &rules.Collection)
	rules.Type = strings.TrimSuffix(rules.Collection, "s")
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "unique":
			rules.Unique = arg.Vals
		case "required":
			rules.Required = arg.Vals
		}
	}
	lines := strings.Split(d.Input, "\n")
	str := func(name string) (s string) { d.MaybeScanArgs(t, name, &s); return s }
	id := func(name string) entity.ID {
		var n int
		d.MaybeScanArgs(t, name, &n)
		return idOf(n)
	}
	num := func(name string) (n int) { d.MaybeScanArgs(t, name, &n); return n }
	target := command.Target{ID: id("id")}
	if alias := str("alias"); alias != "" {
		property, value, _ := strings.Cut(alias, ":")
		target.Aliases = []command.Alias{{Property: property, Value: value}}
	}
	secret := func(name string) []byte {
		if d.HasArg(name) {
			return []byte(str(name))
		}
		return nil
	}
	application := command.NewApplication{ID: id("app-id"), Name: str("app-name"), Partition: 5, Secret: "s", Open: d.HasArg("open")}
	switch d.Cmd {
	case "create":
		op := command.CreateEntities{Rules: rules, Partial: d.HasArg("partial")}
		for _, line := range lines {
			if line != "" {
				op.Items = append(op.Items, parseItem(t, line))
			}
		}
		return op
	case "update":
		op := command.UpdateEntity{Rules: rules, Target: target, Patch: []byte(lines[0])}
		if len(lines) > 1 {
			item := parseItem(t, lines[1])
			op.Create = &item
		}
		return op
	case "delete":
		return command.DeleteEntity{Collection: rules.Collection, Target: target}
	case "collections":
		return command.CreateCollections{Names: strings.Fields(d.Input)}
	case "credential":
		return command.SetCredential{Collection: rules.Collection, Owner: id("owner"), RevokeTokens: d.HasArg("revoke"),
			Credential: command.Credential{Kind: entity.CredentialPassword, Value: secret("value")}, Expect: secret("expect")}
	case "put-token":
		return command.PutToken{Hash: [32]byte{31: 1}, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: id("owner"), Created: 1, Expires: int64(num("expires"))}}
	case "revoke-token":
		return command.RevokeToken{Hash: [32]byte{31: 1}}
	case "init-cluster":
		return command.InitCluster{Cluster: entity.Cluster{ID: id("id"), Partitions: 8}}
	case "create-organization":
		op := command.CreateOrganization{Organization: parseItem(t, lines[0]), Name: str("name"), OwnerID: id("owner")}
		if len(lines) > 1 {
			item := parseItem(t, lines[1])
			op.Owner = &item
		}
		if d.HasArg("app-id") {
			op.Application = &application
		}
		return op
	case "create-application":
		return command.CreateApplication{Organization: id("organization"), Application: application}
	case "delete-application":
		return command.DeleteApplication{Organization: id("organization"), Application: id("app-id"), PurgeAt: int64(num("purge-at"))}
	case "forget-application":
		return command.ForgetApplication{Application: id("app-id")}
	case "purge":
		return command.PurgeApplication{}
	case "expire-tokens":
		return command.ExpireTokens{Before: int64(num("before")), Tokens: []command.TokenRef{{App: 16, Hash: [32]byte{31: 1}}, {App: 16, Hash: [32]byte{31: 9}}}}
	case "put-task":
		return command.PutTask{Task: command.NewTask{
			ID: id("id"), Kind: str("kind"), Priority: entity.Normal, NotBefore: int64(num("due")), Total: uint64(num("total")), Body: secret("body"),
		}}
	case "step-task":
		op := command.StepTask{ID: id("id"), Turn: uint64(num("turn")), NotBefore: int64(num("due")), Done: uint64(num("done")), Body: secret("body"), Finish: d.HasArg("finish")}
		if lines[0] != "" {
			op.Effect = command.CreateEntities{Rules: rules, Items: []command.NewEntity{parseItem(t, lines[0])}}
		}
		return op
	case "fail-task":
		return command.FailTask{ID: id("id"), Turn: uint64(num("turn")), Error: d.Input, NotBefore: int64(num("due")), Dead: d.HasArg("dead")}
	case "cancel-task":
		return command.CancelTask{ID: id("id")}
	case "retry-task":
		return command.RetryTask{ID: id("id")}
	case "put-member":
		return command.PutMember{Replaces: entity.NodeID(str("replaces")), Member: entity.Member{
			ID: entity.NodeID(str("node")), State: entity.Active, ClusterAddr: str("addr"), Joined: 5,
		}}
	case "member-state":
		states := map[string]entity.MemberState{"active": entity.Active, "draining": entity.Draining, "removed": entity.Removed}
		return command.SetMemberState{ID: entity.NodeID(str("node")), State: states[str("state")]}
	case "place":
		return command.SetPlacements{Placements: parsePlacements(t, lines)}
	case "protocol":
		var version uint32
		d.ScanArgs(t, "version", &version)
		return command.SetProtocol{Version: version}
	case "put-settings":
		op := command.PutSettings{Collection: rules.Collection, Task: id("task"), Replace: d.HasArg("replace"), By: str("by")}
		for _, arg := range d.CmdArgs {
			switch arg.Key {
			case "fields":
				op.Fields = &command.Fields{List: arg.Vals}
			case "all", "none":
				op.Fields = &command.Fields{All: arg.Key == "all", None: arg.Key == "none"}
			case "composites":
				list := [][]entity.CompositeKey{}
				for _, val := range arg.Vals {
					var declared []entity.CompositeKey
					for _, key := range strings.Split(val, "/") {
						name, desc := strings.CutSuffix(key, "-")
						declared = append(declared, entity.CompositeKey{Property: name, Desc: desc})
					}
					list = append(list, declared)
				}
				op.Composites = &list
			}
		}
		return op
	case "clear-settings":
		return command.ClearSettings{Collection: rules.Collection, Task: id("task")}
	case "reindex":
		return command.Reindex{Collection: rules.Collection, Task: id("task"), Updated: int64(num("updated"))}
	case "reindex-step", "clear-step":
		var seqs []entity.Seq
		for _, field := range strings.Fields(d.Input) {
			n, err := strconv.ParseUint(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, entity.Seq(n))
		}
		if d.Cmd == "clear-step" {
			return command.ClearStep{Collection: rules.Collection, Seqs: seqs, Before: int64(num("before"))}
		}
		return command.ReindexStep{Collection: rules.Collection, Seqs: seqs}
	case "count":
		return command.Count{Tallies: parseTallies(t, lines)}
	case "create-events":
		op := command.CreateEvents{Create: command.CreateEntities{Rules: rules, Partial: d.HasArg("partial")}}
		for _, line := range lines {
			item, tally, _ := strings.Cut(line, " | ")
			op.Create.Items = append(op.Create.Items, parseItem(t, item))
			op.Tallies = append(op.Tallies, parseTallies(t, []string{tally})...)
		}
		return op
	case "count-event":
		op := command.CountEvent{Rules: rules, ID: id("id"), Tally: parseTallies(t, lines[:1])[0]}
		if len(lines) > 1 {
			item := parseItem(t, lines[1])
			op.Create = &item
		}
		return op
	case "term-start":
		return command.TermStart{Term: 3, Node: "n1"}
	}
	if op := parseEdgeOp(t, d, rules, lines); op != nil {
		return op
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return nil
}

// parsePlacements reads lines of "partition version next formed node#number…";
// a replica that ends in ? does not vote.
func parsePlacements(t *testing.T, lines []string) (list []entity.Placement) {
	for _, line := range lines {
		var p entity.Placement
		if _, err := fmt.Sscan(line, &p.Partition, &p.Version, &p.Next, &p.Formed); err != nil {
			t.Fatalf("placement %q: %v", line, err)
		}
		for _, field := range strings.Fields(line)[4:] {
			r, ok := entity.ParseServerID(strings.TrimSuffix(field, "?"))
			if !ok {
				r.Node = entity.NodeID(field)
			}
			r.Voter = !strings.HasSuffix(field, "?")
			p.Replicas = append(p.Replicas, r)
		}
		list = append(list, p)
	}
	return list
}

// parseItem reads "1 {…} password".
func parseItem(t *testing.T, line string) command.NewEntity {
	number, rest, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("item %q: %v", line, err)
	}
	end := strings.LastIndexByte(rest, '}') + 1
	item := command.NewEntity{ID: idOf(n), Created: int64(n), Modified: int64(n), JSON: []byte(rest[:end])}
	if secret := strings.TrimSpace(rest[end:]); secret != "" {
		item.Credentials = []command.Credential{{Kind: entity.CredentialPassword, Value: []byte(secret)}}
	}
	return item
}

func writeOutcome(b *strings.Builder, o command.Outcome) {
	if o.Fault != nil {
		fmt.Fprintf(b, "%s: %s\n", o.Fault.Code, short(o.Fault.Message))
	}
	if o.Created {
		b.WriteString("created\n")
	}
	for _, e := range o.Entities {
		fmt.Fprintf(b, "#%d created=%d modified=%d seq=%d rev=%d%s %s\n", number(e.ID), e.Created, e.Modified, e.Seq, e.Rev, marksOf(&e), e.JSON)
	}
	for _, e := range o.Errors {
		fmt.Fprintf(b, "item %d: %s: %s\n", e.Index, e.Code, short(e.Message))
	}
	if !o.Source.IsZero() {
		fmt.Fprintf(b, "source #%d, targets in %s\n", number(o.Source), o.Collections)
	}
	if o.Handled != 0 {
		fmt.Fprintf(b, "handled %d\n", o.Handled)
	}
}

func number(id entity.ID) int {
	n, _ := strconv.ParseUint(fmt.Sprintf("%x", id[8:]), 16, 64)
	return int(n)
}

// short writes ids of tests as #n.
func short(s string) string {
	const zeros = "00000000-0000-0000-0000-"
	for {
		i := strings.Index(s, zeros)
		if i < 0 {
			return s
		}
		n, _ := strconv.ParseUint(s[i+len(zeros):i+36], 16, 64)
		s = fmt.Sprintf("%s#%d%s", s[:i], n, s[i+36:])
	}
}

// dump renders the keys of the partition, except the applied index.
func (f *fixture) dump() map[string]string {
	f.t.Helper()
	p := f.machine.cfg.Partition
	v := f.state.View(p)
	defer func() {
		if err := v.Close(); err != nil {
			f.t.Error(err)
		}
	}()
	it, err := v.Scan(keys.PartitionRange(p))
	if err != nil {
		f.t.Fatal(err)
	}
	all := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Key()) != string(keys.AppendApplied(nil, p)) {
			if isCounter(it.Key()) {
				if f.counting {
					renderCounter(all, it.Key(), it.Value())
				}
				continue
			}
			k, value := render(it.Key(), it.Value())
			if c, ok := indexOf(it.Key()); ok && !f.inFull {
				k = fmt.Sprintf("%s%c c%d", k[:strings.IndexByte(k, '/')+1], it.Key()[8], c)
				n := 0
				_, _ = fmt.Sscan(all[k], &n)
				value = fmt.Sprintf("%d keys", n+1)
			}
			all[k] = value
		}
	}
	if err := it.Close(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// indexOf returns the collection of a key of an index, which all tests but one show
// by their number.
func indexOf(k []byte) (entity.CollectionID, bool) {
	if app := k[4] | k[5] | k[6] | k[7]; app == 0 {
		return 0, false
	}
	_, c, _, _, ok := keys.DecodeIndex(k)
	return c, ok
}

func renderIndex(k, v []byte) (string, string) {
	kind, c, p, rest, _ := keys.DecodeIndex(k)
	head := fmt.Sprintf("%c c%d p%d", kind, c, p)
	switch kind {
	case keys.KindPresent:
		bitmap, _ := storage.DecodeBitmap(v)
		text := ""
		for seq := range entity.Seq(keys.PresentBlock) {
			if bitmap.Has(seq) {
				text += fmt.Sprintf("s%d ", seq)
			}
		}
		return head, strings.TrimSpace(text)
	case keys.KindProperty:
		with, several, _ := storage.DecodePropertyStats(v)
		return head, fmt.Sprintf("with %d several %d", with, several)
	case keys.KindOrdered:
		switch p {
		case keys.PropCreated:
			return fmt.Sprintf("I c%d created %x", c, rest[:len(rest)-8]), fmt.Sprintf("s%d", keys.TimeTail(k))
		case keys.PropModified:
			return fmt.Sprintf("I c%d modified %x", c, rest[:len(rest)-8]), fmt.Sprintf("s%d", keys.TimeTail(k))
		}
	}
	return fmt.Sprintf("%s %q s%d", head, rest[:len(rest)-8], keys.Tail(k)), fmt.Sprintf("%x", v)
}

func renderSettings(v []byte) string {
	s, _ := entity.DecodeSettings(v)
	plan := func(p entity.IndexPlan) string {
		text := fmt.Sprintf("generation %d", p.Generation)
		switch {
		case p.None:
			text += " none"
		case p.All:
			text += " all"
		default:
			text += fmt.Sprintf(" %q", p.Fields)
		}
		for _, c := range p.Composites {
			text += fmt.Sprintf(" composite %d %v", c.Number, c.Keys)
		}
		return text
	}
	text := plan(s.Plan)
	for _, p := range s.Older {
		text += ", older " + plan(p)
	}
	return fmt.Sprintf("%s; declared %v updated %d by %q reindexed %d job #%d composites %d", text, s.Declared, s.Updated, s.UpdatedBy, s.Reindexed, number(s.Job), s.Composites)
}

func render(k, v []byte) (string, string) {
	app := fmt.Sprintf("%d/", uint32(k[4])<<24|uint32(k[5])<<16|uint32(k[6])<<8|uint32(k[7]))
	kind := string(k[8])
	if app != "0/" {
		if key, value, ok := renderEdge(k, v); ok {
			return app + key, value
		}
	}
	if _, ok := indexOf(k); ok {
		key, value := renderIndex(k, v)
		return app + key, value
	}
	switch k[8] {
	case keys.KindSettings:
		if app != "0/" {
			return fmt.Sprintf("%ss c%d", app, k[12]), renderSettings(v)
		}
	case keys.KindEntity:
		c, seq, _ := keys.DecodeEntity(k)
		e, _ := entity.DecodeRecord(v)
		return fmt.Sprintf("%sE c%d s%d", app, c, seq), fmt.Sprintf("#%d rev %d generation %d%s %s", number(e.ID), e.Rev, e.Generation, marksOf(&e), e.JSON)
	case keys.KindID:
		c, id, _ := keys.DecodeID(k)
		seq, _ := keys.DecodeSeq(v)
		return fmt.Sprintf("%sK c%d #%d", app, c, number(id)), fmt.Sprintf("s%d", seq)
	case keys.KindUnique:
		c, property, value, _ := keys.DecodeUnique(k)
		seq, id, _ := keys.DecodeUniqueValue(v)
		return fmt.Sprintf("%sU c%d p%d %q", app, c, property, value[1:len(value)-2]), fmt.Sprintf("s%d #%d", seq, number(id))
	case keys.KindName:
		owner, name, _ := keys.DecodeName(k)
		text := fmt.Sprint(v[0])
		if n, _ := storage.DecodeNumbered(v); len(v) > 1 && n.Unique {
			text += " unique"
		}
		return fmt.Sprintf("%sd c%d %q", app, owner, name), text
	case keys.KindCollection:
		text := fmt.Sprintf("next %d count %d", v[1], v[2])
		for i := range v[3] {
			text += fmt.Sprintf(" generation %d: %d", v[4+2*i], v[5+2*i])
		}
		return fmt.Sprintf("%sM c%d", app, k[12]), text
	case keys.KindLink:
		if relation, from, to, ok := keys.DecodeLink(k); ok && app != "0/" {
			return fmt.Sprintf("%sL %d #%d #%d", app, relation, number(from), number(to)), ""
		}
	case keys.KindCredential:
		c, _ := entity.DecodeCredential(v)
		return fmt.Sprintf("%sS #%d k%d", app, k[24], k[25]), fmt.Sprintf("%q changed %d revoked %d", c.Value, c.Changed, c.RevokedBefore)
	case keys.KindToken:
		return app + kind, "token"
	case keys.KindRoute:
		p, id, _ := keys.DecodeRouteValue(v)
		return fmt.Sprintf("%sR %d", app, k[12]), fmt.Sprintf("partition %d #%d", p, number(id))
	case 't':
		if task, err := entity.DecodeTask(v); err == nil {
			return fmt.Sprintf("%st #%d", app, number(task.ID)), fmt.Sprintf("%s %s of %d: step %d turn %d attempts %d due %d done %d/%d body %q error %q", task.State, task.Kind,
				task.App, task.Step, task.Turn, task.Attempts, task.NotBefore, task.Done, task.Total, task.Body, task.LastError)
		}
	case 'q':
		if q, ok := keys.DecodeQueued(k); ok {
			return fmt.Sprintf("%sq %s p%d app %d due %d #%d", app, q.State, q.Priority, q.App, q.NotBefore, number(q.ID)), string(v)
		}
	case 'g':
		if gone, ok := keys.DecodeGone(k); ok {
			return fmt.Sprintf("%sg %d", app, gone), ""
		}
	case 'D':
		epoch, request, _ := keys.DecodeDedup(k)
		return fmt.Sprintf("%sD epoch %d request %d", app, epoch, request[15]), fmt.Sprintf("%d bytes", len(v))
	}
	return app + kind, fmt.Sprintf("%x", v)
}

func writeDifference(b *strings.Builder, before, after map[string]string) {
	var lines []string
	for k, v := range after {
		if old, ok := before[k]; !ok {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("+ %s: %s", k, v)))
		} else if old != v {
			lines = append(lines, fmt.Sprintf("~ %s: %s", k, v))
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			lines = append(lines, "- "+k)
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
}
