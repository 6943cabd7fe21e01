package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/push/mail"
	commands "github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// mailer makes durable tasks of the mails of the API.
type mailer struct{}

// Task implements management.Mailer.
func (mailer) Task(m management.Mail) (commands.NewTask, error) {
	msg := mail.Message{ID: entity.NewID(), Key: mail.Key(m.Key), Variables: m.Variables}
	for _, r := range m.To {
		msg.Recipients = append(msg.Recipients, mail.Recipient{Name: r.Name, Address: r.Address})
	}
	body, err := msg.Append(nil)
	return commands.NewTask{ID: msg.ID, Kind: entity.TaskMail, Priority: entity.Urgent, Body: body}, err
}

// deliverer sends the mails of tasks.
type deliverer struct {
	to  mail.Sender
	log *slog.Logger
}

// Send implements tasks.Sender.
func (d deliverer) Send(ctx context.Context, body []byte) (rest []byte, err error) {
	m, err := mail.Decode(body)
	if err != nil {
		return nil, err
	}
	sent := d.to.Send(ctx, &m)
	var u *mail.Undelivered
	if errors.As(sent, &u) {
		for _, f := range u.Failures {
			if f.Permanent {
				d.log.Warn("mail refused for good", "mail", m.Key, "task", m.ID, "to", mail.Mask(f.Recipient.Address), "error", f.Cause)
			}
		}
	}
	left, some := mail.Rest(&m, sent)
	if !some {
		return nil, sent
	}
	rest, err = left.Append(nil)
	return rest, errors.Join(sent, err)
}
