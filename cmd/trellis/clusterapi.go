package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// systemRoutes answers /system/cluster/…, /system/tasks/… and /system/backup for the superuser,
// and leaves the rest of /system to next.
//
//	GET    /system/backup                       all partitions of the cluster, as a stream
//	GET    /system/cluster                      members, placements, how each node is
//	GET    /system/cluster/verify/{partition}   state hashes of all replicas
//	PUT    /system/cluster/nodes/{node}/drain   move its replicas to others
//	PUT    /system/cluster/nodes/{node}/activate
//	DELETE /system/cluster/nodes/{node}         remove it for good; ?force=true also with replicas
func systemRoutes(next wire.Handler, n *node.Node) wire.Handler {
	return func(req *wire.Request) (*wire.Reply, error) {
		s := req.Segments()
		if len(s) > 0 && strings.EqualFold(s[0], "tasks") && req.Principal.Kind == auth.Superuser {
			return tasksRoute(req, n, s[1:])
		}
		if len(s) == 1 && s[0] == "backup" && req.Principal.Kind == auth.Superuser {
			return sendBackup(req, n)
		}
		if len(s) == 0 || !strings.EqualFold(s[0], "cluster") || req.Principal.Kind != auth.Superuser {
			return next(req)
		}
		switch method := req.Method(); {
		case len(s) == 1 && method == "GET":
			return showCluster(req, n)
		case len(s) == 3 && s[1] == "verify" && method == "GET":
			return verify(req, n, s[2])
		case len(s) == 4 && s[1] == "nodes" && s[3] == "drain" && method == "PUT":
			return setState(req, n, s[2], entity.Draining)
		case len(s) == 4 && s[1] == "nodes" && s[3] == "activate" && method == "PUT":
			return setState(req, n, s[2], entity.Active)
		case len(s) == 3 && s[1] == "nodes" && method == "DELETE":
			return setState(req, n, s[2], entity.Removed)
		}
		return nil, fault.New(fault.NotFound, "no such resource")
	}
}

// verification is what GET /system/cluster/verify answers.
type verification struct {
	Partition uint32               `json:"partition"`
	Agree     bool                 `json:"agree"`
	Replicas  []node.ReplicaDigest `json:"replicas"`
}

func verify(req *wire.Request, n *node.Node, partition string) (*wire.Reply, error) {
	p, err := strconv.ParseUint(partition, 10, 32)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "partition must be a number")
	}
	ctx, cancel := context.WithTimeout(req.StreamContext(), node.VerifyTimeout) // longer than a request may take
	defer cancel()
	v := verification{Partition: uint32(p)}
	if v.Replicas, v.Agree, err = n.Verify(ctx, entity.Partition(p)); err != nil {
		return nil, err
	}
	return wire.Management("verify replicas").Field("data", v), nil
}

func setState(req *wire.Request, n *node.Node, name string, state entity.MemberState) (*wire.Reply, error) {
	force, err := strconv.ParseBool(req.Query("force"))
	if err != nil && req.HasQuery("force") {
		return nil, fault.New(fault.IllegalArgument, "force must be true or false")
	}
	m, err := n.FindMember(req.Context(), name)
	if err == nil {
		err = n.SetMemberState(req.Context(), m.ID, state, force)
	}
	if err != nil {
		return nil, err
	}
	return wire.Management("set state of node").Field("status", "ok").
		Field("data", map[string]string{"node": string(m.ID), "state": state.String()}), nil
}

// clusterView is what GET /system/cluster answers.
type clusterView struct {
	Cluster    string          `json:"cluster"`
	Protocol   uint32          `json:"protocol"`
	Nodes      []nodeView      `json:"nodes"`
	Partitions []partitionView `json:"partitions"`
}

type nodeView struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	State       string `json:"state"` // active, draining or removed
	Alive       bool   `json:"alive"`
	Ready       bool   `json:"ready"`
	DiskFull    bool   `json:"diskFull"`
	ClusterAddr string `json:"clusterAddr"`
	GossipAddr  string `json:"gossipAddr"`
	HTTPAddr    string `json:"httpAddr"`
	Zone        string `json:"zone,omitempty"`
	Version     string `json:"version"`
	Protocol    uint32 `json:"protocol"`
	Joined      int64  `json:"joined"` // ms since the epoch
	Replicas    int    `json:"replicas"`
	Leads       int    `json:"leads"`
}

