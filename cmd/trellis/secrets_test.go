package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSecretsAreSealedOnDisk looks for a client secret in the files of a stopped node,
// and starts it again with a newer key before the old one.
func TestSecretsAreSealedOnDisk(t *testing.T) {
	dir, keys := t.TempDir(), filepath.Join(t.TempDir(), "keys")
	older, newer := "an older key of the test", "a newer key of the test"
	write := func(lines ...string) {
		if err := os.WriteFile(keys, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environment := []string{"TRELLIS_SUPERUSER_PASSWORD=pw4super", "TRELLIS_SECRET_KEY_FILE=" + keys}
	credentials := func(p *process) (id, secret string) {
		req, err := http.NewRequest("GET", p.url+"/management/orgs/acme/credentials", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("superuser", "pw4super")
		var a struct {
			Credentials struct {
				ID     string `json:"client_id"`
				Secret string `json:"client_secret"`
			} `json:"credentials"`
		}
		decode(t, req, &a)
		return a.Credentials.ID, a.Credentials.Secret
	}
	write(older)
	p := launch(t, dir, environment...)
	body := `{"organization":"acme","username":"dana","email":"dana@example.org","password":"pw4dana"}`
	req, err := http.NewRequest("POST", p.url+"/management/orgs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, req, nil)
	id, secret := credentials(p)
	if len(secret) != 31 {
		t.Fatalf("client secret %q", secret)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v\n%s", err, p.out)
	}
	for _, hidden := range []string{secret, secret[4:], "pw4super", "pw4dana", older} {
		if file := found(t, dir, hidden); file != "" {
			t.Errorf("%q stands in %s", hidden, file)
		}
	}
	if file := found(t, dir, "dana@example.org"); file == "" {
		t.Error("an address is not found either: the search finds nothing")
	}
	write(newer, older)
	p = launch(t, dir, environment...)
	if again, same := credentials(p); again != id || same != secret {
		t.Errorf("with another key: %q, %q; before: %q, %q", again, same, id, secret)
	}
	req, err = http.NewRequest("POST", p.url+"/management/token", strings.NewReader(`{"grant_type":"client_credentials","client_id":"`+id+`","client_secret":"`+secret+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, req, nil)
	if strings.Contains(p.out.String(), secret) {
		t.Error("the log shows the secret")
	}
}

// decode sends a request that must succeed.
func decode(t *testing.T, req *http.Request, into any) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", req.Method, req.URL.Path, res.StatusCode, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
}

// found returns a file below dir that contains a text; empty if none does.
func found(t *testing.T, dir, text string) (name string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name != "" {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			name = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}
