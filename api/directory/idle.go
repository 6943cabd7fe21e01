package directory

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// usage is what this node knows of the uses of a token. Only tokens whose user has a
// role that ends with idleness have one.
type usage struct {
	mu       sync.Mutex
	last     int64 // ms since the epoch
	longest  int64 // pause between two uses, ms
	recorded int64 // the last use that the token's record says of
}

// recordEvery is into how many parts the pause that a role survives is cut: a use is
// recorded once in a part, and other nodes judge the pause that much too long at most.
const recordEvery = 20

// idle notes a use of the principal's token and reports whether there was a pause
// longer than a limit, in ms, between two uses of it, on whatever node.
func (d *Directory) idle(ctx context.Context, app entity.AppID, p *auth.Principal, limit int64) (bool, error) {
	if p.Token == "" {
		return false, nil
	}
	hash := sha256.Sum256([]byte(p.Token))
	u, _, ok := d.usages.get(hash)
	if !ok {
		u = new(usage)
		d.usages.put(hash, u, 0)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := d.millis()
	if u.last == 0 || now-u.last > limit { // another node may know better
		if err := d.recalled(ctx, app, hash, u); err != nil {
			return false, err
		}
	}
	longer := now-u.last > u.longest
	u.longest = max(u.longest, now-u.last)
	u.last = max(u.last, now)
	if now-u.recorded > limit/recordEvery || (longer && u.longest > limit) {
		if _, err := d.do(ctx, app, command.TouchToken{Hash: hash, Accessed: u.last, Inactive: u.longest}); err != nil {
			return false, err
		}
		u.recorded = u.last
	}
	return u.longest > limit, nil
}

// recalled completes a usage by what the token's record says.
func (d *Directory) recalled(ctx context.Context, app entity.AppID, hash [32]byte, u *usage) error {
	return d.with(ctx, app, func(v *storage.View) error {
		t, ok, err := storage.ReadToken(v, app, hash)
		if err != nil || !ok {
			return wrapRead("read a token", err)
		}
		u.last = max(u.last, t.Accessed, t.Created)
		u.longest = max(u.longest, t.Inactive)
		u.recorded = max(u.recorded, t.Accessed)
		return nil
	})
}
