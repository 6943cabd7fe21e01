package cluster

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// statusTimeout bounds a question for the status: a paused node never answers.
const statusTimeout = 400 * time.Millisecond

// leader is the role a node reports for a replica that leads.
const leader = "leader"

// Replica is what GET /status says of one of the node's replicas, in
// status.node.partitions.
type Replica struct {
	Partition int    `json:"partition"`
	Role      string `json:"role"`
	Term      uint64 `json:"term"`
	Applied   uint64 `json:"applied"`
}

// parseReplicas reads an answer to GET /status; none if it does not say.
func parseReplicas(answer []byte) []Replica {
	var envelope struct {
		Status struct {
			Node struct {
				Partitions []Replica `json:"partitions"`
			} `json:"node"`
		} `json:"status"`
	}
	if json.Unmarshal(answer, &envelope) != nil {
		return nil
	}
	return envelope.Status.Node.Partitions
}

// Replicas asks every node for its replicas, by node. One that does not answer
// in time, or does not say, has none.
func (c *Cluster) Replicas() [][]Replica {
	all := make([][]Replica, len(c.nodes))
	var done sync.WaitGroup
	for i, n := range c.nodes {
		if n.process == nil || n.paused {
			continue
		}
		done.Go(func() {
			conn := client.NewConn(n.http, statusTimeout)
			defer conn.Close() //nolint:errcheck // nothing is pending on it
			if _, answer, err := conn.Do(client.AppendRequest(nil, "GET", "/status", n.http, "", nil)); err == nil {
				all[i] = parseReplicas(answer)
			}
		})
	}
	done.Wait()
	return all
}

// AnyPartition stands for whichever partitions there are.
const AnyPartition = -1

// LeaderFunc says which node leads a partition, from what each reports, or that
// nobody says. It is given AnyPartition if no partition is meant.
type LeaderFunc func(replicas [][]Replica, partition int) (node int, known bool)

// FindLeader is the LeaderFunc of this server: the node that says it leads, in
// the newest term if several do. Of all partitions, it is the node that leads
// most.
func FindLeader(replicas [][]Replica, partition int) (node int, known bool) {
	leads := make([]int, len(replicas))
	newest := make(map[int]Replica)
	holder := make(map[int]int)
	for i, own := range replicas {
		for _, r := range own {
			if r.Role != leader || partition != AnyPartition && r.Partition != partition {
				continue
			}
			if other, taken := newest[r.Partition]; !taken || r.Term > other.Term {
				newest[r.Partition], holder[r.Partition] = r, i
			}
		}
	}
	if len(newest) == 0 {
		return 0, false
	}
	for _, i := range holder {
		leads[i]++
	}
	return slices.Index(leads, slices.Max(leads)), true
}

// Busiest is the application partition that applied most between two looks, or
// false if the nodes do not say. Partition 0 is the system's and does not
// count.
func Busiest(before, after [][]Replica) (partition int, known bool) {
	highest := func(replicas [][]Replica) map[int]uint64 {
		applied := make(map[int]uint64)
		for _, own := range replicas {
			for _, r := range own {
				applied[r.Partition] = max(applied[r.Partition], r.Applied)
			}
		}
		return applied
	}
	old, most := highest(before), uint64(0)
	for p, applied := range highest(after) {
		if p == 0 || applied <= old[p] {
			continue
		}
		if grown := applied - old[p]; grown > most || grown == most && p < partition {
			partition, most, known = p, grown, true
		}
	}
	return partition, known
}
