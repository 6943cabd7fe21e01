package main

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/trellisdb/trellis/"

// layers says, for each package of ours, what of ours it may import. A name
// that ends in "/..." stands for the package and all below it. A package
// without a row fails the test: a new package begins with a new row.
//
//	api, push, node, bench   never import one another; cmd introduces them
//	query, raftfsm           neither imports the other
//	index
//	storage
//	storage/entity, storage/fault   the vocabulary: nothing of ours
var layers = map[string][]string{
	"storage/fault":  {},
	"storage/entity": {"storage/fault"},

	// Pure: functions of their arguments, no disk, no clock, no goroutine.
	"storage/keys":    vocabulary(),
	"storage/archive": vocabulary(),
	"storage/seal":    vocabulary(),
	"storage/objects": vocabulary(),
	"query/ql":        vocabulary("storage/keys"),
	"query/cursor":    vocabulary(),
	"raftfsm/command": vocabulary(),
	"node/placement":  vocabulary(),
	"api/inflect":     vocabulary(),
	"api/auth":        vocabulary("api/inflect"),
	"api/schema":      vocabulary("api/inflect", "raftfsm/command", "storage/keys"),

	"storage/portable": vocabulary(),

	"storage": {"storage/..."},
	"index":   {"storage/..."},
	"query":   {"query/...", "index", "storage/..."},

	"query/dump": {"index", "storage/..."},

	"raftfsm":           {"raftfsm/command", "raftfsm/raftlog", "index", "storage/..."},
	"raftfsm/raftlog":   {"raftfsm/command", "storage/..."},
	"raftfsm/transport": vocabulary(),

	"node":          {"node/...", "raftfsm/...", "query/...", "storage/..."},
	"node/peer":     vocabulary(),
	"node/nodetest": {},
	"node/gossip":   vocabulary(),
	"node/rpc":      {"raftfsm/command", "storage/entity", "storage/fault"},
	"node/tasks":    {"raftfsm/command", "query/...", "storage/..."},
	"node/rescue":   {"raftfsm", "raftfsm/raftlog", "storage/..."},

	"api/wire":        vocabulary("api/auth", "api/inflect"),
	"api/directory":   front(),
	"api":             front("api/..."),
	"api/management":  front("api/directory", "api/pages/...", "api/portage"),
	"api/collections": front("api/directory", "api/assets"),
	"api/assets":      vocabulary("raftfsm/command", "storage", "storage/objects"),
	"api/tally":       front(),
	"api/portage":     front("api/collections", "storage/objects"),

	// HTML: what a page says and how its form is kept safe, without routes.
	"api/pages":           vocabulary("api/auth", "api/pages/..."),
	"api/pages/challenge": vocabulary("api/auth"),
	"api/pages/redirect":  vocabulary(),

	"push":        {"push/...", "raftfsm/command", "storage/..."},
	"push/mail":   vocabulary(),
	"push/signin": vocabulary(),

	// Clients of push services, and the nouns they share.
	"push/provider":  vocabulary(),
	"push/apns":      vocabulary("push/provider"),
	"push/fcm":       vocabulary("push/provider"),
	"push/wns":       vocabulary("push/provider"),
	"push/webpush":   vocabulary("push/provider"),
	"push/noop":      vocabulary("push/provider"),
	"push/providers": {"push/provider", "push/apns", "push/fcm", "push/wns", "push/webpush", "push/noop"},

	// The harness speaks HTTP and shares no code with what it measures.
	"bench":          {"bench/..."},
	"bench/apns":     {},
	"bench/client":   {"bench/..."},
	"bench/cluster":  {"bench/..."},
	"bench/crash":    {"bench/..."},
	"bench/data":     {"bench/..."},
	"bench/disk":     {},
	"bench/history":  {"bench/..."},
	"bench/limit":    {"bench/..."},
	"bench/load":     {"bench/..."},
	"bench/mesh":     {},
	"bench/plan":     {},
	"bench/report":   {"bench/..."},
	"bench/server":   {"bench/..."},
	"bench/workload": {"bench/..."},
	"bench/fake":     {"bench/..."},

	"cmd/trellis": {"api/...", "bench/...", "index", "node/...", "push/...", "query/...", "raftfsm/...", "storage/..."},
}

// owners says which packages may import a library that has one owner. What is
// not listed is free for all.
var owners = map[string][]string{
	"github.com/cockroachdb/pebble/":  {"storage", "bench/limit"},
	"github.com/hashicorp/raft":       {"raftfsm", "raftfsm/raftlog", "raftfsm/transport", "node", "bench/limit"},
	"github.com/fasthttp/router":      {"node/rpc"},
	"github.com/hashicorp/memberlist": {"node/gossip"},
	"github.com/valyala/fasthttp":     {"api", "api/wire", "node/rpc", "bench/..."},
	"github.com/wneessen/go-mail":     {"push/mail"},
	"github.com/coreos/go-oidc":       {"push/signin"},
	"github.com/go-jose/go-jose":      {"push/signin", "bench/apns"},
	"github.com/minio/minio-go":       {"storage/objects"},
	"software.sslmate.com/src":        {"push/apns"},
	"github.com/gabriel-vasile":       {"api/assets"},
}

