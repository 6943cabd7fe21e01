package directory

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// RandomPassword returns a password of 144 random bits.
func RandomPassword() (string, error) {
	var b [18]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// EnsureSuperuser makes sure that the superuser's account exists with this
// password. Without a password an account that exists is left alone, and a new
// one gets a generated password, which is returned: it is stored nowhere else.
// Changing the password of an account ends its tokens. The name is the one of
// the configuration; without a name there is no superuser and nothing to do.
//
// It waits for a majority of the cluster as long as ctx lets it.
func (d *Directory) EnsureSuperuser(ctx context.Context, email, password string) (generated string, err error) {
	var offered string
	for taken := false; ; {
		generated, err = d.ensureSuperuser(ctx, email, password, &offered)
		switch fault.CodeOf(err) {
		case fault.Duplicate: // another node has been faster, or somebody has the address
			if taken {
				return generated, err
			}
			taken = true
		case fault.NoQuorum, fault.Timeout, fault.NotHere:
			if pause(ctx) {
				continue
			}
			return generated, err
		default:
			return generated, err
		}
	}
}

// pause waits before something is tried again; false if ctx ends.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// ensureSuperuser is one try. offered is the password that an earlier one has made
// up, which may have been stored although nobody answered.
func (d *Directory) ensureSuperuser(ctx context.Context, email, password string, offered *string) (generated string, err error) {
	name := d.cfg.SuperuserName
	if name == "" {
		return "", nil
	}
	s, err := d.person(ctx, entity.Management, adminsName, name)
	if err != nil {
		return "", fmt.Errorf("ensure superuser %s: %w", name, err)
	}
	switch {
	case s.found && password == "" && *offered == "":
		return "", nil
	case s.found && password == "":
		same, err := d.passwords.matches(ctx, s.credential.Value, *offered)
		if err != nil || !same {
			return "", err
		}
		return *offered, nil
	case s.found:
		same, err := d.passwords.matches(ctx, s.credential.Value, password)
		if err != nil || same {
			return "", err
		}
	case password == "" && *offered == "":
		if *offered, err = RandomPassword(); err != nil {
			return "", fmt.Errorf("ensure superuser %s: %w", name, err)
		}
		fallthrough
	case password == "":
		password, generated = *offered, *offered
	}
	c, err := d.HashAdminPassword(ctx, password)
	if err != nil {
		return "", fmt.Errorf("ensure superuser %s: %w", name, err)
	}
	if s.found {
		_, err = d.do(ctx, entity.Management, command.SetCredential{Collection: adminsName, Owner: s.entity.ID, Credential: c, RevokeTokens: true})
	} else {
		err = d.createSuperuser(ctx, name, email, c)
	}
	if err != nil {
		return "", fmt.Errorf("ensure superuser %s: %w", name, err)
	}
	return generated, nil
}

func (d *Directory) createSuperuser(ctx context.Context, name, email string, c command.Credential) error {
	record, err := json.Marshal(map[string]any{
		"username": name, "name": "Super User", "email": email, "activated": true, "confirmed": true, "disabled": false,
	})
	if err != nil {
		return err
	}
	id := entity.NewID()
	created, _ := id.Time()
	_, err = d.do(ctx, entity.Management, command.CreateEntities{
		Rules: command.Admins(),
		Items: []command.NewEntity{{ID: id, Created: created, Modified: created, JSON: record, Credentials: []command.Credential{c}}},
	})
	return err
}
