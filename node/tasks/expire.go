package tasks

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// How tokens are looked through.
const (
	sweepEvery  = time.Hour
	sweepMargin = time.Hour // a token stays for so long after it has expired: clocks differ
	sweepKeys   = 20_000    // keys looked at in a step
	sweepRemove = 256       // tokens removed by a step
)

// ExpireTokens removes tokens that have expired, from every partition, once an hour.
func ExpireTokens() Kind {
	return Kind{Name: entity.TaskExpireTokens, Run: expire, EveryPartition: true, Delay: 5 * time.Minute}
}

// expire looks for tokens that have expired, from where the last step ended. The
// body is the key to go on at, without its partition; empty at the start of a sweep.
func expire(ctx context.Context, job *Job) (Step, error) {
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	s := sweep{before: job.Now.Add(-sweepMargin).UnixMilli(), keys: sweepKeys, remove: sweepRemove}
	err = s.run(ctx, view, job.Task.Body)
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	step := job.Keep()
	step.Body = s.rest
	if len(s.found) > 0 {
		step.Effect = command.ExpireTokens{Before: s.before, Tokens: s.found}
		step.Done += uint64(len(s.found))
	}
	if len(s.rest) == 0 {
		step.NotBefore = job.Now.Add(sweepEvery)
	}
	return step, nil
}

// sweep looks for tokens that have expired.
type sweep struct {
	before int64 // ms since the epoch
	keys   int   // to look at, at most
	remove int   // tokens to find, at most
	found  []command.TokenRef
	rest   []byte // key at which to go on, without its partition; nil: there is nothing more
}

func (s *sweep) run(ctx context.Context, v *storage.View, from []byte) (err error) {
	s.rest, err = visitKeys(ctx, v, from, s.keys, keys.TokenRange, func(k, value []byte) (bool, error) {
		app, hash, isToken := keys.DecodeToken(k)
		t, err := entity.DecodeToken(value)
		if err != nil || !isToken {
			return false, fault.New(fault.Corrupt, "partition %d: token at key %x", v.Partition(), k)
		}
		if t.Expires != 0 && t.Expires < s.before {
			s.found = append(s.found, command.TokenRef{App: app, Hash: hash})
		}
		return len(s.found) < s.remove, nil
	})
	return err
}

// visitKeys visits keys of one kind, application by application, from where the last walk
// ended until visit returns false or it has looked at many. rest is where to go on,
// without the partition; nil: there is nothing more.
func visitKeys(
	ctx context.Context, v *storage.View, from []byte, most int,
	kind func(entity.Partition, entity.AppID) (lower, upper []byte), visit func(key, value []byte) (bool, error),
) (rest []byte, err error) {
	p := v.Partition()
	first, _ := keys.AppRange(p, entity.NoApp+1)
	if len(from) > 0 {
		first = append(first[:4], from...)
	}
	it, err := v.Scan(first, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	goOn := true
	looked := 0
	for ok := it.First(); ok; looked++ {
		k := it.Key()
		if looked == most || !goOn {
			return bytes.Clone(k[4:]), ctx.Err()
		}
		app, _ := keys.AppOf(k)
		lower, upper := kind(p, app)
		switch {
		case bytes.Compare(k, lower) < 0:
			ok = it.SeekGE(lower)
			continue
		case bytes.Compare(k, upper) >= 0:
			_, next := keys.AppRange(p, app)
			ok = it.SeekGE(next)
			continue
		}
		if goOn, err = visit(k, it.Value()); err != nil {
			return nil, err
		}
		ok = it.Next()
	}
	return nil, errors.Join(it.Err(), ctx.Err())
}