// vocabulary is what a pure package may use, and extra.
func vocabulary(extra ...string) []string {
	return append([]string{"storage/entity", "storage/fault"}, extra...)
}

// front is what the packages behind a route may use, and extra.
func front(extra ...string) []string {
	return append([]string{
		"api/wire", "api/auth", "api/inflect", "api/schema",
		"query/...", "raftfsm/command", "storage", "storage/entity", "storage/fault", "storage/keys", "storage/seal", "storage/portable",
	}, extra...)
}

// pkg is a package of ours as the go tool lists it.
type pkg struct {
	name    string // without the module
	dir     string
	imports []string // of the product code: tests may look upwards
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}|{{.Dir}}|{{join .Imports " "}}`, "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if len(parts) != 3 {
			t.Fatalf("go list answered %q", line)
		}
		all = append(all, pkg{
			name:    strings.TrimPrefix(parts[0], module),
			dir:     parts[1],
			imports: strings.Fields(parts[2]),
		})
	}
	if len(all) < 5 {
		t.Fatalf("go list names %d packages only", len(all))
	}
	return all
}

// isTestHelper tells a package that exists for tests: storage/storagetest,
// node/nodetest. It may look upwards, since no product code imports it.
func isTestHelper(name string) bool {
	return strings.HasSuffix(path.Base(name), "test")
}

// matches tells whether name is one of the allowed ones.
func matches(allowed []string, name string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		if root, ok := strings.CutSuffix(a, "/..."); ok {
			return name == root || strings.HasPrefix(name, root+"/")
		}
		return name == a
	})
}

// complaints lists what is wrong with the imports of p.
func complaints(p pkg) []string {
	if isTestHelper(p.name) {
		return nil
	}
	allowed, ok := layers[p.name]
	if !ok {
		return []string{p.name + " has no row in the table of layers"}
	}
	var wrong []string
	for _, imported := range p.imports {
		ours, isOurs := strings.CutPrefix(imported, module)
		switch {
		case isOurs && isTestHelper(ours):
			wrong = append(wrong, p.name+" imports the test helper "+ours)
		case isOurs && !matches(allowed, ours):
			wrong = append(wrong, p.name+" may not import "+ours)
		}
		for library, by := range owners {
			if strings.HasPrefix(imported+"/", strings.TrimSuffix(library, "/")+"/") && !matches(by, p.name) {
				wrong = append(wrong, p.name+" may not import "+imported+", which belongs to "+strings.Join(by, ", "))
			}
		}
	}
	return wrong
}

// TestLayers keeps the one direction of the imports.
func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		for _, wrong := range complaints(p) {
			t.Error(wrong)
		}
	}
}

// TestLayersRefuse shows that the check of TestLayers can fail.
func TestLayersRefuse(t *testing.T) {
	for _, p := range []pkg{
		{name: "storage/brandnew"},
		{name: "storage", imports: []string{module + "raftfsm/command"}},
		{name: "query", imports: []string{module + "raftfsm"}},
		{name: "raftfsm", imports: []string{module + "query/ql"}},
		{name: "api", imports: []string{module + "node"}},
		{name: "node", imports: []string{module + "api/wire"}},
		{name: "bench", imports: []string{module + "storage/entity"}},
		{name: "storage", imports: []string{module + "storage/storagetest"}},
		{name: "index", imports: []string{"github.com/cockroachdb/pebble/v2/vfs"}},
		{name: "api/collections", imports: []string{"github.com/valyala/fasthttp"}},
	} {
		if len(complaints(p)) == 0 {
			t.Errorf("%s importing %v is accepted", p.name, p.imports)
		}
	}
	for _, p := range []pkg{
		{name: "storage", imports: []string{"github.com/cockroachdb/pebble/v2/vfs", module + "storage/keys"}},
		{name: "api", imports: []string{module + "api/management", "github.com/valyala/fasthttp"}},
		{name: "storage/storagetest", imports: []string{module + "raftfsm"}},
	} {
		if wrong := complaints(p); len(wrong) > 0 {
			t.Errorf("%s importing %v: %v", p.name, p.imports, wrong)
		}
	}
}

// TestPackageComments wants a package comment from every package, test helpers
// included.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		product, documented := false, false
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			product = true
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			documented = documented || parsed.Doc != nil
		}
		if product && !documented {
			t.Errorf("%s has no package comment", p.name)
		}
	}
}
