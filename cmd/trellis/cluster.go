package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/node"
)

// operator speaks to a node's API as the superuser.
type operator struct {
	url      string
	name     string
	password string
}

const operatorTimeout = 30 * time.Second

// flags lets a command be told which node to speak to. The password comes from
// the environment: command lines are public.
func (o *operator) flags(c *cobra.Command) {
	def := os.Getenv(envPrefix + "URL")
	if def == "" {
		def = "http://127.0.0.1:8080"
	}
	c.PersistentFlags().StringVar(&o.url, "url", def, "any node's API (TRELLIS_URL)")
	name := os.Getenv(envPrefix + "SUPERUSER_NAME")
	if name == "" {
		name = defaultSuperuser
	}
	c.PersistentFlags().StringVar(&o.name, "superuser", name, "name of the superuser (TRELLIS_SUPERUSER_NAME); the password is TRELLIS_SUPERUSER_PASSWORD")
}

// do sends a request and decodes the answer's data. What the node refuses is an
// error in its words.
func (o *operator) do(ctx context.Context, method, path string, data any) error {
	return o.doWithin(ctx, operatorTimeout, method, path, data)
}

func (o *operator) doWithin(ctx context.Context, timeout time.Duration, method, path string, data any) error {
	if o.password = os.Getenv(envPrefix + "SUPERUSER_PASSWORD"); o.password == "" {
		return errors.New("set TRELLIS_SUPERUSER_PASSWORD to the superuser's password")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(o.url, "/")+path, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(o.name, o.password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	var answer struct {
		Data        json.RawMessage `json:"data"`
		Error       string          `json:"error"`
		Description string          `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s answers %s: %.200q", o.url, resp.Status, body)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s: %s", o.url, resp.Status, answer.Error, answer.Description)
	}
	if data == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, data)
}

func newCluster() *cobra.Command {
	o := &operator{}
	c := &cobra.Command{Use: "cluster", Short: "See and change the nodes of a cluster"}
	o.flags(c)
	show := func(use, short string, print func(io.Writer, *clusterView)) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			var v clusterView
			if err := o.do(c.Context(), http.MethodGet, "/system/cluster", &v); err != nil {
				return err
			}
			print(c.OutOrStdout(), &v)
			return nil
		}}
	}
	change := func(use, short, long, method, suffix, done string) *cobra.Command {
		var force bool
		cmd := &cobra.Command{Use: use + " NODE", Short: short, Long: long, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			path := "/system/cluster/nodes/" + url.PathEscape(args[0]) + suffix
			if force {
				path += "?force=true"
			}
			var answer struct{ Node string }
			if err := o.do(c.Context(), method, path, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), done+"\n", answer.Node)
			return err
		}}
		if method == http.MethodDelete {
			cmd.Flags().BoolVar(&force, "force", false, "also while it holds replicas: they are made anew from those that are left")
		}
		return cmd
	}
	c.AddCommand(
		show("status", "One look at the whole cluster", func(w io.Writer, v *clusterView) {
			printSummary(w, v)
			printNodes(w, v)
			printPartitions(w, v)
		}),
		show("nodes", "Nodes, their state and what they hold", printNodes),
		show("partitions", "Partitions, their leaders and how far each replica is", printPartitions),
		verifyCommand(o),
		change("drain", "Move a node's replicas to others", `Move a node's replicas to other nodes. It serves on meanwhile; once "trellis cluster nodes"
shows that it holds only the system partition, it can be removed or stopped.`,
			http.MethodPut, "/drain", "%s is being drained"),
		change("activate", "Take a drained node back into service", "Take a drained node back into service.",
			http.MethodPut, "/activate", "%s is active"),
		change("remove", "Remove a node for good", `Remove a node from the cluster for good. It can come back only with an empty data
directory, as a new node.`,
			http.MethodDelete, "", "%s is removed"),
	)
	return c
}

func verifyCommand(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Compare the state hashes of all replicas",
		Long: `Compare the state hashes of all replicas, partition by partition. Every replica
reads its whole state for it. While clients write, replicas are seldom found at
the same log index, and cannot be compared.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all clusterView
			if err := o.do(c.Context(), http.MethodGet, "/system/cluster", &all); err != nil {
				return err
			}
			differ := 0
			for _, p := range all.Partitions {
				var v verification
				if err := o.doWithin(c.Context(), node.VerifyTimeout, http.MethodGet, fmt.Sprintf("/system/cluster/verify/%d", p.Partition), &v); err != nil {
					return err
				}
				if v.Agree {
					fmt.Fprintf(c.OutOrStdout(), "partition %d: %d replicas agree at log index %d, %d keys\n", v.Partition, len(v.Replicas), v.Replicas[0].Applied, v.Replicas[0].Keys)
					continue
				}
				differ++
				fmt.Fprintf(c.OutOrStdout(), "partition %d: replicas do NOT agree\n", v.Partition)
				for _, r := range v.Replicas {
					fmt.Fprintf(c.OutOrStdout(), "  %s: log index %d, %d keys, %s %s\n", r.Node, r.Applied, r.Keys, r.Sum, r.Error)
				}
			}
			if differ > 0 {
				return fmt.Errorf("%d partitions could not be found equal on all their nodes", differ)
			}
			return nil
		},
	}
}

func printSummary(w io.Writer, v *clusterView) {
	ready, leaderless := 0, 0
	for _, n := range v.Nodes {
		if n.Ready {
			ready++
		}
	}
	for _, p := range v.Partitions {
		if p.Leader == "" {
			leaderless++
		}
	}
	fmt.Fprintf(w, "cluster %s, protocol %d: %d of %d nodes ready, %d partitions, %d of them without a leader\n\n",
		v.Cluster, v.Protocol, ready, len(v.Nodes), len(v.Partitions), leaderless)
}

// table prints rows of cells separated by tabs in columns.
func table(w io.Writer, rows func(add func(cells ...any))) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(func(cells ...any) {
		text := make([]string, len(cells))
		for i, c := range cells {
			text[i] = fmt.Sprint(c)
		}
		fmt.Fprintln(t, strings.Join(text, "\t"))
	})
	_ = t.Flush() // what w cannot take, nobody reads
	fmt.Fprintln(w)
}

func printNodes(w io.Writer, v *clusterView) {
	table(w, func(add func(...any)) {
		add("NODE", "STATE", "ALIVE", "READY", "REPLICAS", "LEADS", "ZONE", "VERSION", "CLUSTER ADDRESS", "API", "JOINED")
		for _, n := range v.Nodes {
			add(n.ID, n.State, n.Alive, n.Ready, n.Replicas, n.Leads, n.Zone, n.Version, n.ClusterAddr, n.HTTPAddr, since(n.Joined).String()+" ago")
		}
	})
}

func printPartitions(w io.Writer, v *clusterView) {
	table(w, func(add func(...any)) {
		add("PARTITION", "NODE", "ROLE", "APPLIED", "LAG", "")
		for _, p := range v.Partitions {
			for _, r := range p.Replicas {
				note := ""
				if !r.Wanted {
					note = "leaving"
				}
				add(p.Partition, r.Node, r.Role, r.Applied, r.Lag, note)
			}
		}
	})
}
