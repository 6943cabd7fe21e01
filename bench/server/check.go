package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// CheckReport is what "check" found in a data directory.
type CheckReport struct {
	Clean   bool
	Output  string // the end of what it printed
	Digests []Digest
}

// Digest is what "check" prints of a partition.
type Digest struct {
	Partition int
	Applied   uint64 // last log index in the state
	Sum       string
}

// Check runs "check --data-dir" on the data directory of a stopped server.
func Check(ctx context.Context, binary, dataDir string) (CheckReport, error) {
	cmd := exec.CommandContext(ctx, binary, "check", "--data-dir", dataDir)
	out, err := cmd.CombinedOutput()
	const most = 2000
	tail := string(bytes.TrimSpace(out[max(0, len(out)-most):]))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return CheckReport{}, fmt.Errorf("run check: %w", err)
	}
	return CheckReport{Clean: err == nil, Output: strings.ToValidUTF8(tail, "?"), Digests: parseDigests(out)}, nil
}

// parseDigests finds lines like "partition 3: applied 17, …, digest 5e1f".
// Lines it does not know are passed over.
func parseDigests(out []byte) []Digest {
	line := regexp.MustCompile(`(?m)^partition (\d+): applied (\d+),.* digest ([0-9a-f]+)\b`)
	var all []Digest
	for _, m := range line.FindAllSubmatch(out, -1) {
		p, errP := strconv.Atoi(string(m[1]))
		applied, errA := strconv.ParseUint(string(m[2]), 10, 64)
		if errP == nil && errA == nil {
			all = append(all, Digest{Partition: p, Applied: applied, Sum: string(m[3])})
		}
	}
	return all
}

// CompareDigests looks for replicas that differ though they stand at the same
// applied index. nodes holds the digests of each node. compared counts the
// pairs that could be compared: replicas that stand elsewhere cannot be.
func CompareDigests(nodes [][]Digest) (differences []string, compared int) {
	type position struct {
		partition int
		applied   uint64
	}
	type replica struct {
		node int
		sum  string
	}
	first := make(map[position]replica)
	for node, digests := range nodes {
		for _, d := range digests {
			at := position{d.Partition, d.Applied}
			other, there := first[at]
			if !there {
				first[at] = replica{node, d.Sum}
				continue
			}
			compared++
			if other.sum != d.Sum {
				differences = append(differences, fmt.Sprintf("partition %d at applied index %d: node %d has digest %s, node %d has %s",
					d.Partition, d.Applied, other.node, other.sum, node, d.Sum))
			}
		}
	}
	return differences, compared
}
