package command

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func idOf(b byte) entity.ID { return entity.ID{0: 1, 6: 0x70, 8: 0x80, 15: b} }

// samples has a command of every kind, with every optional part present in one
// and absent in another.
func samples() []Command {
	rules := Rules{Collection: "users", Type: "user", Unique: []string{"username", "email"}, Required: []string{"username"}}
	item := NewEntity{ID: idOf(1), Created: 1500000000000, Modified: 1500000000001, JSON: []byte(`{"username":"ada"}`),
		Credentials: []Credential{{Kind: entity.CredentialPassword, Value: []byte("$2a$hash")}}}
	app := NewApplication{ID: idOf(2), Name: "shop", Partition: 3, Secret: "b3U6", Open: true}
	queue, region := "config", ""
	ops := []Op{
		TermStart{Term: 7, Node: "n1"},
		CreateEntities{Rules: rules, Items: []NewEntity{item, {ID: idOf(9)}}, Partial: true},
		CreateEntities{Rules: Rules{Collection: "items", Type: "item"}},
		UpdateEntity{Rules: rules, Target: Target{ID: idOf(1), Aliases: []Alias{{"username", "Ada"}, {"email", "a@b.cd"}}}, Patch: []byte(`{"a":1}`), Create: &item},
		UpdateEntity{Rules: rules, Target: Target{ID: idOf(1)}},
		DeleteEntity{Collection: "items", Target: Target{Aliases: []Alias{{"name", "milk"}}}},
		CreateCollections{Names: []string{"items", "roles"}},
		SetCredential{Collection: "users", Owner: idOf(1), Credential: Credential{Kind: entity.CredentialPassword, Value: []byte("x")}, Expect: []byte("y"), RevokeTokens: true},
		SetCredential{Collection: "users", Owner: idOf(1), Credential: Credential{Kind: entity.CredentialPassword}, Expect: []byte{}},
		SetCredential{Collection: "users", Owner: idOf(1)},
		PutToken{Hash: [32]byte{1, 2}, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: idOf(1), Created: 5, Expires: 6, Seq: 300}},
		RevokeToken{Hash: [32]byte{31: 9}},
		InitCluster{Cluster: entity.Cluster{ID: idOf(4), Key: [32]byte{5}, Partitions: 8, Created: 9}},
		CreateOrganization{Organization: item, Name: "Acme", Owner: &item, Application: &app},
		CreateOrganization{Organization: item, Name: "Acme", OwnerID: idOf(1)},
		CreateApplication{Organization: idOf(3), Application: app},
		DeleteApplication{Organization: idOf(3), Application: idOf(2), PurgeAt: 1700000000000},
		PutMember{Member: entity.Member{ID: "n1~0a1b2c3d", State: entity.Active, ClusterAddr: "h:1", GossipAddr: "h:2", HTTPAddr: "h:3", Zone: "z", Version: "v", Protocol: 1, Joined: 7}, Replaces: "n1~00000000"},
		SetMemberState{ID: "n1~0a1b2c3d", State: entity.Draining},
		SetPlacements{Placements: []entity.Placement{{Partition: 3, Version: 2, Formed: true, Next: 5, Replicas: []entity.Replica{{Node: "n1~0a1b2c3d", Number: 4, Voter: true}}}}},
		SetProtocol{Version: 2},
		PutTask{Task: NewTask{ID: idOf(5), Kind: "mail", Priority: entity.Urgent, NotBefore: 9, Total: 300, Body: []byte("b")}},
		StepTask{ID: idOf(5), Turn: 4, NotBefore: 9, Done: 200, Total: 300, Body: []byte("b"), Effect: CreateEntities{Rules: rules, Items: []NewEntity{item}}},
		StepTask{ID: idOf(5), Turn: 5, Finish: true},
		FailTask{ID: idOf(5), Turn: 6, Error: "rain", NotBefore: 9, Dead: true},
		CancelTask{ID: idOf(5)},
		RetryTask{ID: idOf(5)},
		PurgeApplication{},
		ForgetApplication{Application: idOf(2)},
		ExpireTokens{Before: 77, Tokens: []TokenRef{{App: 16, Hash: [32]byte{1}}, {App: 300, Hash: [32]byte{31: 2}}}},
		Connect{Source: Ref{Collection: "users", Target: Target{Aliases: []Alias{{"username", "Ada"}}}}, Verb: "likes",
			Target: Ref{Collection: "items", Any: true, Target: Target{ID: idOf(1)}}, Keep: true},
		Connect{Source: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, Verb: "Owns",
			Rules: rules, Patch: []byte(`{"a":1}`), Create: &item},
		Disconnect{Source: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, Verb: "likes", Strict: true,
			Targets: []Ref{{Collection: "items", Target: Target{ID: idOf(2)}}, {Any: true, Target: Target{ID: idOf(3)}}}},
		DropEdges{Ends: []entity.End{{Collection: 3, Seq: 300}, {Collection: 4, Seq: 1 << 40}}, Limit: 500},
		DeleteEntities{Collection: "items", IDs: []entity.ID{idOf(1), idOf(2)}},
		UpdateEntities{Rules: rules, IDs: []entity.ID{idOf(1), idOf(2)}, Patch: []byte(`{"a":1}`)},
		StepTask{ID: idOf(5), Turn: 4, Body: []byte("b"), Effect: DropEdges{Ends: []entity.End{{Collection: 3, Seq: 300}}, Limit: 500}},
		PutSettings{Collection: "items", Task: idOf(6), Replace: true, By: "ann@example.test", Fields: &Fields{List: []string{"year", "one.key"}, Declared: []string{"email"}},
			Composites: &[][]entity.CompositeKey{{{Property: "status"}, {Property: "created", Desc: true}}}, QueueIndex: &queue, Region: &region},
		PutSettings{Collection: "items", Fields: &Fields{All: true, None: true}},
		PutSettings{Collection: "items", IndexConsistency: &queue},
		ClearSettings{Collection: "items", Task: idOf(6)},
		Reindex{Collection: "items", Task: idOf(6), Updated: 1500000000000},
		ReindexStep{Collection: "items", Seqs: []entity.Seq{1, 300}},
		ClearStep{Collection: "items", Seqs: []entity.Seq{7}, Before: 9},
		StepTask{ID: idOf(5), Turn: 7, Effect: ReindexStep{Collection: "items"}},
		Together{First: CreateEntities{Rules: rules, Items: []NewEntity{item}}, Then: []Op{
			PutToken{Hash: [32]byte{1}, Token: entity.Token{Kind: entity.PrincipalAppUser, Principal: idOf(2), Purpose: entity.TokenConfirm, Workflow: idOf(3)}},
			PutTask{Task: NewTask{ID: idOf(5), Kind: "mail"}},
		}},
		Together{First: RevokeToken{Hash: [32]byte{1}}},
		SetPermissions{Collection: "roles", Owner: idOf(1), Add: []string{"get:/a"}, Remove: []string{"put:/b", "*"}},
		SeedRoles{Rules: rules, Roles: []NewRole{{Entity: item, Permissions: []string{"get:/**"}}, {Entity: item}}, Reset: true},
		SetMembership{Organization: idOf(3), Admin: idOf(1), Member: true},
		RestoreApplication{Organization: idOf(3), Application: idOf(2), Secret: Credential{Kind: entity.CredentialSecret, Value: []byte("s")}},
		TouchToken{Hash: [32]byte{1}, Accessed: 1700000000000, Inactive: 5},
		Count{},
		Count{Tallies: []Tally{{Time: 1700000000000, Increments: []Increment{{Name: "application.requests.get", By: 300}, {Name: "a", Reset: true}}}, {}}},
		CreateEvents{Create: CreateEntities{Rules: rules, Items: []NewEntity{item}, Partial: true},
			Tallies: []Tally{{Time: 5, Dimensions: entity.Dimensions{User: idOf(1), Group: idOf(2), Category: "ads"}, Increments: []Increment{{Name: "ad_clicks", By: -5}}}}},
		CountEvent{Rules: rules, ID: idOf(1), Create: &item, Tally: Tally{Time: 5, Increments: []Increment{{Name: "a.b", By: 1}}}},
		CountEvent{Rules: rules, ID: idOf(1)},
		ReviseEntity{Rules: rules, ID: idOf(1), Rev: 300, Patch: []byte(`{"a":1}`)},
		ScheduleTask{ID: idOf(5), NotBefore: 1700000000000},
		QueueDeliveries{Rules: rules, Notification: idOf(1), Number: 300, Items: []NewDelivery{{Device: 1, Notifier: 300}, {Device: 1 << 40, Notifier: 2}}},
		SettleDeliveries{Rules: rules, Notification: idOf(1), Number: 300, Receipts: rules, Verdicts: []Verdict{
			{Device: 1, State: entity.DeliverySent, Receipt: &item}, {Device: 300, Attempts: 2, State: entity.DeliveryOpen, Due: 1700000000000}}},
		ClearDeliveries{Number: 300},
		StepTask{ID: idOf(5), Turn: 7, Effect: QueueDeliveries{Rules: rules}},
		Post{By: Publisher{Audience: entity.Friends, User: idOf(1), Group: idOf(2)}, Create: CreateEntities{Rules: rules, Items: []NewEntity{item}, Partial: true}, Task: idOf(5)},
		Post{By: Publisher{User: idOf(1)}, Create: CreateEntities{Rules: rules}, Link: idOf(3), Task: idOf(5)},
		Deliver{Activities: []entity.Posted{{Seq: 300, Published: 1700000000000}, {Seq: 1, Published: -1}}, Feeds: []entity.End{{Collection: 3, Seq: 300}}},
		StepTask{ID: idOf(5), Turn: 1, Effect: Deliver{Feeds: []entity.End{{Collection: 1, Seq: 2}}}},
		Unlist{Owner: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, List: 2, IDs: []entity.ID{idOf(2)}},
		BeginBlob{Blob: idOf(7), Size: 1 << 30, Chunk: 512 << 10, Expires: 1700000000000},
		BeginBlob{Blob: idOf(7), Size: 9, Object: "3f0b7c10/0191"},
		PutChunk{Blob: idOf(7), Number: 2047, Data: []byte("bytes")},
		AttachBlob{Blob: idOf(7), Change: UpdateEntity{Rules: rules, Target: Target{ID: idOf(1)}, Patch: []byte(`{"a":1}`)}},
		AttachBlob{Blob: idOf(7), Whole: true, Data: []byte("bytes"), Change: UpdateEntity{Rules: rules, Create: &item}},
		AttachBlob{Rejected: []byte(`{"error":"x"}`), Change: UpdateEntity{Rules: rules, Target: Target{ID: idOf(1)}, Patch: []byte(`{}`)}},
		DropBlob{Blob: idOf(7)},
		DoomBlob{Blob: idOf(7)},
		ImportEntities{Rules: rules, Replace: true, Items: []ImportItem{{NewEntity: item, Permissions: []string{"get:/**"}, Line: 300}, {NewEntity: NewEntity{ID: idOf(9)}}},
			Note: JobNote{Job: idOf(7), File: 2, Position: 1 << 40, Lines: 300, Refused: []entity.JobError{{Line: 7, Code: fault.JSONParse, Message: "bad"}}}},
		ImportEntities{Rules: rules, Adopt: true},
		ImportEdges{Edges: []ImportEdge{{Source: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, Target: Ref{Any: true, Target: Target{ID: idOf(2)}}, Verb: "likes", Line: 9}}},
		NoteJob{Note: JobNote{Job: idOf(7)}},
		PutJob{Job: entity.Job{ID: idOf(7), Kind: entity.JobImport, State: entity.JobStarted, Created: 5, Modified: 6, Target: "bucket/x", Organization: idOf(3), Application: idOf(2), Collection: "items", Message: "m", Files: 2},
			Files: []entity.JobFile{{Number: 1, State: entity.JobCreated, Name: "a.json", Size: 9, Position: 8, Lines: 7, Imported: 6, Existing: 5, Linked: 4, Failed: 3, Message: "x"}}, Recount: true, Settle: true,
			Task: &NewTask{ID: idOf(7), Kind: "import", Priority: entity.Idle, Body: []byte("b")}},
		PutJob{Job: entity.Job{ID: idOf(7), Kind: entity.JobExport, State: entity.JobFailed}},
		DropJobs{Jobs: []entity.ID{idOf(7)}},
		ImportData{Owner: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, Blob: idOf(7), Size: 1 << 30, Chunk: 512 << 10, Number: 2047, Bytes: []byte("bytes"),
			Metadata: []byte(`{"content-type":"text/plain"}`), Expires: 1700000000000, Replace: true, Line: 300, Note: JobNote{Job: idOf(7), File: 2}},
		ImportData{Owner: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, Blob: idOf(7), Object: true, Staged: idOf(8)},
		ImportFeeds{Parts: []FeedPart{{Owner: Ref{Collection: "users", Target: Target{ID: idOf(1)}}, List: 2, Activities: []entity.ID{idOf(2), idOf(3)}, Line: 300}, {}}, Note: JobNote{Job: idOf(7)}},
		ImportCounters{Parts: []CounterPart{{Name: "a.b", Named: true, Resets: 300, Dimensions: entity.Dimensions{User: idOf(1), Group: idOf(2), Category: "ads"}, Line: 300,
			Cells: []entity.CounterCell{{Resolution: entity.Week, Bucket: 1700000000000, Value: -5, Reset: 300}, {Resolution: entity.Day, Reset: 1, Clears: true}}}, {}}, Replace: true, Note: JobNote{Job: idOf(7)}},
		ImportCounters{},
	}
	cmds := make([]Command, len(ops))
	for i, op := range ops {
		cmds[i] = Command{Request: RequestID{0: byte(i), 15: 1}, Time: 1600000000000 + int64(i), App: entity.AppID(16 + i), Op: op}
	}
	return cmds
}

