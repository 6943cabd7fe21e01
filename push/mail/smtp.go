package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Security says how the connection to the mail server is encrypted.
type Security string

// Ways to encrypt. A password never crosses a connection that is not encrypted,
// except to this machine or hashed by SCRAM or CRAM-MD5.
const (
	ImplicitTLS   Security = "tls"           // from the first byte; port 465
	StartTLS      Security = "starttls"      // or no mail; port 587
	Opportunistic Security = "opportunistic" // STARTTLS if the server offers it: no protection from who can change the connection
	Plain         Security = "none"
)

// SMTPConfig is a mail server and how to speak to it. Begin with DefaultSMTPConfig.
type SMTPConfig struct {
	Host     string // name or address, and the name in the server's certificate
	Port     int
	Security Security
	Username string // empty: no sign-in
	Password string
	From     string // "Acme <noreply@example.org>"
	Hello    string // the name this machine gives itself; letters, digits, dots, hyphens
	// Timeout bounds the connection up to the first mail, and each mail.
	Timeout time.Duration
	RootCAs *x509.CertPool // who may vouch for the server; nil: whom the system trusts
}

// DefaultSMTPConfig returns a configuration that lacks only Host and From.
func DefaultSMTPConfig() SMTPConfig {
	return SMTPConfig{Port: 587, Security: StartTLS, Hello: "localhost", Timeout: 20 * time.Second}
}

func (c *SMTPConfig) check() error {
	badName := func(s string) bool {
		return s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	}
	switch {
	case badName(c.Host):
		return fmt.Errorf("mail: %q is no name of a mail server", c.Host)
	case badName(c.Hello):
		return fmt.Errorf("mail: %q is no name this machine can give itself", c.Hello)
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("mail: port is %d, want 1 to 65535", c.Port)
	case c.Timeout <= 0:
		return fmt.Errorf("mail: time-out is %s, want more than 0", c.Timeout)
	case c.Username == "" && c.Password != "":
		return fmt.Errorf("mail: a password without a user name")
	}
	switch c.Security {
	case ImplicitTLS, StartTLS, Opportunistic, Plain:
		return nil
	}
	return fmt.Errorf("mail: security is %q, want %s, %s, %s or %s", c.Security, ImplicitTLS, StartTLS, Opportunistic, Plain)
}

// SMTP sends through a mail server. Each Send has a connection of its own.
type SMTP struct {
	cfg       SMTPConfig
	from      author
	templates *Templates
}

// NewSMTP checks cfg. It does not connect.
func NewSMTP(cfg SMTPConfig, t *Templates) (*SMTP, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	from, err := newAuthor(cfg.From)
	if err != nil {
		return nil, err
	}
	return &SMTP{cfg: cfg, from: from, templates: t}, nil
}

// Send is that of Sender. What the server says of a recipient or of the mail with a
// code 5xx is permanent. All else is not, a refused sign-in or sender included: it
// concerns every mail, and an operator can put it right.
func (s *SMTP) Send(ctx context.Context, m *Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	text, err := s.templates.Render(m)
	if err != nil {
		return err
	}
	session, err := s.dial(ctx)
	if err != nil {
		return undelivered(all(m.Recipients, because(ctx, fmt.Errorf("connect to the mail server %s: %w", s.address(), err))))
	}
	defer session.close()
	var failures []Failure
	for _, to := range m.Recipients {
		if f, failed := s.deliver(ctx, session, s.from.compose(m, text, to, time.Now()), to); failed {
			failures = append(failures, f)
		}
	}
	session.quit()
	return undelivered(failures)
}

// deliver gives the server one mail.
func (s *SMTP) deliver(ctx context.Context, c *session, msg *gomail.Msg, to Recipient) (Failure, bool) {
	err := c.client.SendWithSMTPClient(c.conn, msg)
	if err == nil || msg.IsDelivered() {
		return Failure{}, false // an error after the server has taken the mail is none of the mail's
	}
	f := Failure{Recipient: to, Permanent: isPermanent(err), Cause: because(ctx, masked(err, to))}
	if ctx.Err() == nil {
		// What the server keeps of a mail it refused would mix with the next. If this
		// fails the connection is lost, and the next mail says so.
		_ = c.client.ResetWithSMTPClient(c.conn)
	}
	return f, true
}

