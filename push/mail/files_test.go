package mail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestSpool writes mails as files. A mail that is sent again is the same file.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	s, err := NewSpool(dir, "noreply@acme.test", templates(t))
	if err != nil {
		t.Fatal(err)
	}
	m := reset("ann@example.org", "bob@example.org")
	for range 2 {
		if err := s.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v: %v", files, err)
	}
	to := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		o := open(t, string(b))
		to[o.to.Address] = true
		if !strings.HasSuffix(o.text, "\n"+someLink) || !strings.HasSuffix(f.Name(), ".eml") {
			t.Errorf("%s: %q", f.Name(), o.text)
		}
		if id := o.header.Get("Message-Id"); id != "<"+strings.TrimSuffix(f.Name(), ".eml")+"@acme.test>" {
			t.Errorf("%s has id %s", f.Name(), id)
		}
	}
	if len(to) != 2 {
		t.Errorf("mails to %v", to)
	}
}

// TestSpoolFails: what could not be written is left to be tried again.
func TestSpoolFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if _, err := NewSpool(dir, "noreply@acme.test", templates(t)); err == nil {
		t.Error("a directory that is not there is no error")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSpool(dir, "nobody", templates(t)); err == nil {
		t.Error("mails from nobody are no error")
	}
	s, err := NewSpool(dir, "noreply@acme.test", templates(t))
	if err != nil {
		t.Fatal(err)
	}
	m := reset("ann@example.org", "bob@example.org")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Send(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), m)
	if rest, some := Rest(m, err); !some || len(rest.Recipients) != 2 {
		t.Errorf("left are %v after %v", rest.Recipients, err)
	}
}

// TestLog shows the link and hides who it is for.
func TestLog(t *testing.T) {
	var b bytes.Buffer
	l := NewLog(slog.New(slog.NewTextHandler(&b, nil)), templates(t))
	m := example(AdminConfirmation)
	m.Variables["confirm_email"], m.Variables["confirmation_url"] = "ann@example.org", someLink
	if err := l.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	for _, want := range []string{"level=INFO", "part=mail", "mail=admin-confirmation", someLink, "a…@example.org", "User Account Confirmation: a…@example.org"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	if strings.Contains(out, "ann@") {
		t.Errorf("%q names the recipient", out)
	}

	b.Reset()
	pin := example(UserPin)
	pin.Variables["pin"] = "87654"
	if err := l.Send(t.Context(), pin); err != nil || strings.Contains(b.String(), "87654") {
		t.Errorf("%q: %v", b.String(), err)
	}
}

// TestMask goes through odd addresses.
func TestMask(t *testing.T) {
	for address, want := range map[string]string{"ann@example.org": "a…@example.org", "ä@b.c": "ä…@b.c", "@b.c": "…", "": "…", "ann": "…"} {
		if got := Mask(address); got != want {
			t.Errorf("%q is masked as %q, want %q", address, got, want)
		}
	}
}