func sampleRecords() []Record {
	e := entity.Entity{ID: idOf(1), Created: 10, Modified: 20, Seq: 3, Rev: 9}
	whole := e
	whole.JSON = []byte(`{"name":"milk"}`)
	filed := e
	filed.Blob = idOf(8)
	return []Record{
		{App: 16, Kind: KindCreateEntities, Outcome: Outcome{Entities: []entity.Entity{e, whole}}, Collections: []entity.CollectionID{4, 0}},
		{App: 1, Kind: KindUpdateEntity, Outcome: Outcome{Created: true}},
		{App: 17, Kind: KindUpdateEntity, Outcome: Outcome{Fault: fault.New(fault.Duplicate, "taken")}},
		{App: 17, Kind: KindCreateEntities, Outcome: Outcome{Errors: []ItemError{{Index: 3, Code: fault.EntityTooLarge, Message: "too large"}}}},
		{App: 17, Kind: KindConnect, Outcome: Outcome{Entities: []entity.Entity{e}, Source: idOf(7), Collections: []string{"items"}}, Collections: []entity.CollectionID{4}},
		{App: 17, Kind: KindDeleteEntities, Outcome: Outcome{Entities: []entity.Entity{whole}, Handled: 700}, Collections: []entity.CollectionID{0}},
		{App: 17, Kind: KindAttachBlob, Outcome: Outcome{Entities: []entity.Entity{filed}}, Collections: []entity.CollectionID{4}},
	}
}

