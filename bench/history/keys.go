package history

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// mostUnknown is how many unknown writes a key may have before it is left
// alone: each doubles what the checker has to try.
const mostUnknown = 5

// keyset is the keys clients work on: a few at a time, so that they meet, and
// each for a limited number of operations, so that each can be checked.
type keyset struct {
	perKey int
	mu     struct {
		sync.Mutex
		apps [][]*key // in use, by application
		made int
	}
}

// key is a name in an application's collection.
type key struct {
	app     int
	name    string
	used    int
	unknown int
}

// String names the key in a history.
func (k *key) String() string { return keyName(k.app, k.name) }

func keyName(app int, name string) string { return fmt.Sprintf("app%d/%s", app, name) }

func newKeyset(apps, hot, perKey int) *keyset {
	s := &keyset{perKey: perKey}
	for app := range apps {
		s.mu.apps = append(s.mu.apps, nil)
		for range hot {
			s.mu.apps[app] = append(s.mu.apps[app], s.fresh(app))
		}
	}
	return s
}

// fresh makes a key nobody has used. The caller holds the lock or is alone.
func (s *keyset) fresh(app int) *key {
	s.mu.made++
	return &key{app: app, name: fmt.Sprintf("key-%d", s.mu.made)}
}

// pick draws a key, and puts another in its place if it has been used enough.
func (s *keyset) pick(rng *rand.Rand) *key {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := rng.IntN(len(s.mu.apps))
	i := rng.IntN(len(s.mu.apps[app]))
	k := s.mu.apps[app][i]
	if k.used >= s.perKey || k.unknown >= mostUnknown {
		k = s.fresh(app)
		s.mu.apps[app][i] = k
	}
	k.used++
	return k
}

// doubt notes an unknown write.
func (s *keyset) doubt(k *key) {
	s.mu.Lock()
	k.unknown++
	s.mu.Unlock()
}

// inUse lists the keys of an application that are used now.
func (s *keyset) inUse(app int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, k := range s.mu.apps[app] {
		names = append(names, k.name)
	}
	return names
}
