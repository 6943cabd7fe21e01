package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/crash"
	"github.com/trellisdb/trellis/bench/server"
)

// damager is the damage command: copies of a killed server's data directory,
// each with one wound, must be refused or answer exactly right.
type damager struct {
	env         environment
	trials      int
	connections int
	seed        uint64
	write       time.Duration
	out         io.Writer

	target client.Target
	model  *crash.Model
	rng    *rand.Rand
}

// What came of a wound.
const (
	refusedStart = "server refused to start"
	noticed      = "noticed while serving"
	onlyCheck    = "answers right, check notices"
	harmless     = "answers right, check clean"
	served       = "SERVED WRONG"
)

func damageCommand() *cobra.Command {
	d := &damager{}
	c := &cobra.Command{
		Use:   "damage",
		Short: "Flip a byte or cut a tail in the data of a killed server: it must be noticed, never served",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d.out = c.OutOrStdout()
			return d.run(c.Context())
		},
	}
	f := c.Flags()
	d.env.ownFlags(f)
	f.IntVar(&d.trials, "trials", 40, "copies that are damaged")
	f.IntVar(&d.connections, "connections", 64, "connections that write before")
	f.Uint64Var(&d.seed, "seed", uint64(time.Now().UnixNano()), "seed of what is written and damaged")
	f.DurationVar(&d.write, "write", 2*time.Second, "how long is written before and after the restart that precedes the kill")
	return c
}

func (d *damager) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, d.env.close()) }()
	fmt.Fprintf(d.out, "seed %d\n", d.seed)
	d.rng = rand.New(rand.NewPCG(d.seed, 1))
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if outcome, detail, err := d.try(ctx, wound{}); err != nil || outcome != harmless {
		return errors.Join(fmt.Errorf("the data without damage: %s: %s", outcome, detail), err)
	}
	counts := make(map[string]int)
	for trial := range d.trials {
		w, err := d.choose()
		if err != nil {
			return err
		}
		outcome, detail, err := d.try(ctx, w)
		if err != nil {
			return fmt.Errorf("trial %d, %s: %w", trial, w, err)
		}
		counts[outcome]++
		fmt.Fprintf(d.out, "trial %d: %s: %s %s\n", trial, w, outcome, detail)
	}
	for _, outcome := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(d.out, "%d × %s\n", counts[outcome], outcome)
	}
	if counts[served] > 0 {
		return fmt.Errorf("seed %d: damage was served %d times", d.seed, counts[served])
	}
	return nil
}

// prepare writes, restarts (so that tables are on disk), writes again, kills.
func (d *damager) prepare(ctx context.Context) error {
	var err error
	if d.target, err = d.env.open(ctx); err != nil {
		return err
	}
	d.model = crash.NewModel(crashCollection, d.seed, d.connections)
	if err := d.writeFor(ctx, 0); err != nil {
		return err
	}
	if err := d.env.stop(); err != nil {
		return err
	}
	if err := d.env.start(ctx); err != nil {
		return err
	}
	if err := d.writeFor(ctx, 1); err != nil {
		return err
	}
	return d.env.kill()
}

func (d *damager) writeFor(ctx context.Context, round int) error {
	writing, stop := context.WithTimeout(ctx, d.write)
	defer stop()
	counts := d.model.Write(writing, d.target, round)
	if d.env.process.Exited() {
		return d.env.withLog(errors.New("the server ended by itself"))
	}
	fmt.Fprintf(d.out, "%d writes acknowledged, %d unanswered\n", counts.Acknowledged, counts.Unanswered)
	return ctx.Err()
}

// wound is one damage to one file; the zero wound does nothing.
type wound struct {
	file   string // below the data directory
	offset int64  // of the byte, or where the file is cut
	xor    byte   // 0 cuts
	size   int64  // of the file before
}

// String describes the wound.
func (w wound) String() string {
	switch {
	case w.file == "":
		return "no damage"
	case w.xor == 0:
		return fmt.Sprintf("%s cut at %d of %d bytes", w.file, w.offset, w.size)
	}
	return fmt.Sprintf("%s byte %d of %d xor %#02x", w.file, w.offset, w.size, w.xor)
}

// inflict damages a copy.
func (w wound) inflict(dir string) error {
	if w.file == "" {
		return nil
	}
	path := filepath.Join(dir, w.file)
	if w.xor == 0 {
		return os.Truncate(path, w.offset)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err = f.ReadAt(b[:], w.offset); err == nil {
		b[0] ^= w.xor
		_, err = f.WriteAt(b[:], w.offset)
	}
	return errors.Join(err, f.Close())
}

// choose draws a wound: any file that is not empty, a flip or a cut.
func (d *damager) choose() (wound, error) {
	var files []wound
	err := filepath.WalkDir(d.env.dataDir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.env.dataDir, path)
		if info.Size() > 0 {
			files = append(files, wound{file: name, size: info.Size()})
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return wound{}, errors.Join(fmt.Errorf("no files in %s", d.env.dataDir), err)
	}
	w := files[d.rng.IntN(len(files))]
	if d.rng.IntN(2) == 0 {
		w.offset = w.size - 1 - d.rng.Int64N(min(w.size, 64<<10))
	} else {
		w.offset, w.xor = d.rng.Int64N(w.size), byte(1+d.rng.IntN(255))
	}
	return w, nil
}

// try damages a copy, checks one and serves another.
func (d *damager) try(ctx context.Context, w wound) (outcome, detail string, err error) {
	checked, running := filepath.Join(d.env.scratch, "checked"), filepath.Join(d.env.scratch, "running")
	for _, dir := range []string{checked, running} {
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(d.env.dataDir)), w.inflict(dir)); err != nil {
			return "", "", fmt.Errorf("copy the data: %w", err)
		}
	}
	check, err := server.Check(ctx, d.env.binary, checked)
	if err != nil {
		return "", "", err
	}
	outcome, detail, err = d.serve(ctx, running)
	switch {
	case err != nil:
		return "", "", err
	case outcome == harmless && !check.Clean:
		return onlyCheck, "(" + lastLine(check.Output) + ")", nil
	case outcome == served && !check.Clean:
		detail += "; check noticed"
	}
	return outcome, detail, nil
}

// serve starts the server on a damaged copy and compares its answers.
func (d *damager) serve(ctx context.Context, dir string) (outcome, detail string, err error) {
	p, err := server.Start(ctx, d.env.config(dir))
	if errors.Is(err, server.ErrExited) {
		return refusedStart, "(" + lastLine(d.env.log(300)) + ")", nil
	}
	if err != nil {
		return "", "", d.env.withLog(err)
	}
	defer func() { err = errors.Join(err, p.Kill()) }()
	found, verifyErr := d.model.Verify(d.target, crash.Depth{Everything: true})
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case verifyErr != nil && (client.StatusOf(verifyErr) >= 500 || p.Exited()):
		return noticed, "(" + verifyErr.Error() + ")", nil
	case verifyErr != nil:
		return served, "(" + verifyErr.Error() + ")", nil
	case len(found.Violations) > 0:
		return served, fmt.Sprintf("(%d times, first: %s)", len(found.Violations), found.Violations[0]), nil
	}
	return harmless, "", nil
}

// lastLine is the last line of a text that holds something.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			return text[i+1:]
		}
	}
	return text
}
