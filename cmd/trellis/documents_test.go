package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/objects/objectstest"
)

// commandsOf returns the commands in a document: its blocks of kind sh.
func commandsOf(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for i, block := range strings.Split(string(text), "```") {
		if commands, ok := strings.CutPrefix(block, "sh\n"); ok && i%2 == 1 {
			script.WriteString(commands)
		}
	}
	return script.String()
}

// runs runs commands of a document in a directory, each of which must succeed, and returns
// what they print.
func runs(t *testing.T, dir, script string, environment ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-u", "-o", "pipefail", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = append(os.Environ(), environment...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, script, out, errOut.String())
	}
	return string(out)
}

// TestExportDocument runs the commands of docs/export.md: an application goes to a file and
// comes back as another, goes to a store, and one of Usergrid comes in.
func TestExportDocument(t *testing.T) {
	store := objectstest.Start(t, "backups")
	url := startServer(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword, "TRELLIS_EXPORT_ENDPOINT="+store.URL,
		"TRELLIS_EXPORT_REGION="+objectstest.Region, "TRELLIS_EXPORT_PATH_STYLE=true")
	send := func(path, body, token string) string {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("POST %s: %v %d %s", path, err, res.StatusCode, b.String())
		}
		_, rest, _ := strings.Cut(b.String(), `"access_token":"`)
		token, _, _ = strings.Cut(rest, `"`)
		return token
	}
	send("/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`, "")
	token := send("/management/token", `{"grant_type":"password","username":"dana","password":"s3same"}`, "")
	send("/management/orgs/acme/apps", `{"name":"shop"}`, token)
	send("/acme/shop/items", `{"name":"milk"}`, token)

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "usergrid-export"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := `[{"Metadata":{"uuid":"58606d0a-cfed-11e3-a694-dbf5228024a7","type":"item","created":5,"modified":6,"name":"bread"}}]`
	if err := os.WriteFile(filepath.Join(dir, "usergrid-export", "items.json"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	script := commandsOf(t, "export.md")
	for _, change := range [][2]string{
		{"http://127.0.0.1:8080", url}, {"TRELLIS_TOKEN=…", "TRELLIS_TOKEN=" + token},
		{`"s3_access_id": "…"`, fmt.Sprintf(`"s3_access_id": %q`, objectstest.AccessKey)}, {`"s3_key": "…"`, fmt.Sprintf(`"s3_key": %q`, objectstest.SecretKey)},
	} {
		if !strings.Contains(script, change[0]) {
			t.Errorf("docs/export.md does not have %s", change[0])
		}
		script = strings.ReplaceAll(script, change[0], change[1])
	}
	script = fmt.Sprintf("trellis() { command trellis \"$@\" --url %s; }\n", url) + script
	out := runs(t, dir, script, "PATH="+buildDir+":"+os.Getenv("PATH"))
	if !strings.Contains(out, `"Export Entity"`) {
		t.Errorf("no export to the store:\n%s", out)
	}
	for end := time.Now().Add(time.Minute); len(store.Keys(t, "backups")) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the export to the store does not end")
		}
	}
	check := "curl -sf -H 'Authorization: Bearer " + token + "' " + url
	if out := runs(t, dir, check+"/acme/copy/items/milk; "+check+"/acme/shop/items/bread"); strings.Count(out, `"uuid"`) < 2 {
		t.Errorf("what was imported: %s", out)
	}
}

// TestAssetsDocument runs the commands of docs/assets.md: what was uploaded comes back.
func TestAssetsDocument(t *testing.T) {
	url := startServer(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword)
	dir, data := t.TempDir(), picture(1, 300<<10)
	if err := os.WriteFile(filepath.Join(dir, "cat.jpg"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	setup := fmt.Sprintf("curl -sf %s/management/orgs -d '%s' -H 'Content-Type: application/json'\n", url,
		`{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	runs(t, dir, setup+strings.ReplaceAll(commandsOf(t, "assets.md"), "http://127.0.0.1:8080", url))
	for _, name := range []string{"copy.jpg", "pic.jpg"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
	}
}
