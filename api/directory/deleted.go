package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// Properties of an application's record that only the server sets and nobody is shown.
const (
	// RestoreLock is the hash of the password by which a deleted application may be
	// restored.
	RestoreLock = "s:restore"

	serverPrefix = "s:"
)

// DeletedApplication is the record of a deleted application.
type DeletedApplication struct {
	Name string // "org/app", lower case
	Lock string // RestoreLock; empty: none
}

// DeletedApplication returns a deleted application of an organisation; nil if there is
// none.
func (d *Directory) DeletedApplication(ctx context.Context, org, id entity.ID) (gone *DeletedApplication, err error) {
	err = d.with(ctx, entity.Management, func(v *storage.View) error {
		ids, err := storage.Links(v, entity.Management, keys.LinkDeletedApp, org)
		if err != nil || !slices.Contains(ids, id) {
			return wrapRead("list deleted applications of "+org.String(), err)
		}
		e, ok, err := find(v, entity.Management, deletedName, id)
		if err != nil || !ok {
			return err
		}
		record, err := parseRecord(&e)
		if err != nil {
			return err
		}
		gone = &DeletedApplication{Name: strings.ToLower(text(record, "name")), Lock: text(record, RestoreLock)}
		return nil
	})
	return gone, err
}

// HashSecret returns the hash of a secret that is no account's password.
func (d *Directory) HashSecret(ctx context.Context, secret string) (string, error) {
	hash, err := d.passwords.hash(ctx, secret)
	return string(hash), err
}

// SecretIs reports whether a secret is the one that HashSecret has hashed.
func (d *Directory) SecretIs(ctx context.Context, hash, secret string) (bool, error) {
	return d.passwords.matches(ctx, []byte(hash), secret)
}
