package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/seal"
)

// Cluster is what the directory needs of a node.
type Cluster interface {
	// Propose runs a command and returns its outcome. A request id or time of
	// zero is filled in.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	// View opens a linearizable view on the partition of an application.
	View(ctx context.Context, app entity.AppID) (*storage.View, error)
	// Version grows with every change of an application's principals, and for
	// the management application with every change but a new token. It counts
	// what a read within ctx would see.
	Version(ctx context.Context, app entity.AppID) (entity.Version, error)
}

// Config is how a directory works. All fields but TestUsername, Warn and Keys are wanted.
type Config struct {
	SuperuserName  string              // username of the superuser; empty: there is none
	TestUsername   string              // of the test account's admin user; empty: there is none
	Policy         auth.PasswordPolicy // of application users
	AdminPolicy    auth.PasswordPolicy
	ConfirmAdmins  bool // an admin user signs in only once his address is confirmed
	BcryptCost     int
	PasswordSlots  int // passwords hashed or compared at the same time
	PasswordQueue  int // requests that may wait for a slot
	CacheEntries   int // of each cache
	ThrottleAfter  int // wrong passwords of one account before it has to wait
	AddressAfter   int // wrong passwords from one address, before that has to wait
	ThrottleMax    time.Duration
	MaxTokenMillis int64 // longest and default life of a token, ms
	// Warn is told, once for each application that its users come to, that the role
	// default grants everything there; nil: nobody is. Applications that are meant to be
	// open are left out.
	Warn func(app entity.ID)
	// Keys encrypt secrets that are shown again, the newest first. With none of them
	// the cluster's own key does, which lies beside what it encrypts.
	Keys [][]byte
}

// DefaultConfig returns a working configuration without a superuser.
func DefaultConfig() Config {
	return Config{
		Policy:         auth.DefaultPasswordPolicy(),
		AdminPolicy:    auth.DefaultPasswordPolicy(),
		BcryptCost:     10,
		PasswordSlots:  max(1, runtime.GOMAXPROCS(0)/2),
		PasswordQueue:  64,
		CacheEntries:   10_000,
		ThrottleAfter:  10,
		AddressAfter:   100,
		ThrottleMax:    5 * time.Minute,
		MaxTokenMillis: 7 * 24 * 3600 * 1000,
	}
}

// Directory resolves names and credentials. It is safe for concurrent use.
type Directory struct {
	cfg       Config
	cluster   Cluster
	tokenKey  auth.Key
	passwords *passwords
	throttle  *throttle
	mails     *throttle
	now       func() time.Time
	seal      [32]byte // of the keys of remembered credentials, of this process alone
	ring      *seal.Ring

	organizations *cache[string, *Organization]
	applications  *cache[route, *Application]
	numbers       *cache[entity.AppID, entity.ID]
	tokens        *cache[[32]byte, session]
	clients       *cache[[32]byte, *auth.Principal]
	holdings      *cache[holder, holdings]
	grants        *cache[holder, granted]
	seeded        *cache[entity.AppID, struct{}]
	warned        *cache[entity.AppID, struct{}]
	usages        *cache[[32]byte, *usage]
}

