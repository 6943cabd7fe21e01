package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// configure loads a configuration of a file and the environment.
func configure(t *testing.T, text string, environment ...string) (serveConfig, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trellis.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addServeFlags(fs)
	if err := fs.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	return loadConfig(fs)
}

func TestAccountsConfig(t *testing.T) {
	cfg, err := configure(t, "confirm-admins: true\npassword-min-length: 9\nviews: [management.users.user.activate=https://x.example/a]\n",
		"TRELLIS_APPROVE_ORGANIZATIONS=true", "TRELLIS_PUBLIC_REGISTRATION=false", "TRELLIS_OPERATOR_EMAIL=ops@example.org",
		"TRELLIS_ALLOW_REDIRECTS=a.example,b.example")
	a := cfg.Accounts
	if err != nil || !a.ConfirmAdmins || !a.ApproveOrganizations || a.PublicRegistration || a.Operator != "ops@example.org" || a.PasswordLength != 9 || a.AdminPasswordLength != 4 {
		t.Errorf("%+v, %v", a, err)
	}
	if len(a.AllowRedirects) != 2 || a.SMTPPort != 587 || a.ApproveAdmins {
		t.Errorf("%+v", a)
	}
	if views, err := a.views(); err != nil || views["management.users.user.activate"] != "https://x.example/a" {
		t.Errorf("%v, %v", views, err)
	}
	for _, text := range []string{
		"views: [x]", "views: ['x=javascript:y']", "login-url: x\nviews: ['=https://x.example']", "password-min-length: -1", "recaptcha-public-key: x",
		"smtp-host: mail.example", "mail-from: a@b.example\nsmtp-host: mail.example", "smtp-host: mail.example\nmail-spool: /x\nmail-from: a@b.example\nbase-url: https://x",
		"confirm-admin: true",
	} {
		if _, err := configure(t, text, "TRELLIS_ALLOW_REDIRECTS="); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestMailsGoOut registers an admin user at a server that wants addresses confirmed, and
// follows the link of the mail that it wrote to its spool. A mail that cannot be written
// waits, also while the server is stopped.
func TestMailsGoOut(t *testing.T) {
	dir, spool := t.TempDir(), filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	environment := []string{
		"TRELLIS_CONFIRM_ADMINS=true", "TRELLIS_MAIL_SPOOL=" + spool, "TRELLIS_MAIL_FROM=Acme <noreply@example.org>", "TRELLIS_BASE_URL=https://api.example.org",
	}
	p := launch(t, dir, environment...)
	if err := os.Rename(spool, spool+"-gone"); err != nil {
		t.Fatal(err)
	}
	body := `{"organization":"acme","username":"dana","email":"dana@example.org","password":"pw4dana"}`
	req, err := http.NewRequest("POST", p.url+"/management/orgs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Data struct {
			Owner struct {
				Activated bool `json:"activated"`
			} `json:"owner"`
		} `json:"data"`
	}
	if decode(t, req, &made); made.Data.Owner.Activated {
		t.Error("active at once")
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v\n%s", err, p.out)
	}
	if file := found(t, dir, "ZW0t"); file != "" {
		t.Errorf("a token stands in %s", file)
	}
	if err := os.Rename(spool+"-gone", spool); err != nil {
		t.Fatal(err)
	}
	p = launch(t, dir, environment...)
	link := ""
	for deadline := time.Now().Add(2 * time.Minute); link == ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no mail; the log:\n%s", p.out)
		}
		names, err := filepath.Glob(filepath.Join(spool, "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(string(text), "=\r\n", ""), "=3D", "="), "=\n", "")
			if _, after, ok := strings.Cut(plain, "https://api.example.org/management/users/"); ok {
				link, _, _ = strings.Cut(after, "\r")
				link = strings.Fields(link)[0]
			}
		}
	}
	resp, err := http.Get(p.url + "/management/users/" + link)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != 200 || fmt.Sprint(a["action"]) != "confirm user" {
		t.Errorf("%d %v, %v", resp.StatusCode, a, err)
	}
	req, err = http.NewRequest("POST", p.url+"/management/token", strings.NewReader(`{"grant_type":"password","username":"dana","password":"pw4dana"}`))
	if err != nil {
		t.Fatal(err)
	}
	var signed struct {
		Token string `json:"access_token"`
	}
	if decode(t, req, &signed); len(signed.Token) != 63 {
		t.Errorf("no token: %+v", signed)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, p.out)
	}
}
