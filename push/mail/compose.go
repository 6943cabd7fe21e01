package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// author is who mails are from.
type author struct {
	address *netmail.Address
	domain  string // of the Message-IDs
}

// newAuthor reads an address such as "Acme <noreply@example.org>".
func newAuthor(from string) (author, error) {
	a, err := netmail.ParseAddress(from)
	if err != nil {
		return author{}, fmt.Errorf("mail: the address %q mails are from: %w", from, err)
	}
	if err := (Recipient{Name: a.Name, Address: a.Address}).check(); err != nil {
		return author{}, fmt.Errorf("mail: the address %q mails are from: %w", from, err)
	}
	_, domain, _ := strings.Cut(a.Address, "@")
	return author{address: a, domain: domain}, nil
}

// compose makes the mail of m to one recipient: text and HTML, UTF-8.
func (a author) compose(m *Message, r Rendered, to Recipient, now time.Time) *gomail.Msg {
	msg := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP), gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(a.address)
	msg.ToMailAddress(&netmail.Address{Name: oneLine(to.Name), Address: to.Address})
	msg.Subject(r.Subject)
	msg.SetDateWithValue(now)
	msg.SetMessageIDWithValue(mailID(m, to) + "@" + a.domain)
	// So that programs do not answer (RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, r.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, r.HTML)
	return msg
}
