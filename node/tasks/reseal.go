package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// How sealed credentials are looked through.
const (
	resealEvery  = time.Hour
	resealKeys   = 20_000 // keys looked at in a step
	resealChange = 64     // credentials sealed anew by a step
)

// Reseal seals anew, with the newest key, what an older one has sealed: an hour after
// a key was added the older ones have nothing left to open. anew returns a credential
// so sealed, and false if it is already.
func Reseal(anew func(owner entity.ID, kind byte, sealed []byte) ([]byte, bool, error)) Kind {
	r := resealing{anew}
	return Kind{Name: entity.TaskReseal, Run: r.run, EveryPartition: true, Delay: time.Minute}
}

type resealing struct {
	anew func(owner entity.ID, kind byte, sealed []byte) ([]byte, bool, error)
}

// resealed is a credential and what it is to be replaced by.
type resealed struct {
	app           entity.AppID
	owner         entity.ID
	collection    string
	kind          byte
	before, after []byte
}

func (r resealing) run(ctx context.Context, job *Job) (Step, error) {
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	found, rest, err := r.look(ctx, view, job.Task.Body)
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	for i := range found {
		c := &found[i]
		err := job.Propose(ctx, c.app, command.SetCredential{
			Collection: c.collection, Owner: c.owner, Expect: c.before, Credential: command.Credential{Kind: c.kind, Value: c.after},
		})
		switch fault.CodeOf(err) {
		case "", fault.Conflict, fault.ServiceResourceNotFound, fault.NotFound: // changed or gone meanwhile
		default:
			return Step{}, err
		}
	}
	step := job.Keep()
	step.Body = rest
	step.Done += uint64(len(found))
	if len(rest) == 0 {
		step.NotBefore = job.Now.Add(resealEvery)
	}
	return step, nil
}

// look finds credentials that an older key has sealed.
func (r resealing) look(ctx context.Context, v *storage.View, from []byte) (found []resealed, rest []byte, err error) {
	rest, err = visitKeys(ctx, v, from, resealKeys, keys.CredentialsRange, func(k, value []byte) (bool, error) {
		app, owner, kind, ok := keys.DecodeCredential(k)
		if !ok {
			return false, fault.New(fault.Corrupt, "partition %d: credential at key %x", v.Partition(), k)
		}
		if !entity.SealedCredential(kind) {
			return true, nil // hashed, not sealed
		}
		c, err := entity.DecodeCredential(value)
		if err != nil {
			return false, err
		}
		after, changed, err := r.anew(owner, kind, c.Value)
		if err != nil {
			return false, fmt.Errorf("seal the credential of %s anew: %w", owner, err)
		}
		if !changed {
			return true, nil
		}
		collection, _, ok, err := storage.Locate(v, app, owner)
		if err != nil || !ok {
			return true, err
		}
		found = append(found, resealed{app, owner, collection, kind, bytes.Clone(c.Value), after})
		return len(found) < resealChange, nil
	})
	return found, rest, err
}