// isPermanent tells whether the server said that it will never take this mail.
func isPermanent(err error) bool {
	var sent *gomail.SendError
	if !errors.As(err, &sent) {
		return false
	}
	switch sent.Reason {
	case gomail.ErrSMTPRcptTo, gomail.ErrSMTPData, gomail.ErrSMTPDataClose:
	default:
		return false
	}
	switch code := sent.ErrorCode(); code {
	case 530, 534, 535, 538: // sign in first, or better: of us, not of the recipient
		return false
	default:
		return code >= 500 && code < 600
	}
}

// masked is err without the recipient's address as we know it, for logs and records
// of tasks.
func masked(err error, to Recipient) error {
	return errors.New(strings.ReplaceAll(err.Error(), to.Address, Mask(to.Address)))
}

// because puts the end of ctx before what came of it.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// all makes a failure of each recipient that may be tried again.
func all(to []Recipient, cause error) []Failure {
	failures := make([]Failure, 0, len(to))
	for _, r := range to {
		failures = append(failures, Failure{Recipient: r, Cause: cause})
	}
	return failures
}

func (s *SMTP) address() string { return net.JoinHostPort(s.cfg.Host, strconv.Itoa(s.cfg.Port)) }

// session is a connection to the mail server.
type session struct {
	client *gomail.Client
	conn   *smtp.Client
	raw    net.Conn
	unhook func() bool // stops ctx from closing raw
}

// dial connects, encrypts and signs in. The library heeds ctx only while it
// connects, and leaves the connection open when greeting or sign-in fail; so raw is
// kept, and closed in both cases.
func (s *SMTP) dial(ctx context.Context) (*session, error) {
	tlsConfig := &tls.Config{ServerName: s.cfg.Host, RootCAs: s.cfg.RootCAs, MinVersion: tls.VersionTLS12}
	c := &session{unhook: func() bool { return true }}
	client, err := gomail.NewClient(s.cfg.Host, s.options(tlsConfig, func(dialCtx context.Context, network, _ string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(dialCtx, network, s.address())
		if err != nil {
			return nil, err
		}
		c.raw = raw
		c.unhook = context.AfterFunc(ctx, func() { raw.Close() })
		if s.cfg.Security != ImplicitTLS {
			return raw, nil
		}
		encrypted := tls.Client(raw, tlsConfig)
		return encrypted, encrypted.HandshakeContext(dialCtx)
	})...)
	if err != nil {
		return nil, err
	}
	c.client = client
	if c.conn, err = client.DialToSMTPClientWithContext(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (s *SMTP) options(tlsConfig *tls.Config, dial gomail.DialContextFunc) []gomail.Option {
	policy := map[Security]gomail.TLSPolicy{
		StartTLS: gomail.TLSMandatory, Opportunistic: gomail.TLSOpportunistic, Plain: gomail.NoTLS, ImplicitTLS: gomail.NoTLS,
	}[s.cfg.Security]
	options := []gomail.Option{
		gomail.WithPort(s.cfg.Port),
		gomail.WithHELO(s.cfg.Hello),
		gomail.WithoutNoop(), // it would run before the time-out of its mail begins
		gomail.WithTimeout(s.cfg.Timeout),
		gomail.WithTLSConfig(tlsConfig),
		gomail.WithTLSPolicy(policy),
		gomail.WithDialContextFunc(dial),
	}
	if s.cfg.Username != "" {
		options = append(options,
			gomail.WithUsername(s.cfg.Username), gomail.WithPassword(s.cfg.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	return options
}

// quit says good-bye. All mails are decided; the answer changes nothing.
func (c *session) quit() { _ = c.client.CloseWithSMTPClient(c.conn) }

func (c *session) close() {
	c.unhook()
	if c.raw != nil {
		c.raw.Close()
	}
}
