package api

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

// status answers /status and what lies below it (spec envelope-and-errors
// section 8).
func (s *Server) status(req *wire.Request, parts *Parts, below []string) (*wire.Reply, error) {
	var status any
	switch {
	case len(below) == 0:
		return s.health(req, parts)
	case len(below) == 1 && below[0] == "heap":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		status = map[string]string{
			"used": megabytes(m.HeapInuse), "free": megabytes(m.HeapIdle - m.HeapReleased),
			"allocated": megabytes(m.HeapSys - m.HeapReleased), "max": megabytes(m.Sys),
		}
	case len(below) == 1 && below[0] == "queue":
		status = map[string]any{"provider": "LOCAL", "depth": 0}
	default:
		return nil, fault.New(fault.NotFound, "no such resource")
	}
	return get(req, wire.Management("").Field("status", status))
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

func (s *Server) health(req *wire.Request, parts *Parts) (*wire.Reply, error) {
	err := parts.Healthy(req.Context())
	color := "GREEN"
	if err != nil {
		color = "RED"
		if ignore, bad := strconv.ParseBool(req.Query("ignore_error")); bad == nil && !ignore {
			return nil, fmt.Errorf("status: %w", err)
		}
	}
	now := time.Now()
	status := healthStatus{
		Started: s.began.UnixMilli(), Uptime: now.Sub(s.began).Milliseconds(), Version: s.cfg.Version,
		Available: err == nil, Store: color, Index: color,
	}
	if parts.Status != nil {
		status.Node = parts.Status()
	}
	reply := wire.Management("").Field("status", status)
	if fault.Is(err, fault.NoQuorum) || fault.Is(err, fault.Stopping) {
		reply.Unavailable() // who balances load must not send anything here
	}
	return get(req, reply)
}

// healthStatus is what /status shows. Its first names are those of Usergrid.
type healthStatus struct {
	Started   int64  `json:"started"` // ms since the epoch
	Uptime    int64  `json:"uptime"`  // ms
	Version   string `json:"version"`
	Available bool   `json:"cassandraAvailable"`
	Store     string `json:"cassandraStatus"`
	Index     string `json:"managementAppIndexStatus"`
	Node      any    `json:"node,omitempty"`
}

func (s *Server) plain(req *wire.Request, parts *Parts, name string) (*wire.Reply, error) {
	switch {
	case name == "testproperties":
		return nil, fault.New(fault.NotAllowed, "not in test mode")
	case name == "metrics" && parts.Metrics == nil:
		return nil, fault.New(fault.NotFound, "no such resource")
	case name == "metrics":
		contentType, body := parts.Metrics()
		return get(req, wire.Raw(200, contentType, body))
	case parts.Healthy(req.Context()) != nil:
		return get(req, wire.Raw(503, "", nil))
	}
	return get(req, wire.Raw(200, "", nil))
}

// applicationStatus answers /{org}/{app}/status: the application was found.
func (s *Server) applicationStatus(req *wire.Request, parts *Parts) (*wire.Reply, error) {
	if err := parts.Healthy(req.Context()); err != nil {
		return nil, fmt.Errorf("status of application %s: %w", req.App.ID, err)
	}
	return get(req, wire.Management("get application status").Field("status", "ok"))
}
