package collections_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/storage/entity"
)

// three is the cluster that tests of three nodes share, each with an organisation of its
// own. It starts when the first of them needs it.
var three struct {
	sync.Mutex
	cluster *apitest.Cluster
	dir     string
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if three.cluster != nil {
		if err := three.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the three nodes:", err)
			code = max(code, 1)
		}
	}
	if three.dir != "" {
		if err := os.RemoveAll(three.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// everywhere runs a test against a node by itself, and against three, to which its
// requests go in turn: whatever was done through one of them is seen through the next.
func everywhere(t *testing.T, test func(*testing.T, *rest)) {
	t.Run("one node", func(t *testing.T) { test(t, newRest(t)) })
	t.Run("three nodes", func(t *testing.T) { test(t, newThree(t)) })
}

func newThree(t *testing.T) *rest {
	t.Helper()
	t.Parallel()
	three.Lock()
	defer three.Unlock()
	if three.cluster == nil && three.err == nil {
		if three.dir, three.err = os.MkdirTemp("", "trellis-three"); three.err == nil {
			three.cluster, three.err = apitest.OpenCluster(t, three.dir)
		}
	}
	if three.err != nil {
		t.Fatal(three.err)
	}
	s, err := three.cluster.Organisation()
	if err != nil {
		t.Fatal(err)
	}
	return &rest{T: t, Server: s}
}

// soundEverywhere fails the test if trellis check would find anything on one of the
// three nodes.
func (r *rest) soundEverywhere() {
	r.Helper()
	for i, s := range r.Cluster.Servers {
		for p := entity.Partition(1); p <= 2; p++ {
			v, err := s.Node.Applied(p)
			if err != nil {
				r.Fatal(err)
			}
			rep, err := raftfsm.Check(r.Context(), v)
			if err != nil {
				r.Fatal(err)
			}
			for _, problem := range rep.Problems {
				r.Errorf("node %d, partition %d: %s", i+1, p, problem)
			}
			if err := v.Close(); err != nil {
				r.Fatal(err)
			}
		}
	}
}
