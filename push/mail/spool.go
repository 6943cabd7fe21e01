package mail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Spool writes each mail as a file, <id>.<digest of the address>.eml, into a
// directory. A mail that is sent twice is one file. Files appear whole and are on
// disk when Send returns; who picks them up removes them.
type Spool struct {
	dir       string
	from      author
	templates *Templates
}

// NewSpool wants a directory that is there. from is that of SMTPConfig.
func NewSpool(dir, from string, t *Templates) (*Spool, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("mail: spool: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("mail: spool: %s is not a directory", dir)
	}
	author, err := newAuthor(from)
	if err != nil {
		return nil, err
	}
	return &Spool{dir: dir, from: author, templates: t}, nil
}

// Send is that of Sender. No failure is permanent.
func (s *Spool) Send(ctx context.Context, m *Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	text, err := s.templates.Render(m)
	if err != nil {
		return err
	}
	var failures []Failure
	for _, to := range m.Recipients {
		err := ctx.Err()
		if err == nil {
			err = s.write(m, text, to)
		}
		if err != nil {
			failures = append(failures, Failure{Recipient: to, Cause: err})
		}
	}
	return undelivered(failures)
}

// write puts a mail in its place in one step: under another name first, whose
// leading dot tells readers to leave it alone.
func (s *Spool) write(m *Message, text Rendered, to Recipient) error {
	name := mailID(m, to) + ".eml"
	f, err := os.CreateTemp(s.dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("spool mail: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing is there once it has been renamed
	_, err = s.from.compose(m, text, to, time.Now()).WriteTo(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, name))
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("spool mail %s: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