func TestEveryKindSurvivesTheLog(t *testing.T) {
	want := samples()
	seen := map[Kind]bool{}
	for _, c := range want {
		seen[c.Kind()] = true
	}
	for k := KindTermStart; k <= KindImportData; k++ {
		reserved := k > KindSetProtocol && k < KindPutTask
		if !seen[k] && !reserved { // which are nobody's
			t.Errorf("no sample of kind %d", k)
		}
	}
	got, err := DecodeEntry(AppendEntry(nil, want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded commands (-want +got):\n%s", d)
	}
}

func TestRecordsSurviveTheWindow(t *testing.T) {
	for _, want := range sampleRecords() {
		got, err := DecodeRecord(AppendRecord(nil, &want))
		if err != nil {
			t.Fatal(err)
		}
		if want.Collections != nil && want.Collections[0] != 0 && got.Outcome.Entities[0].JSON != nil {
			t.Error("a reference came back with JSON")
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("decoded record (-want +got):\n%s", d)
		}
	}
}

// TestVersion1IsReadable pins the bytes of version 1: logs on disk and peers of
// another release hold them.
func TestVersion1IsReadable(t *testing.T) {
	var text strings.Builder
	for _, c := range samples() {
		text.WriteString("entry " + hex.EncodeToString(AppendEntry(nil, []Command{c})) + "\n")
	}
	for _, r := range sampleRecords() {
		text.WriteString("record " + hex.EncodeToString(AppendRecord(nil, &r)) + "\n")
	}
	path := filepath.Join("testdata", "v1.golden")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text.String()); d != "" {
		t.Errorf("encoding differs from %s (-want +got):\n%s", path, d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := AppendEntry(nil, samples())
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(whole)) }
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"no commands":        {1, 0},
		"unknown version":    edit(func(b []byte) []byte { b[0] = 2; return b }),
		"unknown kind":       edit(func(b []byte) []byte { b[2] = 200; return b }),
		"kind zero":          edit(func(b []byte) []byte { b[2] = 0; return b }),
		"trailing byte":      append(bytes.Clone(whole), 0),
		"huge command count": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"huge name count": AppendEntry(nil, []Command{{Op: rawOp{KindCreateCollections,
			[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}}}}),
		"boolean of two":   AppendEntry(nil, []Command{{Op: rawOp{KindCreateEntities, []byte{4, 0, 0, 0, 0, 2, 0}}}}),
		"step in a step":   AppendEntry(nil, []Command{{Op: StepTask{Effect: StepTask{}}}}),
		"effect unknown":   AppendEntry(nil, []Command{{Op: StepTask{Effect: rawOp{200, nil}}}}),
		"body with a tail": AppendEntry(nil, []Command{{Op: rawOp{KindRevokeToken, make([]byte, 33)}}}),
	} {
		if _, err := DecodeEntry(b); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: error is %v, want corrupt", name, err)
		}
	}
	for n := range whole {
		if _, err := DecodeEntry(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(whole))
		}
	}
	for _, r := range sampleRecords() {
		b := AppendRecord(nil, &r)
		for n := range b {
			if _, err := DecodeRecord(b[:n]); err == nil {
				t.Errorf("the first %d of %d bytes of a record decode", n, len(b))
			}
		}
	}
}

