package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/storage/portable"
)

func newImport() *cobra.Command {
	im := &importer{}
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Import an application from files",
		Long: `Import what "trellis export" wrote into an application, which must exist: entities
keep their ids and times. What is there already stays as it is; with --replace it
becomes what it is in the file. So do data of entities and counters; activities that are
in a feed stay there. Lines that cannot be imported, for instance because
another entity has a name, are told and do not stop the rest. An import that was
interrupted is finished by running it again.

Files may be compressed by gzip, or be zip files. With --from usergrid they are what
the export of Apache Usergrid wrote; a directory stands for all .json files in it.

` + signingIn,
		Args: cobra.MinimumNArgs(1),
	}
	im.flags(cmd)
	cmd.Flags().StringVar(&im.from, "from", "trellis", "who wrote the files: trellis or usergrid")
	cmd.Flags().BoolVar(&im.replace, "replace", false, "make entities that are there already what they are in the file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		im.stderr = cmd.ErrOrStderr()
		return im.run(cmd.Context(), args)
	}
	return cmd
}

// Bounds of what is sent at a time.
const (
	pieceBytes  = 1 << 20
	pieceLines  = 1000
	shownErrors = 50 // of lines that could not be imported
)

// importer sends files piece by piece.
type importer struct {
	porter
	from    string
	replace bool
	stderr  io.Writer
	sum     imported
}

// imported is what became of lines, as the node counts it.
type imported struct {
	Imported, Existing, Linked, Attached, Had, Listed, Counted, Failed uint64

	Errors []struct {
		Line        uint64
		Error       string
		Description string `json:"error_description"`
	}
}

func (im *importer) run(ctx context.Context, args []string) error {
	if im.from != "trellis" && im.from != "usergrid" {
		return fmt.Errorf("--from is %q, want trellis or usergrid", im.from)
	}
	sources, err := sourcesOf(args, im.from == "usergrid")
	if err != nil {
		return err
	}
	for _, s := range sources { // nothing of a damaged file is imported
		if err := im.verify(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, part := range []string{"entities", "edges"} {
		for _, s := range sources {
			if err := im.send(ctx, s, part); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	fmt.Fprintf(im.stderr, "imported %d entities, %d were there already; %d connections and memberships; data of %d entities, %d had theirs; "+
		"%d activities in feeds; %d parts of counters; %d lines failed\n",
		im.sum.Imported, im.sum.Existing, im.sum.Linked, im.sum.Attached, im.sum.Had, im.sum.Listed, im.sum.Counted, im.sum.Failed)
	if im.sum.Failed > 0 {
		return errReported
	}
	return nil
}

// verify reads a file to its end and refuses one that is damaged, cut, or of another
// kind than it should be.
func (im *importer) verify(s source) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	header, _, err := portable.Verify(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	switch {
	case im.from == "trellis" && header == nil:
		return errors.New("not an export of Trellis: use --from usergrid for one of Usergrid")
	case im.from == "usergrid" && header != nil:
		return errors.New("an export of Trellis, and --from usergrid was given")
	}
	return nil
}

// send sends those lines of a file that are of a part.
func (im *importer) send(ctx context.Context, s source, part string) error {
	in, err := s.open()
	if err != nil {
		return err
	}
	defer in.Close()
	r := portable.NewReader(in)
	piece := &piece{}
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return im.flush(ctx, s, part, piece)
		}
		if err != nil && r.Broken() {
			return err
		}
		switch {
		case err == nil && line.Kind == portable.KindData && part == "entities" && piece.lines > 0:
			// It stands between entities, and not each of them is to be sent by itself.
			err = piece.add([]byte("{}"), r.Place().Number)
		case err == nil && !belongs(line, part, im.from):
			if err := im.flush(ctx, s, part, piece); err != nil {
				return err
			}
			continue
		default: // a line that cannot be read is sent, too: the node says what is wrong with it
			err = piece.add(r.Raw(), r.Place().Number)
		}
		if err != nil {
			return err
		}
		if piece.body.Len() >= pieceBytes || piece.lines >= pieceLines {
			if err := im.flush(ctx, s, part, piece); err != nil {
				return err
			}
		}
	}
}

func belongs(line *portable.Line, part, from string) bool {
	switch line.Kind {
	case portable.KindCollection, portable.KindEntity:
		return part == "entities" || from == "usergrid" && len(line.Edges) > 0
	case portable.KindEdge, portable.KindData, portable.KindFeed, portable.KindCounter:
		return part == "edges"
	}
	return false
}

// piece is a run of lines.
type piece struct {
	body  bytes.Buffer
	first uint64
	lines int
}

func (p *piece) add(raw []byte, number uint64) error {
	if p.lines == 0 {
		p.first = number
	}
	p.lines++
	if err := json.Compact(&p.body, raw); err != nil {
		p.body.Write(bytes.ReplaceAll(raw, []byte("\n"), []byte(" ")))
	}
	return p.body.WriteByte('\n')
}

// flush sends a piece, and shows what is wrong with it.
func (im *importer) flush(ctx context.Context, s source, part string, p *piece) error {
	if p.lines == 0 {
		return nil
	}
	query := url.Values{"part": {part}, "from": {im.from}, "line": {strconv.FormatUint(p.first, 10)}}
	if im.replace {
		query.Set("replace", "true")
	}
	if im.credentials {
		query.Set("credentials", "true")
	}
	var got imported
	if err := im.post(ctx, p.body.Bytes(), query, &got, "management", "orgs", im.org, "apps", im.app, "import"); err != nil {
		return err
	}
	p.body.Reset()
	p.lines = 0
	for _, e := range got.Errors {
		if len(im.sum.Errors) < shownErrors {
			fmt.Fprintf(im.stderr, "%s line %d: %s: %s\n", s.name, e.Line, e.Error, e.Description)
			im.sum.Errors = append(im.sum.Errors, e)
		}
	}
	im.sum.Imported += got.Imported
	im.sum.Existing += got.Existing
	im.sum.Linked += got.Linked
	im.sum.Attached += got.Attached
	im.sum.Had += got.Had
	im.sum.Listed += got.Listed
	im.sum.Counted += got.Counted
	im.sum.Failed += got.Failed
	return nil
}
