package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/server"
)

// stand is a cluster that the harness starts to torment it, with applications
// on it.
type stand struct {
	nodes  int
	binary string
	args   []string
	netns  bool
	disks  bool
	clock  bool
	ready  time.Duration
	keep   bool
	seed   uint64

	out      io.Writer
	wanted   int    // applications
	parent   string // of the scratch folder; "" is the system's
	scratch  string
	runs     int // clusters made so far
	password string
	secret   string
	cluster  *cluster.Cluster
	apps     []client.Target
}

// flags adds the flags that describe the cluster.
func (s *stand) flags(f *pflag.FlagSet) {
	f.IntVar(&s.nodes, "nodes", 3, fmt.Sprintf("nodes of the cluster, 1 to %d", cluster.Most))
	f.StringVar(&s.binary, "server", "", "server binary (default: go build ./cmd/trellis)")
	f.StringArrayVar(&s.args, "server-arg", nil, "argument added to \"serve\"; may be repeated")
	f.BoolVar(&s.netns, "netns", false, "a network namespace for each node, for faults of the network (needs root, iproute2 and /dev/net/tun)")
	f.BoolVar(&s.disks, "disks", false, "a file system for each node, for faults of the disk (needs root, loop devices, e2fsprogs and util-linux)")
	f.BoolVar(&s.clock, "clock", false, "a server whose wall clock can be set, for faults of the clock (builds it, with the standard library)")
	f.DurationVar(&s.ready, "ready", 30*time.Second, "how long nodes may take to be ready")
	f.BoolVar(&s.keep, "keep", false, "keep the scratch folder with data directories and logs")
	f.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "seed of everything that is drawn")
}

// open builds the server and makes a cluster with applications.
func (s *stand) open(ctx context.Context, out io.Writer, apps int) error {
	s.out, s.wanted, s.password, s.secret = out, apps, rand.Text(), rand.Text()
	var err error
	if s.scratch, err = os.MkdirTemp(s.parent, "trellis-soak-"); err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	switch {
	case s.clock && s.binary != "":
		return errors.New("--clock builds a server of its own: no --server with it")
	case s.clock:
		s.binary, err = server.BuildClock(ctx, s.scratch)
	case s.binary == "":
		s.binary, err = server.Build(ctx, s.scratch)
	}
	if err != nil {
		return err
	}
	return s.renew(ctx)
}

// renew makes a new cluster, in place of the one there is.
func (s *stand) renew(ctx context.Context) error {
	if s.cluster != nil {
		if err := s.cluster.Close(); err != nil {
			return err
		}
	}
	s.runs++
	var err error
	if s.cluster, err = cluster.New(ctx, s.config()); err != nil && s.netns {
		fmt.Fprintf(s.out, "\nNO NETWORK FAULTS: %v\nGoing on with faults of processes only.\n\n", err)
		s.netns = false
		s.cluster, err = cluster.New(ctx, s.config())
	}
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	s.apps = nil
	for i := range s.wanted {
		t, err := s.prepare(ctx, fmt.Sprintf("app%d", i))
		if err != nil {
			return err
		}
		s.apps = append(s.apps, t)
	}
	return nil
}

// dir is where the cluster's data and logs are.
func (s *stand) dir() string { return filepath.Join(s.scratch, fmt.Sprintf("run%d", s.runs)) }

func (s *stand) config() cluster.Config {
	return cluster.Config{Nodes: s.nodes, Binary: s.binary, Dir: s.dir(), Superuser: "superuser", Password: s.password, Secret: s.secret,
		Args: s.args, Ready: s.ready, Network: s.netns, Disks: s.disks, Seed: s.seed}
}

// start starts all nodes that do not run and waits for all.
func (s *stand) start(ctx context.Context) error {
	if err := s.cluster.StartAll(); err != nil {
		return err
	}
	return s.cluster.WaitAllReady(ctx)
}

// prepare makes an application. A cluster that has just formed may ask to try
// again.
func (s *stand) prepare(ctx context.Context, app string) (client.Target, error) {
	setup := client.Setup{Addr: s.cluster.Addr(0), Org: "soak", App: app, Superuser: "superuser", Password: s.password, Timeout: requestTimeout}
	for end := time.Now().Add(s.ready); ; {
		t, err := client.Prepare(setup)
		if err == nil || client.StatusOf(err) != 503 || time.Now().After(end) {
			return t, err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return t, err
		}
	}
}

// sleep waits, or less if ctx ends, which is an error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// died lists nodes that ended by themselves.
func (s *stand) died() error {
	var err error
	for i := range s.nodes {
		if s.cluster.Died(i) {
			err = errors.Join(err, fmt.Errorf("node %d ended by itself; its log ends: %s", i, s.cluster.LogTail(i)))
		}
	}
	return err
}

// checkData runs "check" on all data directories, when no node runs, and
// compares replicas at the same index. compared counts pairs of replicas.
func (s *stand) checkData(ctx context.Context) (compared int, err error) {
	digests := make([][]server.Digest, s.nodes)
	for i := range s.nodes {
		r, checkErr := s.cluster.Check(ctx, i)
		if checkErr == nil && !r.Clean {
			checkErr = fmt.Errorf("check of node %d is not clean: %s", i, r.Output)
		}
		err = errors.Join(err, checkErr)
		digests[i] = r.Digests
	}
	differences, compared := server.CompareDigests(digests)
	for _, d := range differences {
		err = errors.Join(err, errors.New("replicas differ: "+d))
	}
	return compared, err
}

// compareReplicas asks a node to compare the state hashes of all replicas,
// partition by partition, while nobody writes. A server that does not offer it is
// let be. compared counts replicas beyond the first.
func (s *stand) compareReplicas(ctx context.Context) (compared int, err error) {
	for p := 0; ; p++ {
		v, status, err := s.verifyPartition(ctx, p)
		switch {
		case err != nil:
			return compared, err
		case status == http.StatusNotFound || status == http.StatusNotImplemented:
			return compared, nil // there are no more
		case status != http.StatusOK:
			return compared, fmt.Errorf("compare replicas of partition %d: status %d", p, status)
		case !v.Data.Agree:
			return compared, fmt.Errorf("replicas of partition %d differ: %+v", p, v.Data.Replicas)
		}
		compared += len(v.Data.Replicas) - 1
	}
}

// verdict is what the server answers of a partition's replicas.
type verdict struct {
	Data struct {
		Agree    bool `json:"agree"`
		Replicas []struct {
			Node    string `json:"node"`
			Applied uint64 `json:"applied"`
			Sum     string `json:"sum"`
			Error   string `json:"error"`
		} `json:"replicas"`
	} `json:"data"`
}

func (s *stand) verifyPartition(ctx context.Context, partition int) (v verdict, status int, err error) {
	url := fmt.Sprintf("http://%s/system/cluster/verify/%d", s.cluster.Addr(0), partition)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return v, 0, err
	}
	req.SetBasicAuth("superuser", s.password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, 0, fmt.Errorf("compare replicas: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		err = json.NewDecoder(res.Body).Decode(&v)
	}
	return v, res.StatusCode, err
}

// close ends everything and removes the scratch folder, unless something is
// wrong.
func (s *stand) close(failed bool) error {
	var err error
	if s.cluster != nil {
		err = s.cluster.Close()
	}
	if s.scratch == "" {
		return err
	}
	if s.keep || failed || err != nil {
		fmt.Fprintln(os.Stderr, "bench: kept", s.scratch)
		return err
	}
	return os.RemoveAll(s.scratch)
}
