package storage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Work is something that takes several steps to change a whole store: a restore
// or a recovery. Between its first step and its last the store is good for nothing
// else.
type Work struct {
	Name    string    // one word
	Cluster entity.ID // to which the store belongs in the end
}

const unfinishedVersion = "trellis unfinished 1"

// AppendWork appends the text of the file that says that work is unfinished.
func AppendWork(dst []byte, w Work) []byte {
	return fmt.Appendf(dst, "%s\n%s\n%s\n", unfinishedVersion, w.Name, w.Cluster)
}

// DecodeWork is the inverse of AppendWork. Anything else is fault.Corrupt.
func DecodeWork(b []byte) (Work, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] != unfinishedVersion || lines[1] == "" || lines[3] != "" {
		return Work{}, fault.New(fault.Corrupt, "file of unfinished work: not of the form %q", unfinishedVersion)
	}
	cluster, ok := entity.ParseID(lines[2])
	if w := (Work{Name: lines[1], Cluster: cluster}); ok && string(AppendWork(nil, w)) == string(b) {
		return w, nil
	}
	return Work{}, fault.New(fault.Corrupt, "file of unfinished work: bad cluster id")
}

// Unfinished returns the work that was begun on the store and not finished.
func (s *Store) Unfinished() (Work, bool, error) {
	b, err := readFile(s.fs, s.path(unfinishedName), maxIdentity)
	if isNotExist(err) {
		return Work{}, false, nil
	}
	if err != nil {
		return Work{}, false, fmt.Errorf("read what is unfinished: %w", err)
	}
	w, err := DecodeWork(b)
	return w, err == nil, err
}

// checkFinished refuses a store on which other work than the one Config names
// has not come to its end.
func (s *Store) checkFinished() error {
	w, found, err := s.Unfinished()
	switch {
	case err != nil:
		return err
	case found && w.Name != s.cfg.Resume:
		return fault.New(fault.Conflict, "a %s of this directory was begun and has not come to its end, it is good for nothing else", w.Name)
	}
	return nil
}

// Begin notes, durably, that work on the store is unfinished, before anything of
// it is done. From now on Open refuses, unless it is told to resume this.
func (s *Store) Begin(w Work) error {
	if err := writeFile(s.fs, s.path(unfinishedName), AppendWork(nil, w)); err != nil {
		return fmt.Errorf("note that a %s has begun: %w", w.Name, err)
	}
	return nil
}

// Finish makes everything durable and ends the work that was begun: the store
// belongs to its cluster, whichever it belonged to before, and can be opened by
// anyone.
func (s *Store) Finish() error {
	w, found, err := s.Unfinished()
	if err == nil && !found {
		err = errors.New("no work was begun on the store")
	}
	if err == nil {
		err = s.state.Flush()
	}
	if err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	s.identity.Lock()
	defer s.identity.Unlock()
	next := s.identity.Identity
	next.Cluster = w.Cluster
	if err := writeIdentity(s.fs, s.path(identityName), next); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	s.identity.Identity = next
	if err := errors.Join(s.fs.Remove(s.path(unfinishedName)), syncDir(s.fs, s.cfg.Dir)); err != nil {
		return fmt.Errorf("finish a %s: %w", w.Name, err)
	}
	return nil
}
