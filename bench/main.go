// Command bench drives a Trellis server over HTTP and reports how fast it is,
// what it costs, and whether it keeps its promises when it is killed.
//
//	go run ./bench run      the workloads, beside the limits of the machine
//	go run ./bench query    shapes of queries by size, and what indexes cost
//	go run ./bench app      activities, feeds, counters and binary data beside entities and files
//	go run ./bench load     a million entities: memory and disk
//	go run ./bench cities   a real data set, paged while others write, restarted
//	go run ./bench kill     kill -9 under load, then every acknowledged write
//	go run ./bench damage   a flipped byte or a torn tail must be noticed
//	go run ./bench soak     faults strike a cluster under load, every promise is checked
//	go run ./bench failover the leader killed again and again: how long writes wait
//	go run ./bench survive  the same during background work, whose end must be right
//
// It speaks HTTP and imports nothing of the server. README.md beside it says
// how to read what it prints.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// root makes the command tree.
func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "bench",
		Short:         "Measure and torment a Trellis server over HTTP",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(runCommand(), queryCommand(), appCommand(), loadCommand(), citiesCommand(), killCommand(), damageCommand(), soakCommand(), failoverCommand(), surviveCommand(), limitCommand())
	return c
}
