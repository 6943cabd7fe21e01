package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// mallocs is the counter of heap objects allocated since the start.
const mallocs = "go_memstats_mallocs_total"

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, 100 on every
// platform Linux runs Go on.
const ticksPerSecond = 100

// Usage is what a process has used since its start, and holds now.
type Usage struct {
	CPU           time.Duration // user and system
	ResidentBytes int64
	PeakBytes     int64   // largest ResidentBytes so far
	Mallocs       float64 // heap objects allocated; negative if the process does not say
	WrittenBytes  int64   // sent to block devices; negative if the system does not say
}

// Read takes the usage of a process from /proc, and its allocation counter
// from metricsURL (path on addr) unless that is empty.
func Read(pid int, addr, metricsPath string) (Usage, error) {
	u := Usage{Mallocs: -1, WrittenBytes: -1}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	if u.CPU, err = parseCPU(stat); err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	u.ResidentBytes, u.PeakBytes = parseKiB(status, "VmRSS:"), parseKiB(status, "VmHWM:")
	if io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)); err == nil { // some systems refuse it
		u.WrittenBytes = parseWritten(io)
	}
	if metricsPath != "" {
		u.Mallocs = readMallocs(addr, metricsPath)
	}
	return u, nil
}

// parseCPU adds utime and stime, fields 14 and 15. The command in field 2 may
// hold spaces, so fields are counted from its closing parenthesis.
func parseCPU(stat []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("read usage: not a process status: %.60q", stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read usage: cpu time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

func parseKiB(status []byte, key string) int64 {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte(key)); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(v)), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// parseWritten finds write_bytes, or answers -1.
func parseWritten(io []byte) int64 {
	for line := range bytes.Lines(io) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes:")); ok {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// readMallocs reads the counter from a Prometheus text page, or answers -1.
func readMallocs(addr, path string) float64 {
	c := client.NewConn(addr, 5*time.Second)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	status, body, err := c.Do(client.AppendRequest(nil, "GET", path, addr, "", nil))
	if err != nil || status != 200 {
		return -1
	}
	return parseMetric(body, mallocs)
}

// parseMetric finds a metric without labels in Prometheus text, or answers -1.
func parseMetric(text []byte, name string) float64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		v, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			continue
		}
		if fields := strings.Fields(v); len(fields) > 0 {
			if n, err := strconv.ParseFloat(fields[0], 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// Own is the usage of this process.
func Own() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// DiskBytes is what the files below dir occupy on disk.
func DiskBytes(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return total, nil
}

// ignoreGone forgives a file that a running server removed meanwhile.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
