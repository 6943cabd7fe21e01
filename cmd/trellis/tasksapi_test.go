package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

func TestTaskIDs(t *testing.T) {
	want := entity.NewID()
	if p, id, ok := parseTaskID(taskID(7, want)); !ok || p != 7 || id != want {
		t.Errorf("task %s became %d %s %v", want, p, id, ok)
	}
	for _, bad := range []string{"", "7", "7-", "-" + want.String(), "x-" + want.String(), want.String() + "x", "4294967296-" + want.String()} {
		if _, _, ok := parseTaskID(bad); ok {
			t.Errorf("%q is a task", bad)
		}
	}
}

// TestTasksOverREST follows the purge of a deleted application: it waits, is listed
// and counted, cannot be hurried, is seen by nobody else, and can be cancelled.
func TestTasksOverREST(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir, "TRELLIS_SUPERUSER_PASSWORD=s3cret")
	token := ""
	do := func(method, target, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest(method, p.url+target, strings.NewReader(body))
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
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil && target != "/metrics" {
			t.Fatalf("%s %s: %s", method, target, raw)
		}
		if fields == nil {
			fields = map[string]any{"text": string(raw)}
		}
		return res.StatusCode, fields
	}
	signIn := func(name, password string) {
		t.Helper()
		token = ""
		_, a := do("POST", "/management/token", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":%q}`, name, password))
		token, _ = a["access_token"].(string)
		if token == "" {
			t.Fatalf("sign in: %v", a)
		}
	}
	purge := func() map[string]any {
		t.Helper()
		status, a := do("GET", "/system/tasks", "")
		data, _ := a["data"].(map[string]any)
		list, _ := data["tasks"].([]any)
		if led, _ := data["partitions"].([]any); status != 200 || len(led) != 9 {
			t.Fatalf("list tasks: %d %v", status, a)
		}
		for _, entry := range list {
			if task, _ := entry.(map[string]any); task["kind"] == "purge-application" {
				return task
			}
		}
		return nil
	}
	do("POST", "/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	signIn("dana", "s3same")
	if status, a := do("DELETE", "/management/orgs/acme/apps/sandbox?confirm_application_identifier=sandbox", ""); status != 200 {
		t.Fatalf("delete application: %d %v", status, a)
	}
	if status, _ := do("GET", "/system/tasks", ""); status != http.StatusUnauthorized && status != http.StatusForbidden {
		t.Errorf("somebody else lists tasks: %d", status)
	}
	signIn("superuser", "s3cret")
	task := purge()
	if due, _ := task["notBefore"].(float64); task == nil || task["state"] != "ready" || due < float64(time.Now().Add(29*24*time.Hour).UnixMilli()) {
		t.Fatalf("purge: %v", task)
	}
	id, _ := task["id"].(string)
	if _, a := do("GET", "/metrics", ""); !strings.Contains(fmt.Sprint(a["text"]), `trellis_tasks_queued{kind="purge-application"} 1`) ||
		!strings.Contains(fmt.Sprint(a["text"]), `trellis_tasks_queued{kind="expire-tokens"} 9`) {
		t.Errorf("metrics do not tell of the tasks")
	}
	if status, a := do("PUT", "/system/tasks/"+id+"/retry", ""); status != http.StatusConflict {
		t.Errorf("retry what has not failed: %d %v", status, a)
	}
	for _, unknown := range []string{"0-" + entity.NewID().String(), "99-" + entity.NewID().String(), "x"} {
		if status, a := do("DELETE", "/system/tasks/"+unknown, ""); status != http.StatusNotFound {
			t.Errorf("cancel %s: %d %v", unknown, status, a)
		}
	}
	if status, a := do("DELETE", "/system/tasks/"+id, ""); status != 200 {
		t.Errorf("cancel: %d %v", status, a)
	}
	if task := purge(); task != nil {
		t.Errorf("after it was cancelled: %v", task)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, p.out)
	}
	if out, err := exec.Command(filepath.Join(buildDir, "trellis"), "check", "--data-dir", dir).CombinedOutput(); err != nil {
		t.Errorf("check: %v\n%s", err, bytes.TrimSpace(out))
	}
}
