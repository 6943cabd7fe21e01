package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
	"github.com/trellisdb/trellis/bench/workload"
)

// several is the part of the run command that measures a cluster beside the
// single node. Its nodes run only while they are measured: their heartbeats
// would slow what is measured beside them.
type several struct {
	*runner
	stand     stand
	set       *workload.Set
	partition int // of the application
}

// open forms the cluster, fills the collection and finds the partition it is
// in; then the nodes stop.
func (s *several) open(ctx context.Context) error {
	s.stand.binary, s.stand.args, s.stand.ready, s.stand.keep = s.env.binary, s.env.args, s.env.ready, s.env.keep
	if err := s.stand.open(ctx, s.out, 1); err != nil {
		return err
	}
	var err error
	if s.set, err = workload.Prepare(ctx, s.stand.apps[0], s.contents()); err != nil {
		return err
	}
	if s.partition, err = locate(s.stand.cluster, s.stand.apps[0]); err != nil {
		return err
	}
	if s.partition == unknownPartition {
		return errors.New("GET /status does not show which partition the application is in")
	}
	s.report.Cluster = &report.Cluster{Nodes: s.stand.nodes}
	return s.stand.cluster.StopAll()
}

// level measures everything at a number of connections. limits are those of the
// single node.
func (s *several) level(ctx context.Context, connections int, limits map[workload.Kind]report.Limit) (err error) {
	of := map[workload.Kind]report.Limit{workload.GetID: limits[workload.GetID], workload.GetIDStale: limits[workload.GetID]}
	if s.limits {
		row, err := s.commit(ctx, connections, s.stand.nodes)
		if err != nil {
			return fmt.Errorf("raft and pebble of %d nodes alone: %w", s.stand.nodes, err)
		}
		limit := report.Limit{Name: commitLimit(s.stand.nodes), Connections: connections, Throughput: row.Throughput}
		of[workload.Create], of[workload.Update] = limit, limit
		s.note(report.ClusterRow{Row: row}, fmt.Sprintf("limit: %s, %d bytes", commitLimit(1), data.EntityBytes))
	}
	if err := s.stand.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stand.died(), s.stand.cluster.StopAll()) }()
	for _, kind := range workload.ClusterKinds() {
		if !s.wanted(kind) {
			continue
		}
		for _, through := range []string{report.Leader, report.Follower} {
			err := s.loops(connections, func(plan load.Plan) (report.Row, error) {
				row, err := s.drive(ctx, kind, through, plan)
				if err != nil {
					return row.Row, err
				}
				row.Against(of[kind])
				s.note(row, base(kind))
				return row.Row, nil
			})
			if err != nil {
				return fmt.Errorf("%s through the %s over %d connections: %w", kind, through, connections, err)
			}
		}
	}
	return nil
}

// wanted tells whether a workload is among those asked for. A stale read goes
// with the other.
func (s *several) wanted(kind workload.Kind) bool {
	return len(s.workloads) == 0 || slices.Contains(s.workloads, string(kind)) || slices.Contains(s.workloads, base(kind))
}

// base is the single node's workload that one of the cluster is compared with: a
// node alone gains nothing from a stale read.
func base(kind workload.Kind) string {
	if kind == workload.GetIDStale {
		kind = workload.GetID
	}
	return string(kind)
}

// note compares a row with one of the single node and adds it to the report.
func (s *several) note(row report.ClusterRow, one string) {
	if single, found := s.report.Closed(one, row.Connections); found {
		row.Compare(single)
	}
	s.report.Cluster.Rows = append(s.report.Cluster.Rows, row)
	progress(row.Row, row.Through)
}

// drive runs one workload once, and again if the partition's leader moved
// meanwhile: clusters that have just started spread their leaders.
func (s *several) drive(ctx context.Context, kind workload.Kind, through string, plan load.Plan) (report.ClusterRow, error) {
	const tries = 4
	for try := 1; ; try++ {
		nodes, err := s.roles(ctx)
		if err != nil {
			return report.ClusterRow{}, err
		}
		asked := nodes[0]
		if through == report.Follower {
			asked = nodes[1]
		}
		addr := s.stand.cluster.Addr(asked)
		result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return s.set.WorkerAt(addr, kind, i) },
			func() []server.Usage { return s.usages(nodes) })
		if err != nil {
			return report.ClusterRow{}, err
		}
		row := report.ClusterRow{Row: report.NewRow(string(kind), plan, result), Through: through}
		row.Spend(nodes, spent.before, spent.after, spent.client)
		after, err := s.roles(ctx)
		if err != nil {
			return row, err
		}
		if row.LeaderMoved = after[0] != nodes[0]; !row.LeaderMoved || try == tries {
			return row, nil
		}
	}
}

// usages reads what nodes have used, none if one does not say.
func (s *several) usages(nodes []int) []server.Usage {
	var all []server.Usage
	for _, i := range nodes {
		u, err := s.stand.cluster.Usage(i, s.env.metricsPath)
		if err != nil {
			return nil
		}
		all = append(all, u)
	}
	return all
}

// roles waits until the partition has a leader and gives it, then a follower,
// then the other nodes.
func (s *several) roles(ctx context.Context) ([]int, error) {
	for end := time.Now().Add(s.stand.ready); ; {
		replicas := s.stand.cluster.Replicas()
		if leader, known := cluster.FindLeader(replicas, s.partition); known {
			if nodes, found := arrange(replicas, s.partition, leader); found {
				return nodes, nil
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("nobody leads partition %d, or nobody follows: %v", s.partition, replicas)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// arrange puts the leader first, behind it the next node with a replica of the
// partition, then the others.
func arrange(replicas [][]cluster.Replica, partition, leader int) (nodes []int, found bool) {
	nodes = []int{leader}
	for i := 1; i < len(replicas); i++ {
		node := (leader + i) % len(replicas)
		holds := slices.ContainsFunc(replicas[node], func(r cluster.Replica) bool { return r.Partition == partition })
		if holds && !found {
			nodes, found = slices.Insert(nodes, 1, node), true
		} else {
			nodes = append(nodes, node)
		}
	}
	return nodes, found
}
