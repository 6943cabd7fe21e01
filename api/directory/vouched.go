package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Vouched is a person another service vouches for.
type Vouched struct {
	Service  string // property of the user that keeps the profile: facebook
	ID       string // the service's, for good
	Username string // of the user here; follows from the id
	Name     string
	Email    string // only one that the service has verified
	Picture  string
	Profile  []byte // JSON object
}

// identity is what a user's credential says who came first from a service.
func (p *Vouched) identity() []byte { return []byte(p.Service + "\x00" + p.ID) }

// VouchedUser returns the user of an application that a person is, and creates him when
// the person comes for the first time. Somebody else who has taken the username before
// is not him: InvalidRequest, as for a profile that no user can be made of (A21).
func (d *Directory) VouchedUser(ctx context.Context, app entity.AppID, p *Vouched) (*User, error) {
	profile, err := tidyProfile(p.Profile)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidRequest, "invalid user")
	}
	for range 2 { // the second time if another request made him meanwhile
		u, mine, err := d.vouched(ctx, app, p)
		if err != nil {
			return nil, err
		}
		if u != nil && !mine {
			return nil, fault.New(fault.InvalidRequest, "invalid user")
		}
		if u != nil {
			return d.updateVouched(ctx, app, u, p, profile)
		}
		u, err = d.createVouched(ctx, app, p, profile, p.Email)
		if p.Email != "" && fault.Is(err, fault.Duplicate) { // the address, or the username
			u, err = d.createVouched(ctx, app, p, profile, "")
		}
		if !fault.Is(err, fault.Duplicate) {
			return u, err
		}
	}
	return nil, fault.New(fault.InvalidRequest, "invalid user")
}

// vouched returns the user who has the username, and whether he came from the service.
func (d *Directory) vouched(ctx context.Context, app entity.AppID, p *Vouched) (u *User, mine bool, err error) {
	err = d.with(ctx, app, func(v *storage.View) error {
		e, ok, err := findBy(v, app, "users", "username", p.Username)
		if err != nil || !ok {
			return err
		}
		c, err := secretOf(v, app, e.ID, entity.CredentialIdentity)
		if err != nil {
			return err
		}
		mine = bytes.Equal(c.Value, p.identity())
		u, err = userOf(e)
		return err
	})
	return u, mine, err
}

func (d *Directory) createVouched(ctx context.Context, app entity.AppID, p *Vouched, profile json.RawMessage, email string) (*User, error) {
	properties := map[string]any{"username": p.Username, "activated": true, p.Service: profile}
	for name, value := range map[string]string{"name": p.Name, "email": email, "picture": p.Picture} {
		if value != "" {
			properties[name] = value
		}
	}
	text, err := json.Marshal(properties)
	if err != nil {
		return nil, fmt.Errorf("directory: user of %s: %w", p.Service, err)
	}
	rules, err := userRules()
	if err != nil {
		return nil, err
	}
	now := d.millis()
	out, err := d.do(ctx, app, command.CreateEntities{Rules: rules, Items: []command.NewEntity{{
		ID: entity.NewID(), Created: now, Modified: now, JSON: text,
		Credentials: []command.Credential{{Kind: entity.CredentialIdentity, Value: p.identity()}},
	}}})
	return userOutcome(out, err)
}

func (d *Directory) updateVouched(ctx context.Context, app entity.AppID, u *User, p *Vouched, profile json.RawMessage) (*User, error) {
	patch, err := json.Marshal(map[string]any{p.Service: profile})
	if err != nil {
		return nil, fmt.Errorf("directory: user of %s: %w", p.Service, err)
	}
	rules, err := userRules()
	if err != nil {
		return nil, err
	}
	out, err := d.do(ctx, app, command.UpdateEntity{Rules: rules, Target: command.Target{ID: u.Entity.ID}, Patch: patch})
	return userOutcome(out, err)
}

func userRules() (command.Rules, error) {
	typ, err := schema.Of("users")
	if err != nil {
		return command.Rules{}, err
	}
	return typ.Rules(), nil
}

func userOutcome(out command.Outcome, err error) (*User, error) {
	if err != nil {
		return nil, err
	}
	if len(out.Entities) != 1 {
		return nil, fmt.Errorf("directory: %d entities instead of a user", len(out.Entities))
	}
	return userOf(out.Entities[0])
}

// Bounds of a profile that is kept.
const (
	maxProfileDepth = 8
	maxProfileKeys  = 200
)

// tidyProfile makes of what a service said an object that can be a property: compact,
// with keys unique without case, and neither deep nor wide.
func tidyProfile(raw []byte) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, fmt.Errorf("directory: profile: %w", err)
	}
	left := maxProfileKeys
	return json.Marshal(tidy(object, maxProfileDepth, &left))
}

func tidy(v any, depth int, left *int) any {
	switch v := v.(type) {
	case map[string]any:
		kept := make(map[string]any)
		seen := make(map[string]bool)
		names := slices.Sorted(maps.Keys(v))
		slices.Reverse(names) // of two that differ in case the lower one stays
		for _, key := range names {
			value := v[key]
			folded := strings.ToLower(key)
			if depth == 0 || *left == 0 || value == nil || key == "" || seen[folded] {
				continue
			}
			seen[folded] = true
			*left--
			kept[key] = tidy(value, depth-1, left)
		}
		return kept
	case []any:
		kept := make([]any, 0, len(v))
		for _, value := range v {
			if depth > 0 && *left > 0 && value != nil {
				*left--
				kept = append(kept, tidy(value, depth-1, left))
			}
		}
		return kept
	case json.Number:
		if f, err := v.Float64(); err != nil || f != f {
			return v.String()
		}
		return v
	}
	return v
}
