package cluster

import (
	"errors"
	"time"

	"github.com/trellisdb/trellis/bench/mesh"
)

// ErrNoNetwork is a fault of the network asked of a cluster on loopback.
var ErrNoNetwork = errors.New("the cluster has no network of its own: network faults are not possible")

// Rule makes a rule for what goes from one node to another.
func (c *Cluster) Rule(from, to int, r mesh.Rule) error {
	if c.mesh == nil {
		return ErrNoNetwork
	}
	c.mesh.Set(from, to, r)
	return nil
}

// Cut cuts the link of two nodes in both directions.
func (c *Cluster) Cut(i, j int) error {
	return errors.Join(c.CutOneWay(i, j), c.CutOneWay(j, i))
}

// CutOneWay cuts what goes from one node to another. The way back stays.
func (c *Cluster) CutOneWay(from, to int) error {
	return c.Rule(from, to, mesh.Rule{Cut: true})
}

// Isolate cuts a node off from all others. Clients still reach it.
func (c *Cluster) Isolate(i int) error { return c.around(i, mesh.Rule{Cut: true}) }

// Slow delays and loses what goes between a node and all others, each way.
func (c *Cluster) Slow(i int, delay, jitter time.Duration, loss float64) error {
	return c.around(i, mesh.Rule{Delay: delay, Jitter: jitter, Loss: loss})
}

// around makes a rule for all links of a node, each way.
func (c *Cluster) around(i int, r mesh.Rule) error {
	var err error
	for j := range c.nodes {
		if j != i {
			err = errors.Join(err, c.Rule(i, j, r), c.Rule(j, i, r))
		}
	}
	return err
}

// Everywhere makes a rule for all links.
func (c *Cluster) Everywhere(r mesh.Rule) error {
	var err error
	for i := range c.nodes {
		err = errors.Join(err, c.around(i, r))
	}
	return err
}

// Heal takes all rules away. Without a network there is nothing to heal.
func (c *Cluster) Heal() {
	if c.mesh != nil {
		c.mesh.Heal()
	}
}
