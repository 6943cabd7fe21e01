package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/rescue"
	"github.com/trellisdb/trellis/storage"
)

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make a new data directory out of a backup",
		Long: `Make a new data directory out of a backup: that of a cluster of one which holds
all partitions, however many nodes the old one had. It grows by nodes that
--join it. The cluster has a new id, so that it never meets the old one, and the
old keys, so that tokens and cursors stay valid. If the restore fails, or is
killed, no node runs on what it left.`,
		Args: cobra.NoArgs,
	}
	from := cmd.Flags().String("from", "", "the backup; - for standard input")
	dir := cmd.Flags().String("data-dir", "", "directory to make, which must not exist")
	name := cmd.Flags().String("node-id", "", "name of the new node (default: random)")
	_ = cmd.MarkFlagRequired("from") // they exist
	_ = cmd.MarkFlagRequired("data-dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return restore(cmd.Context(), *from, *dir, *name, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	return cmd
}

// restore makes a data directory out of the backup in a file, or on stdin.
func restore(ctx context.Context, from, dir, name string, stdin io.Reader, out io.Writer) error {
	began := time.Now()
	in := &meter{r: stdin}
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		defer f.Close()
		in.r = f
	}
	cfg := rescueConfig(dir, "restore")
	cfg.Storage.NodeName = name
	done, err := rescue.Restore(ctx, cfg, bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fmt.Fprintf(out, `%d partitions of cluster %s, as of %s, restored: %s
This is cluster %s, its node is %s.
Start it: trellis serve --data-dir %s
`, done.Header.Partitions+1, done.Header.Cluster, time.UnixMilli(done.Header.Created).UTC().Format(time.RFC3339), in.rate(began),
		done.Cluster, done.Node, dir)
	return nil
}

// rescueConfig is the configuration of work on a data directory on which no node
// runs.
func rescueConfig(dir, command string) rescue.Config {
	cfg := rescue.Config{Storage: storage.DefaultConfig(dir), Version: version, Protocol: node.Protocol}
	cfg.Storage.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg.Storage.Halt = func(err error) {
		fmt.Fprintf(os.Stderr, "trellis: %s: %v\n", command, err)
		os.Exit(1)
	}
	return cfg
}