// rawOp has a body that a test wrote.
type rawOp struct {
	k    Kind
	body []byte
}

func (o rawOp) kind() Kind                   { return o.k }
func (o rawOp) appendBody(dst []byte) []byte { return append(dst, o.body...) }

func TestDecoderSharesRulesOfOneSpelling(t *testing.T) {
	var d Decoder
	b := AppendEntry(nil, samples()[1:2])
	for range 2 {
		got, err := d.Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(samples()[1:2], got); diff != "" {
			t.Fatal(diff)
		}
	}
	if len(d.rules) != 1 {
		t.Errorf("the decoder knows %d rules, want 1", len(d.rules))
	}
	for i := range 2 * maxRules {
		c := Command{Op: CreateEntities{Rules: Rules{Collection: strings.Repeat("x", i)}}}
		if _, err := d.Decode(nil, AppendEntry(nil, []Command{c})); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.rules) > maxRules {
		t.Errorf("the decoder remembers %d rules, want at most %d", len(d.rules), maxRules)
	}
}

func TestDecodeUndoesAppend(t *testing.T) {
	text := rapid.StringN(0, 8, 32)
	blob := rapid.Custom(func(t *rapid.T) []byte {
		if b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"); len(b) > 0 {
			return b
		}
		return nil
	})
	list := rapid.Custom(func(t *rapid.T) []string {
		if l := rapid.SliceOfN(text, 0, 3).Draw(t, "list"); len(l) > 0 {
			return l
		}
		return nil
	})
	ids := rapid.Custom(func(t *rapid.T) (id entity.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	entities := rapid.Custom(func(t *rapid.T) NewEntity {
		return NewEntity{ID: ids.Draw(t, "id"), Created: rapid.Int64().Draw(t, "created"), Modified: rapid.Int64().Draw(t, "modified"), JSON: blob.Draw(t, "json")}
	})
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{Collection: text.Draw(t, "collection"), Type: text.Draw(t, "type"), Unique: list.Draw(t, "unique"), Required: list.Draw(t, "required")}
		var cmds []Command
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			var op Op
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				items := rapid.SliceOfN(entities, 1, 3).Draw(t, "items")
				op = CreateEntities{Rules: rules, Items: items, Partial: rapid.Bool().Draw(t, "partial")}
			case 1:
				e := entities.Draw(t, "create")
				op = UpdateEntity{Rules: rules, Target: Target{ID: ids.Draw(t, "target")}, Patch: blob.Draw(t, "patch"), Create: &e}
			case 2:
				op = TermStart{Term: rapid.Uint64().Draw(t, "term"), Node: text.Draw(t, "node")}
			default:
				op = CreateCollections{Names: list.Draw(t, "names")}
			}
			cmds = append(cmds, Command{Request: RequestID(ids.Draw(t, "request")), Time: rapid.Int64().Draw(t, "time"), App: entity.AppID(rapid.Uint32().Draw(t, "app")), Op: op})
		}
		got, err := DecodeEntry(AppendEntry(nil, cmds))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(cmds, got); d != "" {
			t.Fatalf("decoded commands (-want +got):\n%s", d)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(AppendEntry(nil, samples()))
	for _, c := range samples() {
		f.Add(AppendEntry(nil, []Command{c}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cmds, err := DecodeEntry(b)
		if err != nil {
			return
		}
		again, err := DecodeEntry(AppendEntry(nil, cmds))
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if d := cmp.Diff(cmds, again); d != "" {
			t.Fatalf("decoded twice (-first +second):\n%s", d)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(AppendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := DecodeRecord(b)
		if err != nil {
			return
		}
		again, err := DecodeRecord(AppendRecord(nil, &rec))
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if d := cmp.Diff(rec, again); d != "" {
			t.Fatalf("decoded twice (-first +second):\n%s", d)
		}
	})
}

// An entry made of commands encoded one by one is the entry made of them at once.
func TestEncodedCommandsMakeTheSameEntry(t *testing.T) {
	cmds := []Command{
		{Request: RequestID{1}, Time: 5, App: 16, Op: CreateCollections{Names: []string{"items"}}},
		{Request: RequestID{2}, Time: -5, App: 17, Op: RevokeToken{Hash: [32]byte{3}}},
	}
	var encoded [][]byte
	for i := range cmds {
		encoded = append(encoded, AppendCommand(nil, &cmds[i]))
	}
	if got, want := AppendEncoded(nil, encoded), AppendEntry(nil, cmds); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestProtocolOfCredentials: a kind that earlier builds refuse waits until all members know it.
func TestProtocolOfCredentials(t *testing.T) {
	for kind, want := range map[byte]uint32{entity.CredentialPassword: 3, entity.CredentialIdentity: 3, entity.CredentialProvider: 4, entity.CredentialNotifier: 4} {
		credential := Credential{Kind: kind}
		set := SetCredential{Credential: credential}
		create := CreateEntities{Items: []NewEntity{{}, {Credentials: []Credential{credential}}}}
		for _, op := range []Op{
			Together{First: create}, Together{First: TouchToken{}, Then: []Op{set}}, StepTask{Effect: Together{First: TouchToken{}, Then: []Op{create}}},
		} {
			c := Command{Op: op}
			if got := c.Protocol(); got != want {
				t.Errorf("kind %d in %T: %d, want %d", kind, op, got, want)
			}
		}
		alone := Command{Op: set}
		if got := alone.Protocol(); want == 4 && got != 4 || want == 3 && got > 1 {
			t.Errorf("kind %d: %d", kind, got)
		}
	}
}
