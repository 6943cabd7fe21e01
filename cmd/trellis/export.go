package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/storage/portable"
)

func newExport() *cobra.Command {
	p := &porter{}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export an application to a file",
		Long: `Export what an application holds, as it is at one moment, to a file of JSON lines:
collections with their settings, entities and their data, connections, memberships,
roles, permissions, feeds and counters. The file gets its name only when it is whole and on the disk; one whose
name ends in .gz is compressed. "trellis import" makes an application of it.

` + signingIn,
		Args: cobra.NoArgs,
	}
	p.flags(cmd)
	out := cmd.Flags().StringP("output", "o", "", "file to write, which must not exist; - for standard output")
	only := cmd.Flags().String("collection", "", "export this collection alone, without connections")
	noData := cmd.Flags().Bool("without-data", false, "leave out the data of entities: files that were uploaded")
	_ = cmd.MarkFlagRequired("output") // it exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		fetch := func(w io.Writer) error { return p.fetchExport(cmd.Context(), *only, *noData, w, cmd.ErrOrStderr()) }
		if *out == "-" {
			return fetch(cmd.OutOrStdout())
		}
		return writeWhole(*out, fetch)
	}
	return cmd
}

// writeWhole writes a file that must not exist, and that has its name only once it is
// whole and on the disk.
func writeWhole(path string, write func(io.Writer) error) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("write %s: it exists already", path), err)
	}
	partial := path + partialSuffix
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if strings.HasSuffix(path, ".gz") {
		z := gzip.NewWriter(f)
		err = errors.Join(write(z), z.Close())
	} else {
		err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// fetchExport writes an export to w, verifies it on the way, and says on stderr what it
// is.
func (p *porter) fetchExport(ctx context.Context, only string, noData bool, w, stderr io.Writer) error {
	began := time.Now()
	query := url.Values{"format": {"ndjson"}}
	if p.credentials {
		query.Set("credentials", "true")
	}
	if noData {
		query.Set("data", "false")
	}
	if only != "" {
		query.Set("collection", only)
	}
	req, err := p.request(ctx, http.MethodGet, nil, query, p.org, p.app, "export")
	if err != nil {
		return err
	}
	req.Header.Set("Accept", portage.LinesType)
	resp, err := http.DefaultClient.Do(req) // which has no time-out: an export takes as long as it takes
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusalOf(p.url, resp)
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	counted := &meter{r: io.TeeReader(resp.Body, buffered)}
	_, end, err := portable.Verify(counted)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("export of %s/%s from %s: %w", p.org, p.app, p.url, err)
	}
	_, err = fmt.Fprintf(stderr, "export of %s/%s: %d collections, %d entities, %d connections and memberships, %d pieces of data, %d of feeds, %d of counters, %s\n",
		p.org, p.app, end.Collections, end.Entities, end.Edges, end.Pieces, end.Feeds, end.Counters, counted.rate(began))
	return err
}
