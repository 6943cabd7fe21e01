package mail

import (
	"context"
	"log/slog"
	"strings"
)

// Log writes what a mail is about, and its link, to the log instead of sending it.
// Whoever reads the log can use the link: it is for installations without a mail
// server, where that is who runs them. Pins and other values are not logged.
type Log struct {
	log       *slog.Logger
	templates *Templates
}

// NewLog returns a sender that writes to log.
func NewLog(log *slog.Logger, t *Templates) *Log {
	return &Log{log: log.With("part", "mail"), templates: t}
}

// Send is that of Sender. It fails only if the message cannot be sent by anybody.
func (l *Log) Send(ctx context.Context, m *Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	shown := *m
	shown.Variables = map[string]string{}
	for name, value := range m.Variables {
		if strings.HasSuffix(name, "email") {
			value = Mask(value)
		}
		shown.Variables[name] = value
	}
	text, err := l.templates.Render(&shown)
	if err != nil {
		return err
	}
	to := make([]string, 0, len(m.Recipients))
	for _, r := range m.Recipients {
		to = append(to, Mask(r.Address))
	}
	attrs := []slog.Attr{slog.String("mail", string(m.Key)), slog.String("id", m.ID.String()), slog.Any("to", to), slog.String("subject", text.Subject)}
	if text.Link != "" {
		attrs = append(attrs, slog.String("link", text.Link))
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "mail not sent: no mail server is configured", attrs...)
	return nil
}
