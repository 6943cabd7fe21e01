package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockVariable is the environment variable that sets the wall clock of a binary of
// BuildClock off, in seconds. Monotonic time goes on as it does.
const ClockVariable = "TRELLIS_BENCH_CLOCK"

// BuildClock compiles the server with a standard library whose clock can be set off:
// a machine has one wall clock, so nodes on one machine would share it.
func BuildClock(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("build the server: find the standard library: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	code, err := os.ReadFile(source)
	if err != nil {
		return "", fmt.Errorf("build the server: %w", err)
	}
	reading := []byte("sec, nsec, mono := runtimeNow()\n")
	if bytes.Count(code, reading) != 1 {
		return "", fmt.Errorf("build the server: no clock is found in %s", source)
	}
	code = bytes.Replace(code, reading, append(reading, "\tsec += clockOffset\n"...), 1)
	offset := filepath.Join(filepath.Dir(source), "clockoffset.go")
	files := map[string]string{source: filepath.Join(dir, "time.go.txt"), offset: filepath.Join(dir, "clockoffset.go.txt")}
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return "", fmt.Errorf("build the server: %w", err)
	}
	for name, content := range map[string][]byte{files[source]: code, files[offset]: []byte(offsetCode), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return "", fmt.Errorf("build the server: %w", err)
		}
	}
	return build(ctx, dir, "-overlay", filepath.Join(dir, "overlay.json"))
}

// offsetCode is the file that is added to package time.
const offsetCode = `package time

import "syscall"

var clockOffset = func() (seconds int64) {
	text, _ := syscall.Getenv("` + ClockVariable + `")
	negative := len(text) > 0 && text[0] == '-'
	for _, c := range []byte(text) {
		if c >= '0' && c <= '9' {
			seconds = seconds*10 + int64(c-'0')
		}
	}
	if negative {
		return -seconds
	}
	return seconds
}()
`
