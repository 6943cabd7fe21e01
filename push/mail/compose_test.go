package mail

import (
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"
)

// opened is a mail taken apart by the standard library.
type opened struct {
	header     netmail.Header
	to         *netmail.Address
	text, html string // line ends as \n
}

func open(t testing.TB, raw string) opened {
	t.Helper()
	msg, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("the mail is %s: %v", kind, err)
	}
	to, err := msg.Header.AddressList("To")
	if err != nil || len(to) != 1 {
		t.Fatalf("to %v: %v", to, err)
	}
	o := opened{header: msg.Header, to: to[0]}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	o.text = part(t, parts, "text/plain; charset=UTF-8")
	o.html = part(t, parts, "text/html; charset=UTF-8")
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Fatalf("after the last part: %v", err)
	}
	return o
}

func part(t testing.TB, r *multipart.Reader, kind string) string {
	t.Helper()
	p, err := r.NextRawPart()
	if err != nil || p.Header.Get("Content-Type") != kind || p.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
		t.Fatalf("want %s, got %v: %v", kind, p, err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// FuzzMail states that no value and no name changes the shape of a mail: the same
// headers, the same recipient, two parts, the link last.
func FuzzMail(f *testing.F) {
	f.Add("acme", "Ann", "https://acme.test/?token=1")
	f.Add("x\r\nBcc: a@b.c\r\n\r\n", "=?utf-8?q?=0d=0a?=", "javascript:alert(1)\"'<>&${organization_name}")
	f.Add("\u2028\u202e\x00.\r\n.", "a\r\n\t\"<b@c>,", "\r\n.\r\n")
	all := templates(f)
	from, err := newAuthor("Acme <noreply@acme.test>")
	if err != nil {
		f.Fatal(err)
	}
	want := []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}
	f.Fuzz(func(t *testing.T, organization, name, link string) {
		m := &Message{ID: someID(), Key: AdminUserActivation, Recipients: []Recipient{{Name: name, Address: "ann@example.org"}},
			Variables: map[string]string{"organization_name": organization, "user_email": organization, "activation_url": link}}
		if m.Check() != nil {
			return
		}
		r, err := all.Render(m)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := from.compose(m, r, m.Recipients[0], time.Unix(1700000000, 0)).WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		got := open(t, b.String())
		if headers := slices.Sorted(maps.Keys(got.header)); !slices.Equal(headers, want) {
			t.Errorf("headers %q", headers)
		}
		if got.to.Address != "ann@example.org" {
			t.Errorf("to %q", got.to)
		}
		if !strings.HasSuffix(got.text, strings.TrimSpace(r.Link)) || got.text != r.Text {
			t.Errorf("text %q, want %q", got.text, r.Text)
		}
		if strings.Count(got.html, "<p>") != 3 || strings.Count(got.html, "<a ") != 1 {
			t.Errorf("HTML %q", got.html)
		}
	})
}
