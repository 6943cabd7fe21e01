package mail

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// letter is a mail as the server got it.
type letter struct {
	from, body string
	to         []string
	encrypted  bool
	user       string
}

// post is a mail server on loopback, and what it is told to do.
type post struct {
	host  string
	port  int
	roots *x509.CertPool

	rcpt func(to string) error // nil: every recipient is taken
	data func(n int, body string) error
	mu   struct {
		sync.Mutex
		letters []letter
		tried   int // mails whose body has come
		said    []string
	}
}

// startPost starts a server. edit changes it before it runs.
func startPost(t *testing.T, edit func(*post, *gosmtp.Server), implicit bool) *post {
	t.Helper()
	p := &post{host: "127.0.0.1"}
	certificate, roots := certify(t)
	p.roots = roots
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) { return &visit{post: p, conn: c}, nil }))
	server.Domain = "post.test"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.MaxRecipients = 10
	if edit != nil {
		edit(p, server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	if implicit {
		l = tls.NewListener(l, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	return p
}

func (p *post) letters() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mu.letters)
}

// sender speaks to the server, without encryption unless edit says otherwise.
func (p *post) sender(t *testing.T, edit func(*SMTPConfig)) *SMTP {
	t.Helper()
	cfg := DefaultSMTPConfig()
	cfg.Host, cfg.Port, cfg.RootCAs = p.host, p.port, p.roots
	cfg.Security, cfg.From, cfg.Timeout = Plain, "Acme <noreply@acme.test>", time.Minute
	if edit != nil {
		edit(&cfg)
	}
	s, err := NewSMTP(cfg, templates(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// visit is a connection to the post.
type visit struct {
	post *post
	conn *gosmtp.Conn
	user string
	letter
}

func (v *visit) Reset()        { v.letter = letter{} }
func (v *visit) Logout() error { return nil }

func (v *visit) Mail(from string, _ *gosmtp.MailOptions) error {
	v.from = from
	return nil
}

func (v *visit) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if v.post.rcpt != nil {
		if err := v.post.rcpt(to); err != nil {
			return err
		}
	}
	v.to = append(v.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.post.mu.Lock()
	v.post.mu.tried++
	n := v.post.mu.tried
	v.post.mu.Unlock()
	if v.post.data != nil {
		if err := v.post.data(n, string(body)); err != nil {
			return err
		}
	}
	v.body = string(body)
	_, v.encrypted = v.conn.TLSConnectionState()
	v.letter.user = v.user
	v.post.mu.Lock()
	defer v.post.mu.Unlock()
	v.post.mu.letters = append(v.post.mu.letters, v.letter)
	return nil
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "acme" || password != "s3same" {
			return gosmtp.ErrAuthFailed
		}
		v.user = username
		return nil
	}), nil
}

// certify makes a certificate for 127.0.0.1 and the pool that vouches for it.
func certify(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "post.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func templates(t testing.TB) *Templates {
	t.Helper()
	all, err := NewTemplates(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// someID is the id of messages of tests.
func someID() entity.ID { return entity.ID{15: 7} }

const someLink = "https://acme.test/management/users/0f/resetpw?token=YWMtabc_-123=="

// reset is a message with a link.
func reset(to ...string) *Message {
	m := &Message{ID: someID(), Key: AdminPasswordReset, Variables: map[string]string{"reset_url": someLink}}
	for _, a := range to {
		m.Recipients = append(m.Recipients, Recipient{Address: a})
	}
	return m
}

// TestMailArrives sends to several people through a real server: one mail each, in
// which the link is the last thing of the text part.
func TestMailArrives(t *testing.T) {
	p := startPost(t, nil, false)
	m := reset("ann@example.org", "bob@example.org")
	m.Recipients[0].Name = "Ann Müller"
	if err := p.sender(t, nil).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	letters := p.letters()
	if len(letters) != 2 {
		t.Fatalf("%d mails arrived, want 2", len(letters))
	}
	for i, l := range letters {
		if l.from != "noreply@acme.test" || !slices.Equal(l.to, []string{m.Recipients[i].Address}) {
			t.Errorf("mail %d is from %s to %v", i, l.from, l.to)
		}
		got := open(t, l.body)
		if got.text[len(got.text)-len(someLink):] != someLink {
			t.Errorf("the text part ends with %q", got.text)
		}
		if _, after, _ := strings.Cut(got.text, "token="); after != "YWMtabc_-123==" {
			t.Errorf("after token= stands %q", after)
		}
		if !strings.Contains(got.html, `href="`+someLink+`"`) {
			t.Errorf("no link in the HTML part: %s", got.html)
		}
		if got.header.Get("Subject") != "Password Reset" || got.header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("header %v", got.header)
		}
	}
	if to := open(t, letters[0].body).to; to.Name != "Ann Müller" {
		t.Errorf("the name arrives as %q", to.Name)
	}
}

// TestRetryHasTheSameMessageID lets the server refuse once for the time being: the
// second try is the same mail, and other recipients' mails are others.
func TestRetryHasTheSameMessageID(t *testing.T) {
	var ids []string
	p := startPost(t, func(p *post, _ *gosmtp.Server) {
		p.data = func(n int, body string) error {
			ids = append(ids, open(t, body).header.Get("Message-Id"))
			if n == 1 {
				return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "later"}
			}
			return nil
		}
	}, false)
	s := p.sender(t, nil)
	m := reset("ann@example.org", "bob@example.org")
	err := s.Send(t.Context(), m)
	rest, some := Rest(m, err)
	if !some || len(rest.Recipients) != 1 || rest.Recipients[0].Address != "ann@example.org" {
		t.Fatalf("left are %v after %v", rest.Recipients, err)
	}
	if err := s.Send(t.Context(), &rest); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 3 || ids[0] != ids[2] || ids[0] == ids[1] || !strings.HasSuffix(ids[0], "@acme.test>") {
		t.Errorf("message ids %q", ids)
	}
}

// TestRefusedRecipient: who is refused for good is not tried again, who is refused
// for now is, and the others have their mail.
func TestRefusedRecipient(t *testing.T) {
	p := startPost(t, func(p *post, _ *gosmtp.Server) {
		p.rcpt = func(to string) error {
			switch {
			case strings.HasPrefix(to, "gone"):
				return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user " + to}
			case strings.HasPrefix(to, "full"):
				return &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
			case strings.HasPrefix(to, "relay"):
				return &gosmtp.SMTPError{Code: 530, EnhancedCode: gosmtp.EnhancedCode{5, 7, 0}, Message: "sign in first"}
			}
			return nil
		}
	}, false)
	m := reset("gone@example.org", "ann@example.org", "full@example.org", "relay@example.org", "bob@example.org")
	err := p.sender(t, nil).Send(t.Context(), m)
	var u *Undelivered
	if !errors.As(err, &u) || len(u.Failures) != 3 {
		t.Fatalf("error %v", err)
	}
	for i, want := range []struct {
		to        string
		permanent bool
	}{{"gone@example.org", true}, {"full@example.org", false}, {"relay@example.org", false}} {
		if f := u.Failures[i]; f.Recipient.Address != want.to || f.Permanent != want.permanent {
			t.Errorf("failure %d: %+v", i, f)
		}
	}
	if strings.Contains(err.Error(), "gone@") || !strings.Contains(err.Error(), "g…@example.org") || !strings.Contains(err.Error(), "no such user") {
		t.Errorf("error %q", err)
	}
	if rest, some := Rest(m, err); !some || len(rest.Recipients) != 2 {
		t.Errorf("left are %v", rest.Recipients)
	}
	if n := len(p.letters()); n != 2 {
		t.Errorf("%d mails arrived, want 2", n)
	}
}

// TestRefusedForGoodAfterData: a mail the server does not want is not sent again.
func TestRefusedForGoodAfterData(t *testing.T) {
	p := startPost(t, func(p *post, _ *gosmtp.Server) {
		p.data = func(n int, _ string) error {
			if n == 1 {
				return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "not here"}
			}
			return nil
		}
	}, false)
	m := reset("ann@example.org", "bob@example.org")
	err := p.sender(t, nil).Send(t.Context(), m)
	if _, some := Rest(m, err); err == nil || some {
		t.Errorf("some are left after %v", err)
	}
	if l := p.letters(); len(l) != 1 || l[0].to[0] != "bob@example.org" {
		t.Errorf("arrived: %+v", l)
	}
}

// TestEncryptedAndSignedIn goes through all ways to encrypt, with a password.
func TestEncryptedAndSignedIn(t *testing.T) {
	for _, security := range []Security{StartTLS, ImplicitTLS, Opportunistic} {
		t.Run(string(security), func(t *testing.T) {
			p := startPost(t, nil, security == ImplicitTLS)
			signedIn := func(password string) func(*SMTPConfig) {
				return func(c *SMTPConfig) { c.Security, c.Username, c.Password = security, "acme", password }
			}
			if err := p.sender(t, signedIn("s3same")).Send(t.Context(), reset("ann@example.org")); err != nil {
				t.Fatal(err)
			}
			if l := p.letters(); len(l) != 1 || !l[0].encrypted || l[0].user != "acme" {
				t.Errorf("arrived: %+v", l)
			}

			m := reset("ann@example.org")
			err := p.sender(t, signedIn("wr0ng-s3cret")).Send(t.Context(), m)
			if rest, some := Rest(m, err); !some || len(rest.Recipients) != 1 {
				t.Errorf("a wrong password: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "wr0ng-s3cret") {
				t.Errorf("the password is in %q", err)
			}

			stranger := p.sender(t, func(c *SMTPConfig) { c.Security, c.RootCAs = security, x509.NewCertPool() })
			var unknown x509.UnknownAuthorityError
			if err := stranger.Send(t.Context(), m); !errors.As(err, &unknown) {
				t.Errorf("a server nobody vouches for: %v", err)
			}
			if n := len(p.letters()); n != 1 {
				t.Errorf("%d mails arrived, want 1", n)
			}
		})
	}
}

// TestNoMailWithoutEncryption: where STARTTLS is demanded, a server without it gets
// neither password nor mail.
func TestNoMailWithoutEncryption(t *testing.T) {
	p := startPost(t, func(_ *post, s *gosmtp.Server) { s.TLSConfig, s.AllowInsecureAuth = nil, true }, false)
	m := reset("ann@example.org")
	err := p.sender(t, func(c *SMTPConfig) { c.Security, c.Username, c.Password = StartTLS, "acme", "s3same" }).Send(t.Context(), m)
	if _, some := Rest(m, err); !some {
		t.Errorf("error %v", err)
	}
	if n := len(p.letters()); n != 0 {
		t.Errorf("%d mails arrived", n)
	}
	if err := p.sender(t, func(c *SMTPConfig) { c.Security = Opportunistic }).Send(t.Context(), m); err != nil {
		t.Errorf("opportunistic: %v", err)
	}
}

// raw is a server that does what script says on each connection, as no library would.
func raw(t *testing.T, script func(net.Conn)) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				script(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return &post{host: "127.0.0.1", port: l.Addr().(*net.TCPAddr).Port}
}

// untilData speaks SMTP up to the answer to DATA.
func untilData(c net.Conn) {
	buf := make([]byte, 4096)
	answer := "220 post.test\r\n"
	for {
		if _, err := io.WriteString(c, answer); err != nil || strings.HasPrefix(answer, "354") {
			return
		}
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		answer = "250 ok\r\n"
		if strings.HasPrefix(string(buf[:n]), "DATA") {
			answer = "354 go on\r\n"
		}
	}
}

// scripted speaks SMTP line by line: answer gets each line, and the mail as one after
// a 354. An empty answer hangs up.
func scripted(answer func(line string) string) func(net.Conn) {
	return func(c net.Conn) {
		lines := textproto.NewReader(bufio.NewReader(c))
		say := "220 post.test"
		for say != "" {
			if _, err := io.WriteString(c, say+"\r\n"); err != nil {
				return
			}
			var line string
			var err error
			if strings.HasPrefix(say, "354") {
				var mail []byte
				mail, err = lines.ReadDotBytes()
				line = string(mail)
			} else {
				line, err = lines.ReadLine()
			}
			if err != nil {
				return
			}
			say = answer(line)
		}
	}
}

// TestRefusedMailIsForgotten: after a server has refused DATA, what it knows of that
// mail does not spoil the next.
func TestRefusedMailIsForgotten(t *testing.T) {
	begun, mails := false, 0
	p := raw(t, scripted(func(line string) string {
		switch verb, _, _ := strings.Cut(line, " "); {
		case verb == "MAIL" && begun:
			return "503 another mail has begun"
		case verb == "MAIL":
			begun = true
			mails++
		case verb == "RSET":
			begun = false
		case verb == "DATA" && mails == 1:
			return "451 later"
		case verb == "DATA":
			return "354 go on"
		}
		return "250 ok"
	}))
	m := reset("ann@example.org", "bob@example.org")
	err := p.sender(t, nil).Send(t.Context(), m)
	if rest, some := Rest(m, err); !some || len(rest.Recipients) != 1 || rest.Recipients[0].Address != "ann@example.org" {
		t.Errorf("left are %v after %v", rest.Recipients, err)
	}
}

// TestAcceptedMailIsNotSentAgain: what becomes of the connection after the server has
// taken a mail does not matter to it.
func TestAcceptedMailIsNotSentAgain(t *testing.T) {
	p := raw(t, scripted(func(line string) string {
		switch {
		case line == "DATA":
			return "354 go on"
		case line == "RSET":
			return ""
		}
		return "250 ok"
	}))
	if err := p.sender(t, nil).Send(t.Context(), reset("ann@example.org")); err != nil {
		t.Error(err)
	}
	m := reset("ann@example.org", "bob@example.org")
	err := p.sender(t, nil).Send(t.Context(), m)
	if rest, some := Rest(m, err); !some || len(rest.Recipients) != 1 || rest.Recipients[0].Address != "bob@example.org" {
		t.Errorf("left are %v after %v", rest.Recipients, err)
	}
}

// TestServerDiesInData: nobody knows what became of the mail, so it is tried again.
func TestServerDiesInData(t *testing.T) {
	for name, script := range map[string]func(net.Conn){
		"at once": untilData,
		"after some bytes": func(c net.Conn) {
			untilData(c)
			_, _ = io.ReadFull(c, make([]byte, 20))
		},
		"after the end": func(c net.Conn) {
			untilData(c)
			var got []byte
			buf := make([]byte, 4096)
			for !strings.HasSuffix(string(got), "\r\n.\r\n") {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				got = append(got, buf[:n]...)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := reset("ann@example.org", "bob@example.org")
			err := raw(t, script).sender(t, nil).Send(t.Context(), m)
			if rest, some := Rest(m, err); !some || len(rest.Recipients) != 2 {
				t.Errorf("left are %v after %v", rest.Recipients, err)
			}
		})
	}
}

// TestSilentServer: a server that says nothing, from the start or in the middle, holds
// nobody up beyond the deadline of the context or the time-out.
func TestSilentServer(t *testing.T) {
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, tc := range map[string]struct {
		security Security
		script   func(net.Conn)
	}{
		"no greeting":  {Plain, silent},
		"no handshake": {ImplicitTLS, silent},
		"nothing after DATA": {Plain, func(c net.Conn) {
			untilData(c)
			silent(c)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := raw(t, tc.script)
			m := reset("ann@example.org")
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := p.sender(t, func(c *SMTPConfig) { c.Security, c.Timeout = tc.security, time.Hour }).Send(ctx, m)
			if _, some := Rest(m, err); !some || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the context's deadline: %v", err)
			}
			err = p.sender(t, func(c *SMTPConfig) { c.Security, c.Timeout = tc.security, 100*time.Millisecond }).Send(t.Context(), m)
			if _, some := Rest(m, err); !some {
				t.Errorf("the time-out: %v", err)
			}
		})
	}
}

// TestNoServer: a server that is down is tried again.
func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{host: "127.0.0.1", port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	m := reset("ann@example.org", "bob@example.org")
	err = p.sender(t, nil).Send(t.Context(), m)
	if rest, some := Rest(m, err); !some || len(rest.Recipients) != 2 {
		t.Errorf("left are %v after %v", rest.Recipients, err)
	}
}

// TestInjection tries to make headers and recipients out of names and values.
func TestInjection(t *testing.T) {
	p := startPost(t, nil, false)
	s := p.sender(t, nil)
	const evil = "x\r\nBcc: victim@example.org\r\n\r\n.\r\nMAIL FROM:<a@b.c>\n\x00\u2028</p><script>"
	m := &Message{ID: someID(), Key: OrganizationActivated, Variables: map[string]string{"organization_name": evil},
		Recipients: []Recipient{{Name: evil, Address: "ann@example.org"}}}
	if err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	letters := p.letters()
	if len(letters) != 1 || !slices.Equal(letters[0].to, []string{"ann@example.org"}) {
		t.Fatalf("arrived: %+v", letters)
	}
	got := open(t, letters[0].body)
	if strings.ContainsAny(got.to.Name, "\r\n\x00\u2028") {
		t.Errorf("the name is %q", got.to.Name)
	}
	if got.header.Get("Bcc") != "" || strings.ContainsAny(got.header.Get("Subject"), "\r\n") {
		t.Errorf("header %v", got.header)
	}
	if strings.Contains(got.html, "<script") {
		t.Errorf("HTML part %s", got.html)
	}
	for _, address := range []string{
		"a@example.org>\r\nRCPT TO:<victim@example.org", "a@example.org\nBcc: victim@example.org", "Ann <a@example.org>",
		"a@example.org, victim@example.org", "", "a", "@", "a b@example.org", "a@example.org ", "a@exam\x00ple.org", "a@\xff",
		"<a@example.org>", strings.Repeat("a", 300) + "@example.org",
	} {
		if err := s.Send(t.Context(), reset(address)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("address %q: %v", address, err)
		}
	}
	if n := len(p.letters()); n != 1 {
		t.Errorf("%d mails arrived, want 1", n)
	}
}

// TestManySenders uses one sender from many goroutines.
func TestManySenders(t *testing.T) {
	p := startPost(t, nil, false)
	s := p.sender(t, func(c *SMTPConfig) { c.Security, c.Username, c.Password = StartTLS, "acme", "s3same" })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := s.Send(t.Context(), reset("ann@example.org")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(p.letters()); n != 8 {
		t.Errorf("%d mails arrived, want 8", n)
	}
}

// TestSMTPConfigRefused wants an error for each setting that cannot work.
func TestSMTPConfigRefused(t *testing.T) {
	for name, edit := range map[string]func(*SMTPConfig){
		"no host": func(c *SMTPConfig) { c.Host = "" }, "host of two lines": func(c *SMTPConfig) { c.Host = "a\r\nb" },
		"port": func(c *SMTPConfig) { c.Port = 70000 }, "security": func(c *SMTPConfig) { c.Security = "ssl" },
		"from": func(c *SMTPConfig) { c.From = "noreply" }, "hello": func(c *SMTPConfig) { c.Hello = "a b" },
		"time-out": func(c *SMTPConfig) { c.Timeout = 0 }, "password alone": func(c *SMTPConfig) { c.Password = "x" },
	} {
		cfg := DefaultSMTPConfig()
		cfg.Host, cfg.From = "mail.example.org", "noreply@example.org"
		if _, err := NewSMTP(cfg, templates(t)); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if _, err := NewSMTP(cfg, templates(t)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
