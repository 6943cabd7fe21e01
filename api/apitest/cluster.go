package apitest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/nodetest"
	"github.com/trellisdb/trellis/storage/entity"
)

// Cluster is three servers whose nodes form a cluster, in one process.
type Cluster struct {
	Servers [3]*Server
	orgs    atomic.Int64
}

// OpenCluster starts a cluster on directories below dir, and waits until every node has a
// replica of every partition. The ports are given by tb, which need not outlive it.
func OpenCluster(tb testing.TB, dir string) (*Cluster, error) {
	tb.Helper()
	var gossip, peers [3]string
	for i := range gossip {
		gossip[i], peers[i] = nodetest.FreeAddr(tb), nodetest.FreeAddr(tb)
	}
	c := &Cluster{}
	var errs [3]error
	var starting sync.WaitGroup
	for i := range c.Servers {
		starting.Go(func() {
			c.Servers[i], errs[i] = OpenWith(filepath.Join(dir, fmt.Sprint(i)), Options{Empty: true, Node: func(cfg *node.Config) {
				cfg.Name, cfg.Secret, cfg.Expect = fmt.Sprintf("n%d", i+1), []byte("a secret of the tests"), 3
				cfg.ClusterAddr, cfg.GossipAddr, cfg.Join = peers[i], gossip[i], gossip[:]
			}})
		})
	}
	starting.Wait()
	err := errors.Join(errs[:]...)
	if err == nil {
		err = c.placed()
	}
	if err != nil {
		err = errors.Join(err, c.Close())
	}
	return c, err
}

// placed waits until every node has a replica of every partition and serves.
func (c *Cluster) placed() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, s := range c.Servers {
		for p := entity.System; p <= 2; {
			view, err := s.Node.Applied(p)
			if err == nil && s.Node.Healthy(ctx) == nil {
				p++
			}
			if err == nil {
				err = view.Close()
			}
			if ctx.Err() != nil {
				return fmt.Errorf("wait for partition %d: %w", p, errors.Join(err, ctx.Err()))
			}
			if err != nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	return nil
}

// Organisation makes an organisation of the cluster's, with what Start makes, and returns
// it as a server: each request goes to the next node, whatever those before it did.
func (c *Cluster) Organisation() (*Server, error) {
	name := fmt.Sprintf("org%d", c.orgs.Add(1))
	first := c.Servers[0]
	s := &Server{URL: first.URL, App: "/" + name + "/sandbox", Node: first.Node, Mails: first.Mails, Assets: first.Assets, Data: first.Data, Cluster: c}
	s.dir.Store(first.dir.Load())
	rotate := &rotating{next: first.client.Transport}
	for _, server := range c.Servers {
		at, err := url.Parse(server.URL)
		if err != nil {
			return nil, err
		}
		rotate.hosts = append(rotate.hosts, at.Host)
	}
	client := *first.client
	client.Transport = rotate
	s.client = &client
	return s, s.founded(name, "dana-"+name)
}

// rotating sends each request to the next host. The request says the host that it was
// meant for.
type rotating struct {
	hosts []string
	turn  atomic.Uint64
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	if sent.Host == "" {
		sent.Host = req.URL.Host
	}
	sent.URL.Host = r.hosts[r.turn.Add(1)%uint64(len(r.hosts))]
	return r.next.RoundTrip(sent)
}

// Close ends all servers.
func (c *Cluster) Close() error {
	var errs [3]error
	var ending sync.WaitGroup
	for i, s := range c.Servers {
		if s != nil {
			ending.Go(func() { errs[i] = s.Close() })
		}
	}
	ending.Wait()
	return errors.Join(errs[:]...)
}