type partitionView struct {
	Partition uint32        `json:"partition"`
	Leader    string        `json:"leader"` // node, empty: none is known
	Replicas  []replicaView `json:"replicas"`
}

type replicaView struct {
	Node    string `json:"node"`
	Role    string `json:"role"`    // leader, follower, nonvoter, or missing: the node does not say
	Wanted  bool   `json:"wanted"`  // by the table of placements; else it is on its way out
	Applied uint64 `json:"applied"` // log index
	Lag     uint64 `json:"lag"`     // log entries behind the leader's commit index
}

func showCluster(req *wire.Request, n *node.Node) (*wire.Reply, error) {
	s, err := n.ClusterStatus(req.Context())
	if err != nil {
		return nil, err
	}
	return wire.Management("get cluster").Field("data", viewOf(&s)), nil
}

func viewOf(s *node.ClusterStatus) clusterView {
	v := clusterView{Cluster: s.Cluster.String(), Protocol: s.Protocol, Nodes: []nodeView{}, Partitions: []partitionView{}}
	for _, m := range s.Members {
		nv := nodeView{
			ID: string(m.ID), Name: m.ID.Name(), State: m.State.String(), Alive: m.Alive, Zone: m.Zone, Version: m.Version,
			ClusterAddr: m.ClusterAddr, GossipAddr: m.GossipAddr, HTTPAddr: m.HTTPAddr, Protocol: m.Protocol, Joined: m.Joined,
		}
		if m.Report != nil {
			nv.Ready, nv.DiskFull, nv.Replicas = m.Report.Ready, m.Report.DiskFull, len(m.Report.Partitions)
			for _, p := range m.Report.Partitions {
				if p.Role == "leader" {
					nv.Leads++
				}
			}
		}
		v.Nodes = append(v.Nodes, nv)
	}
	for i := range s.Placements {
		v.Partitions = append(v.Partitions, partitionOf(s, &s.Placements[i]))
	}
	return v
}

func partitionOf(s *node.ClusterStatus, place *entity.Placement) partitionView {
	v := partitionView{Partition: uint32(place.Partition), Replicas: []replicaView{}}
	var commit uint64
	said := map[entity.NodeID]bool{}
	for _, m := range s.Members {
		if m.Report == nil {
			continue
		}
		for _, p := range m.Report.Partitions {
			if p.Partition != place.Partition {
				continue
			}
			said[m.ID] = true
			if p.Role == "leader" {
				v.Leader, commit = string(m.ID), p.Commit
			}
			_, wanted := place.Replica(m.ID)
			v.Replicas = append(v.Replicas, replicaView{Node: string(m.ID), Role: p.Role, Wanted: wanted, Applied: p.Applied})
		}
	}
	for _, r := range place.Replicas {
		if !said[r.Node] {
			v.Replicas = append(v.Replicas, replicaView{Node: string(r.Node), Role: "missing", Wanted: true})
		}
	}
	for i := range v.Replicas {
		if r := &v.Replicas[i]; r.Role != "missing" && r.Applied < commit {
			r.Lag = commit - r.Applied
		}
	}
	return v
}

// statusView is the node's part of /status, which anybody may see.
type statusView struct {
	ID         string                `json:"id"`
	Ready      bool                  `json:"ready"` // every replica follows a leader, or leads
	Partitions []partitionStatusView `json:"partitions"`
}

type partitionStatusView struct {
	Partition uint32 `json:"partition"`
	Role      string `json:"role"`   // leader, follower or nonvoter
	Leader    string `json:"leader"` // node, empty: none is known
	Term      uint64 `json:"term"`
	Applied   uint64 `json:"applied"` // log index
	Commit    uint64 `json:"commit"`  // log index
	Fresh     int64  `json:"freshMs"` // age of the last proof that the replica was up to date; -1: none yet
}

func statusOf(r node.Report) statusView {
	v := statusView{ID: string(r.Node), Ready: r.Ready, Partitions: make([]partitionStatusView, len(r.Partitions))}
	for i, p := range r.Partitions {
		leader, _ := entity.ParseServerID(p.Leader)
		v.Partitions[i] = partitionStatusView{
			Partition: uint32(p.Partition), Role: p.Role, Leader: string(leader.Node),
			Term: p.Term, Applied: p.Applied, Commit: p.Commit, Fresh: p.Fresh,
		}
	}
	return v
}

// since is how long ago a time in ms since the epoch is, in whole seconds.
func since(ms int64) time.Duration { return time.Since(time.UnixMilli(ms)).Round(time.Second) }
