package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/archive"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	backupPath    = "/system/backup"
	backupType    = "application/x-trellis-backup"
	partialSuffix = ".partial" // ends the name of a backup that is not whole yet
)

// sendBackup answers GET /system/backup with all partitions of the cluster.
func sendBackup(req *wire.Request, n *node.Node) (*wire.Reply, error) {
	if req.Method() != http.MethodGet {
		return nil, fault.New(fault.NotAllowed, "only GET is offered here")
	}
	backup, err := n.Backup(req.StreamContext())
	if err != nil {
		return nil, err
	}
	return wire.Stream(backupType, backup), nil
}

func newBackup() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up a running cluster",
		Long: `Back up a running cluster: all partitions, each as it is at a moment after the
command was given, so everything acknowledged before is in the backup. Any node
can be asked. Every checksum is verified on the way; the file gets its name only
when it is whole and on the disk. A backup holds the cluster's keys: keep it as
a secret. "trellis restore" makes a cluster out of it.`,
		Args: cobra.NoArgs,
	}
	o.flags(cmd)
	out := cmd.Flags().String("out", "", "file to write, which must not exist; - for standard output")
	_ = cmd.MarkFlagRequired("out") // it exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return backUp(cmd.Context(), o, *out, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// backUp fetches a backup into a file, or to stdout.
func backUp(ctx context.Context, o *operator, path string, stdout, stderr io.Writer) error {
	if path == "-" {
		return fetchBackup(ctx, o, stdout, stderr)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("back up to %s: it exists already", path), err)
	}
	partial := path + partialSuffix
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	err = fetchBackup(ctx, o, f, stderr)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// fetchBackup writes a backup to w, verifies it on the way and says on stderr
// what it is.
func fetchBackup(ctx context.Context, o *operator, w io.Writer, stderr io.Writer) error {
	began := time.Now()
	if o.password = os.Getenv(envPrefix + "SUPERUSER_PASSWORD"); o.password == "" {
		return errors.New("set TRELLIS_SUPERUSER_PASSWORD to the superuser's password")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.url, "/")+backupPath, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(o.name, o.password)
	resp, err := http.DefaultClient.Do(req) // which has no time-out: a backup takes as long as it takes
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusalOf(o.url, resp)
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	counted := &meter{r: io.TeeReader(resp.Body, buffered)}
	header, err := verifyBackup(ctx, counted)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("back up %s: %w", o.url, err)
	}
	fmt.Fprintf(stderr, "backup of cluster %s: %d partitions, %s\n", header.Cluster, header.Partitions+1, counted.rate(began))
	return nil
}

// refusalOf is what a node says in an answer that is no success.
func refusalOf(url string, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return fmt.Errorf("%s answers %s: %.200q", url, resp.Status, body)
	}
	return fmt.Errorf("%s answers %s: %s: %s", url, resp.Status, answer.Error, answer.Description)
}

// verifyBackup reads a backup to its end and checks all of its sums.
func verifyBackup(ctx context.Context, r io.Reader) (archive.Header, error) {
	in, err := archive.NewReader(r)
	if err != nil {
		return archive.Header{}, err
	}
	for {
		p, content, err := in.Next()
		if errors.Is(err, io.EOF) {
			return in.Header, nil
		}
		if err != nil {
			return in.Header, err
		}
		h, err := storage.VerifyStream(ctx, content, func(_ int, _ int64, table io.Reader) error {
			_, err := io.Copy(io.Discard, table)
			return err
		})
		if err == nil && h.Partition != p {
			err = fault.New(fault.Corrupt, "its content is of partition %d", h.Partition)
		}
		if err != nil {
			return in.Header, fmt.Errorf("partition %d: %w", p, err)
		}
	}
}

// meter counts what is read through it.
type meter struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *meter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// rate says how much was read and how fast.
func (c *meter) rate(since time.Time) string {
	took := time.Since(since)
	return fmt.Sprintf("%d bytes in %s (%.1f MB/s)", c.n, took.Round(time.Millisecond), float64(c.n)/1e6/took.Seconds())
}
