package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/node/rescue"
)

func newRecover() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on alone with what one node has, when a majority is lost for good",
		Long: `Make a cluster of one out of the data directory of one node whose cluster has
lost its majority for good. Run it on the node that has come furthest, and only
when the other nodes will never come back: what they alone have acknowledged is
lost. Without --accept-data-loss it says what it would do and changes nothing.

All of the node's log counts as committed. The cluster has a new id: nodes of
the old one cannot come back to it. It grows again by new nodes that --join it.
What a crash interrupts is completed by running it again.`,
		Args: cobra.NoArgs,
	}
	dir := cmd.Flags().String("data-dir", "", "directory of the surviving node")
	accept := cmd.Flags().String("accept-data-loss", "", "do it: the node's whole id, as this command prints it")
	recreate := cmd.Flags().Bool("recreate-missing", false, "begin partitions anew, and empty, of which this node has nothing")
	_ = cmd.MarkFlagRequired("data-dir") // it exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		defer func() {
			if err != nil && !errors.Is(err, errReported) {
				err = fmt.Errorf("recover: %w", err)
			}
		}()
		return recoverNode(cmd.Context(), *dir, *accept, *recreate, cmd.OutOrStdout())
	}
	return cmd
}

// recoverNode says what a recovery would do, and does it if accept names the
// node.
func recoverNode(ctx context.Context, dir, accept string, recreate bool, out io.Writer) (err error) {
	r, err := rescue.PlanRecovery(ctx, rescueConfig(dir, "recover"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	printRecovery(out, r)
	switch {
	case accept == "":
		fmt.Fprintf(out, "\nNothing was changed. To do it: trellis recover --data-dir %s --accept-data-loss %s\n", dir, r.Node)
		return nil
	case accept != string(r.Node):
		return fmt.Errorf("--accept-data-loss names %q, this is node %s: nothing was changed", accept, r.Node)
	case len(r.Missing) > 0 && !recreate:
		return fmt.Errorf("partitions %v would be lost: find a node that has them, or add --recreate-missing: nothing was changed", r.Missing)
	}
	if err := r.Run(ctx, recreate); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nDone: node %s is a cluster of one. Start it: trellis serve --data-dir %s\n", r.Node, dir)
	return nil
}

func printRecovery(out io.Writer, r *rescue.Recovery) {
	fmt.Fprintf(out, "node %s of cluster %s becomes a cluster of one, with a new id\n", r.Node, r.Cluster)
	if r.Resumes {
		fmt.Fprintln(out, "an earlier recovery did not come to its end, this one completes it")
	}
	for _, h := range r.Held {
		fmt.Fprintln(out, h)
	}
	for _, p := range r.Missing {
		fmt.Fprintf(out, "partition %d: nothing of it is here, LOST\n", p)
	}
	for _, m := range r.Others {
		fmt.Fprintf(out, "node %s: removed for good\n", m.ID)
	}
}