// Open makes a directory of a cluster that has its identity. It waits for a majority
// of the cluster as long as ctx lets it. It starts nothing that would have to be closed.
func Open(ctx context.Context, cfg Config, cluster Cluster) (*Directory, error) {
	if cfg.PasswordSlots < 1 || cfg.CacheEntries < 1 || cfg.MaxTokenMillis < 1 || cfg.ThrottleAfter < 1 || cfg.AddressAfter < 1 {
		return nil, fmt.Errorf("directory: configuration %+v has a bound below 1", cfg)
	}
	identity, err := readIdentity(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("directory: read cluster identity: %w", err)
	}
	d := &Directory{
		cfg: cfg, cluster: cluster, now: time.Now,
		tokenKey:      auth.DeriveKey(identity.Key, "token"),
		throttle:      newThrottle(cfg.ThrottleAfter, cfg.AddressAfter, cfg.ThrottleMax, cfg.CacheEntries),
		mails:         newThrottle(mailsOfAccount, mailsOfAddress, time.Hour, cfg.CacheEntries),
		organizations: newCache[string, *Organization](cfg.CacheEntries),
		applications:  newCache[route, *Application](cfg.CacheEntries),
		numbers:       newCache[entity.AppID, entity.ID](cfg.CacheEntries),
		tokens:        newCache[[32]byte, session](cfg.CacheEntries),
		clients:       newCache[[32]byte, *auth.Principal](cfg.CacheEntries),
		holdings:      newCache[holder, holdings](cfg.CacheEntries),
		grants:        newCache[holder, granted](cfg.CacheEntries),
		seeded:        newCache[entity.AppID, struct{}](cfg.CacheEntries),
		warned:        newCache[entity.AppID, struct{}](cfg.CacheEntries),
		usages:        newCache[[32]byte, *usage](cfg.CacheEntries),
	}
	if _, err := rand.Read(d.seal[:]); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	own := auth.DeriveKey(identity.Key, "seal")
	if d.ring, err = seal.NewRing(append(slices.Clone(cfg.Keys), own[:])...); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if d.passwords, err = newPasswords(cfg.BcryptCost, cfg.PasswordSlots, cfg.PasswordQueue); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return d, nil
}

// readIdentity reads the cluster's record, which has been written before.
func readIdentity(ctx context.Context, cluster Cluster) (entity.Cluster, error) {
	for {
		view, err := cluster.View(ctx, entity.Management)
		switch fault.CodeOf(err) {
		case "":
		case fault.NoQuorum, fault.Timeout, fault.NotHere:
			if pause(ctx) {
				continue
			}
			return entity.Cluster{}, err
		default:
			return entity.Cluster{}, err
		}
		identity, ok, err := storage.ReadCluster(view)
		if err = firstError(err, view.Close()); err == nil && !ok {
			err = errors.New("there is none yet")
		}
		return identity, err
	}
}

// Policy returns what is asked of passwords.
func (d *Directory) Policy() auth.PasswordPolicy { return d.cfg.Policy }

// IsSuperuserName reports whether a username is the superuser's.
func (d *Directory) IsSuperuserName(username string) bool {
	return d.cfg.SuperuserName != "" && keys.SameFold(username, d.cfg.SuperuserName)
}

// alwaysEnters reports whether what stands between registering and signing in does not
// stand before an admin user: the superuser, and the one of the test account.
func (d *Directory) alwaysEnters(username string) bool {
	return d.IsSuperuserName(username) || (d.cfg.TestUsername != "" && keys.SameFold(username, d.cfg.TestUsername))
}

// do proposes a command and makes a refusal of it an error.
func (d *Directory) do(ctx context.Context, app entity.AppID, op command.Op) (command.Outcome, error) {
	out, err := d.cluster.Propose(ctx, app, command.Command{App: app, Op: op})
	if err != nil {
		return out, err
	}
	if out.Fault != nil {
		return out, out.Fault
	}
	return out, nil
}

// version is that of the principals of an application, or of the registry.
func (d *Directory) version(ctx context.Context, app entity.AppID) (uint64, error) {
	v, err := d.cluster.Version(ctx, app)
	return v.Principals, err
}

func (d *Directory) millis() int64 { return d.now().UnixMilli() }

// with runs f on a view of an application.
func (d *Directory) with(ctx context.Context, app entity.AppID, f func(*storage.View) error) error {
	view, err := d.cluster.View(ctx, app)
	if err != nil {
		return err
	}
	err = f(view)
	return firstError(err, view.Close())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wrapRead keeps faults as they are and says what was being done to others.
func wrapRead(what string, err error) error {
	if err == nil {
		return nil
	}
	if fault.CodeOf(err) != fault.Uncaught {
		return err
	}
	return fmt.Errorf("directory: %s: %w", what, err)
}
