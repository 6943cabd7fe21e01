package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/limit"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
)

// limitCommand holds the limits as processes; run starts them.
func limitCommand() *cobra.Command {
	c := &cobra.Command{Use: "limit", Short: "What the machine allows: processes that run starts"}
	c.AddCommand(limitHTTPCommand(), limitRaftCommand())
	return c
}

func limitHTTPCommand() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "http",
		Short: "A bare fasthttp handler that answers GET /size/N with N bytes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return limit.ServeHTTP(c.Context(), addr, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "host:port to listen on; printed as the first line")
	return c
}

func limitRaftCommand() *cobra.Command {
	var dir string
	var nodes, entryBytes int
	var plan load.Plan
	c := &cobra.Command{
		Use:   "raft",
		Short: "A hashicorp/raft group on Pebble that commits entries of a size; prints a row as JSON",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			g, err := limit.OpenGroup(c.Context(), dir, nodes)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, g.Close()) }()
			var before server.Usage
			var readErr error
			result, err := g.Commit(c.Context(), plan, entryBytes, func() { before, readErr = server.Read(os.Getpid(), "", "") })
			if err != nil {
				return err
			}
			row := report.NewRow(fmt.Sprintf("limit: %s, %d bytes", commitLimit(nodes), entryBytes), plan, result)
			after, err := server.Read(os.Getpid(), "", "")
			if err := errors.Join(readErr, err); err != nil {
				return err
			}
			row.Spend(before, after, 0)
			return json.NewEncoder(c.OutOrStdout()).Encode(row)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "empty folder for the databases")
	f.IntVar(&nodes, "nodes", 1, "nodes of the group, all in this process")
	f.IntVar(&entryBytes, "bytes", 255, "size of an entry")
	f.IntVar(&plan.Connections, "connections", 1, "entries proposed at the same time")
	f.DurationVar(&plan.WarmUp, "warm-up", time.Second, "unmeasured load before")
	f.DurationVar(&plan.Duration, "duration", 5*time.Second, "length of the measurement")
	f.Uint64Var(&plan.Operations, "operations", 0, "end after so many operations; 0 is no bound")
	return c
}

// commitLimit names the limit of writes to a number of nodes.
func commitLimit(nodes int) string {
	if nodes == 1 {
		return "raft + pebble"
	}
	return fmt.Sprintf("raft + pebble, %d nodes", nodes)
}
