package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify a data directory while no node uses it",
		Long: `Verify a data directory while no node uses it: every block's checksum, the Raft
log behind the applied index of each partition, and that entities, index, unique
values and counts agree. Prints a line with its digest for each partition that
the directory holds; exits with 1 if anything is wrong. It repairs nothing: what
was under way when the node stopped is finished, as the next start would do.`,
		Args: cobra.NoArgs,
	}
	dir := cmd.Flags().String("data-dir", "trellis-data", "directory of the node's data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return check(cmd.Context(), *dir, cmd.OutOrStdout())
	}
	return cmd
}

// check verifies a data directory and reports to out. It returns errReported
// if something is wrong that it has reported.
func check(ctx context.Context, dir string, out io.Writer) (err error) {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	cfg := storage.DefaultConfig(dir)
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg.Existing = true
	cfg.Halt = func(err error) {
		fmt.Fprintln(os.Stderr, "trellis: check:", err)
		os.Exit(1)
	}
	store, err := storage.Open(cfg)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	view := store.State().View(entity.System)
	cluster, found, err := storage.ReadCluster(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return fmt.Errorf("check: read cluster record: %w", err)
	}
	held, err := store.Partitions() // a node need not hold all, nor know yet how many there are
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	report := func(format string, args ...any) {
		_, werr := fmt.Fprintf(out, format+"\n", args...)
		err = errors.Join(err, werr)
	}
	report("node %s, cluster %s, %d application partitions", store.Identity().NodeID, store.Identity().Cluster, cluster.Partitions)
	if !found {
		report("the cluster record is not in the state yet: it lies in the log of partition 0, if anywhere")
	}
	problems := 0
	for _, p := range held {
		n, perr := checkPartition(ctx, store, p, report)
		problems += n
		if perr != nil {
			problems++
			report("partition %d: %v", p, perr)
		}
		if found && uint32(p) > cluster.Partitions {
			problems++
			report("partition %d: the cluster has no such partition", p)
		}
	}
	if err != nil {
		return err
	}
	if problems > 0 {
		report("%d problems", problems)
		return errReported
	}
	report("clean")
	return nil
}

func checkPartition(ctx context.Context, store *storage.Store, p entity.Partition, report func(string, ...any)) (problems int, err error) {
	view := store.State().View(p)
	defer func() { err = errors.Join(err, view.Close()) }()
	applied, err := view.Applied()
	if err != nil {
		return 0, err
	}
	log, err := raftlog.Verify(store, p, applied)
	if err != nil {
		return 0, err
	}
	rep, err := raftfsm.Check(ctx, view)
	if err != nil {
		return 0, err
	}
	digest, err := store.State().Digest(ctx, p)
	if err != nil {
		return 0, err
	}
	replica, err := store.Replica(p)
	if err != nil {
		return 0, err
	}
	report("partition %d: replica %d, applied %d, log %d to %d, %d keys, digest %x",
		p, replica, applied, log.First, log.Last, digest.Keys, digest.Sum[:8])
	for _, problem := range rep.Problems {
		report("partition %d: %s", p, problem)
	}
	return len(rep.Problems), nil
}
