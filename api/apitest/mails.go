package apitest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/push/mail"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Mailbox is a mail.Sender that keeps what it is given, as it would be read.
type Mailbox struct {
	templates *mail.Templates
	mu        struct {
		sync.Mutex
		mails []Mail
		came  chan struct{} // closed when one comes
	}
}

// Mail is a mail as it was sent to one recipient.
type Mail struct {
	Key, To, Subject, Text, Link string
}

func newMailbox() *Mailbox {
	m := &Mailbox{}
	var err error
	if m.templates, err = mail.NewTemplates(nil); err != nil {
		panic(err) // those that come with the program
	}
	m.mu.came = make(chan struct{})
	return m
}

// Send implements mail.Sender.
func (m *Mailbox) Send(_ context.Context, msg *mail.Message) error {
	if err := msg.Check(); err != nil {
		return err
	}
	text, err := m.templates.Render(msg)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, to := range msg.Recipients {
		m.mu.mails = append(m.mu.mails, Mail{Key: string(msg.Key), To: to.Address, Subject: text.Subject, Text: text.Text, Link: text.Link})
	}
	close(m.mu.came)
	m.mu.came = make(chan struct{})
	return nil
}

// All returns what has come so far.
func (m *Mailbox) All() []Mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Mail(nil), m.mu.mails...)
}

// Take waits for a mail with a key to an address, and removes it.
func (m *Mailbox) Take(tb testing.TB, key, to string) Mail {
	tb.Helper()
	deadline := time.After(time.Minute)
	for {
		m.mu.Lock()
		for i, got := range m.mu.mails {
			if got.Key == key && strings.EqualFold(got.To, to) {
				m.mu.mails = append(m.mu.mails[:i], m.mu.mails[i+1:]...)
				m.mu.Unlock()
				return got
			}
		}
		came := m.mu.came
		m.mu.Unlock()
		select {
		case <-came:
		case <-deadline:
			tb.Fatalf("no mail %s to %s, but %v", key, to, m.All())
		}
	}
}

// sealedMail is the kind of secret that the body of a mail's task is.
const sealedMail byte = 'm'

// mailer makes tasks of mails, as cmd/trellis does.
type mailer struct{ dir *directory.Directory }

// Task implements management.Mailer.
func (m mailer) Task(sent management.Mail) (command.NewTask, error) {
	msg := mail.Message{ID: entity.NewID(), Key: mail.Key(sent.Key), Variables: sent.Variables}
	for _, r := range sent.To {
		msg.Recipients = append(msg.Recipients, mail.Recipient{Name: r.Name, Address: r.Address})
	}
	body, err := msg.Append(nil)
	if err == nil {
		body, err = m.dir.Seal(msg.ID, sealedMail, body)
	}
	return command.NewTask{ID: msg.ID, Kind: entity.TaskMail, Priority: entity.Urgent, Body: body}, err
}

// deliverer sends the mails of tasks, once there is a directory to read them with.
type deliverer struct {
	to  mail.Sender
	dir *atomic.Pointer[directory.Directory]
}

// Send implements tasks.Sender.
func (d deliverer) Send(ctx context.Context, task entity.ID, body []byte) ([]byte, error) {
	dir := d.dir.Load()
	if dir == nil {
		return body, fault.New(fault.Stopping, "the node is starting")
	}
	plain, err := dir.Open(task, sealedMail, body)
	if err != nil {
		return nil, err
	}
	m, err := mail.Decode(plain)
	if err != nil {
		return nil, err
	}
	sent := d.to.Send(ctx, &m)
	left, some := mail.Rest(&m, sent)
	switch {
	case !some:
		return nil, sent
	case len(left.Recipients) == len(m.Recipients):
		return body, sent
	}
	rest, err := left.Append(nil)
	if err == nil {
		rest, err = dir.Seal(task, sealedMail, rest)
	}
	return rest, errors.Join(sent, err)
}

// newSite makes the pages; without a challenge they ask nothing.
func newSite(key auth.Key, ask pages.Challenge) (*pages.Site, error) {
	cfg := pages.DefaultConfig(key)
	if cfg.Challenge = ask; ask == nil {
		cfg.Challenge = challenge.None{}
	}
	site, err := pages.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	return site, nil
}
