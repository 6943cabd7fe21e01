package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/push/mail"
	commands "github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// sealedMail is the kind of secret that the body of a mail's task is: there are tokens
// in it.
const sealedMail byte = 'm'

// mailer makes durable tasks of the mails of the API.
type mailer struct{ dir *directory.Directory }

// Task implements management.Mailer.
func (m mailer) Task(sent management.Mail) (commands.NewTask, error) {
	msg := mail.Message{ID: entity.NewID(), Key: mail.Key(sent.Key), Variables: sent.Variables}
	for _, r := range sent.To {
		msg.Recipients = append(msg.Recipients, mail.Recipient{Name: r.Name, Address: r.Address})
	}
	body, err := msg.Append(nil)
	if err == nil {
		body, err = m.dir.Seal(msg.ID, sealedMail, body)
	}
	return commands.NewTask{ID: msg.ID, Kind: entity.TaskMail, Priority: entity.Urgent, Body: body}, err
}

// deliverer sends the mails of tasks.
type deliverer struct {
	to   mail.Sender
	late *lateTasks
	log  *slog.Logger
}

// Send implements tasks.Sender.
func (d deliverer) Send(ctx context.Context, task entity.ID, body []byte) (rest []byte, err error) {
	dir := d.late.directory.Load()
	if dir == nil {
		return body, fault.New(fault.Stopping, "the node is starting")
	}
	plain, err := dir.Open(task, sealedMail, body)
	if err != nil {
		return nil, fmt.Errorf("read mail %s: %w", task, err)
	}
	m, err := mail.Decode(plain)
	if err != nil {
		return nil, err
	}
	sent := d.to.Send(ctx, &m)
	var u *mail.Undelivered
	if errors.As(sent, &u) {
		for _, f := range u.Failures {
			if f.Permanent {
				d.log.Warn("mail refused for good", "mail", m.Key, "task", task, "to", mail.Mask(f.Recipient.Address), "error", f.Cause)
			}
		}
	}
	left, some := mail.Rest(&m, sent)
	switch {
	case !some:
		return nil, sent
	case len(left.Recipients) == len(m.Recipients):
		return body, sent
	}
	if rest, err = left.Append(nil); err == nil {
		rest, err = dir.Seal(task, sealedMail, rest)
	}
	return rest, errors.Join(sent, err)
}
