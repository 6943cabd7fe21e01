package directory

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/seal"
)

// Seal encrypts a secret that belongs to an owner, with the newest key. A sealed value
// opens only as the same kind of the same owner.
func (d *Directory) Seal(owner entity.ID, kind byte, secret []byte) ([]byte, error) {
	var nonce [seal.NonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("directory: seal a secret: %w", err)
	}
	return d.ring.Seal(secret, nonce, sealedAs(owner, kind)), nil
}

// Open decrypts what Seal made. Fault: Corrupt if none of this node's keys opens it.
func (d *Directory) Open(owner entity.ID, kind byte, sealed []byte) ([]byte, error) {
	plain, _, err := d.ring.Open(sealed, sealedAs(owner, kind))
	return plain, err
}

// Reseal returns a sealed value sealed with the newest key, and false if it is.
func (d *Directory) Reseal(owner entity.ID, kind byte, sealed []byte) ([]byte, bool, error) {
	plain, stale, err := d.ring.Open(sealed, sealedAs(owner, kind))
	if err != nil || !stale {
		return nil, false, err
	}
	again, err := d.Seal(owner, kind, plain)
	return again, err == nil, err
}

// sealedAs is the context of a sealed credential.
func sealedAs(owner entity.ID, kind byte) string {
	return "credential\x00" + string(owner[:]) + string(kind)
}

// NewClientSecret makes a client secret of an organisation or application, sealed.
func (d *Directory) NewClientSecret(o auth.Owner, id entity.ID) (command.Credential, error) {
	var entropy [auth.SecretEntropy]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return command.Credential{}, fmt.Errorf("directory: make a client secret: %w", err)
	}
	sealed, err := d.Seal(id, entity.CredentialSecret, []byte(auth.ClientSecret(o, entropy)))
	return command.Credential{Kind: entity.CredentialSecret, Value: sealed}, err
}

// ClientSecret returns the client secret of an organisation or application; empty if
// it has none.
func (d *Directory) ClientSecret(ctx context.Context, id entity.ID) (string, error) {
	var secret string
	err := d.with(ctx, entity.Management, func(v *storage.View) (err error) {
		secret, err = d.clientSecret(v, id)
		return err
	})
	return secret, err
}

func (d *Directory) clientSecret(v *storage.View, id entity.ID) (string, error) {
	c, err := secretOf(v, entity.Management, id, entity.CredentialSecret)
	if err != nil {
		return "", err
	}
	plain, err := d.Open(id, entity.CredentialSecret, c.Value)
	return string(plain), err
}
