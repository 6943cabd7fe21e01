package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A step of the tour is a command and what it prints.
type step struct {
	command string
	want    string
}

// tour reads the steps from the console blocks below the heading "tour" in the
// README: lines that begin with "$ " are commands, with those after a trailing
// backslash or within quotes; the rest is what they print.
func tour(t *testing.T) []step {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(readme), "## A five-minute tour")
	if !found {
		t.Fatal("README.md has no tour")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var steps []step
	for i, block := range strings.Split(text, "```") {
		if i%2 == 0 || !strings.HasPrefix(block, "console\n") {
			continue
		}
		more := false
		for _, line := range strings.Split(strings.TrimPrefix(block, "console\n"), "\n") {
			switch {
			case strings.HasPrefix(line, "$ "):
				steps = append(steps, step{command: strings.TrimPrefix(line, "$ ")})
			case more:
				steps[len(steps)-1].command += "\n" + line
			case line != "":
				steps[len(steps)-1].want += line + "\n"
			}
			more = strings.HasSuffix(line, `\`) ||
				len(steps) > 0 && steps[len(steps)-1].want == "" && strings.Count(steps[len(steps)-1].command, "'")%2 == 1
		}
	}
	return steps
}

// TestReadmeTour runs every command of the tour against a fresh server, in one
// shell, and compares what is printed with what the README says.
func TestReadmeTour(t *testing.T) {
	steps := tour(t)
	if len(steps) < 8 {
		t.Fatalf("the tour has %d steps", len(steps))
	}
	url := startServer(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD=correct-horse")
	const mark = "-- end of step --"
	var script strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho; echo '%s'\n", strings.ReplaceAll(s.command, "http://localhost:8080", url), mark)
	}
	ctx := t.Context()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.WaitDelay = 10 * time.Second
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tour: %v\n%s", err, errOut.String())
	}
	got := strings.Split(string(out), mark+"\n")
	if len(got) != len(steps)+1 {
		t.Fatalf("%d answers to %d commands:\n%s", len(got)-1, len(steps), out)
	}
	for i, s := range steps {
		have := strings.ReplaceAll(strings.TrimSpace(got[i]), url, "http://localhost:8080")
		if err := compare(have, strings.TrimSpace(s.want)); err != nil {
			t.Errorf("%s\nprints   %s\nREADME:  %s\n%v", s.command, have, s.want, err)
		}
	}
}

// compare accepts an answer that differs only where it must from run to run:
// ids, times, tokens, and strings and objects the README cuts with "…".
func compare(got, want string) error {
	var g, w any
	if json.Unmarshal([]byte(want), &w) != nil {
		if got != want {
			return fmt.Errorf("texts differ")
		}
		return nil
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return match("", g, w)
}

var varying = map[string]bool{"created": true, "modified": true, "timestamp": true, "duration": true, "passwordChanged": true, "started": true, "uptime": true}

func match(path string, got, want any) error {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: got %v, want an object", path, got)
		}
		_, cut := w["…"]
		for k := range g {
			if _, ok := w[k]; !ok && !cut {
				return fmt.Errorf("%s.%s: not in the README", path, k)
			}
		}
		for k, v := range w {
			if k == "…" {
				continue
			}
			if _, ok := g[k]; !ok {
				return fmt.Errorf("%s.%s: missing", path, k)
			}
			if _, number := g[k].(float64); number && varying[k] {
				continue
			}
			if err := match(path+"."+k, g[k], v); err != nil {
				return err
			}
		}
		return nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Errorf("%s: got %v, want %d elements", path, got, len(w))
		}
		for i := range w {
			if err := match(fmt.Sprintf("%s[%d]", path, i), g[i], w[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		g, ok := got.(string)
		if head, tail, cut := strings.Cut(w, "…"); ok && cut && len(g) > len(head)+len(tail) && strings.HasPrefix(g, head) && strings.HasSuffix(g, tail) {
			return nil
		}
		if !ok || g != w {
			return fmt.Errorf("%s: got %v, want %q", path, got, w)
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", path, got, want)
	}
	return nil
}
