package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Identity says whose data a directory holds.
type Identity struct {
	NodeID  entity.NodeID
	Cluster entity.ID // zero until the node has joined or formed a cluster
}

// identityVersion is the format version of the whole directory.
const identityVersion = "trellis store 1"

// maxIdentity bounds what is read of an identity file.
const maxIdentity = 4096

// AppendIdentity appends the text of an identity file: four lines, the last
// being the SHA-256 of those before it.
func AppendIdentity(dst []byte, id Identity) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "%s\nnode %s\ncluster %s\n", identityVersion, id.NodeID, id.Cluster)
	sum := sha256.Sum256(dst[start:])
	return fmt.Appendf(dst, "sha256 %s\n", hex.EncodeToString(sum[:]))
}

// DecodeIdentity is the inverse of AppendIdentity. Anything else is
// fault.Corrupt.
func DecodeIdentity(b []byte) (Identity, error) {
	var id Identity
	lines := strings.Split(string(b), "\n")
	if len(lines) != 5 || lines[0] != identityVersion || !strings.HasPrefix(lines[1], "node ") || !strings.HasPrefix(lines[2], "cluster ") {
		return id, fault.New(fault.Corrupt, "identity file: not of the form %q", identityVersion)
	}
	id.NodeID = entity.NodeID(lines[1][len("node "):])
	var ok bool
	if id.Cluster, ok = entity.ParseID(lines[2][len("cluster "):]); !ok {
		return Identity{}, fault.New(fault.Corrupt, "identity file: bad cluster id")
	}
	if !bytes.Equal(AppendIdentity(nil, id), b) {
		return Identity{}, fault.New(fault.Corrupt, "identity file: checksum does not match")
	}
	return id, nil
}

func readIdentity(fs FS, path string) (id Identity, found bool, err error) {
	b, err := readFile(fs, path, maxIdentity)
	if isNotExist(err) {
		return id, false, nil
	}
	if err != nil {
		return id, false, fmt.Errorf("read identity: %w", err)
	}
	id, err = DecodeIdentity(b)
	return id, err == nil, err
}

func writeIdentity(fs FS, path string, id Identity) error {
	if id.NodeID == "" || len(id.NodeID) > 255 || strings.ContainsAny(string(id.NodeID), "\n\r") {
		return fmt.Errorf("node id %q: want 1 to 255 bytes on one line", id.NodeID)
	}
	return writeFile(fs, path, AppendIdentity(nil, id))
}

// Identity returns whose data this is.
func (s *Store) Identity() Identity {
	s.identity.Lock()
	defer s.identity.Unlock()
	return s.identity.Identity
}

// SetCluster notes, durably, which cluster the node belongs to. It refuses to
// change a cluster once set: data of two clusters must never meet.
func (s *Store) SetCluster(cluster entity.ID) error {
	s.identity.Lock()
	defer s.identity.Unlock()
	if s.identity.Cluster == cluster {
		return nil
	}
	if !s.identity.Cluster.IsZero() {
		return fmt.Errorf("the store belongs to cluster %s, not to %s", s.identity.Cluster, cluster)
	}
	next := s.identity.Identity
	next.Cluster = cluster
	if err := writeIdentity(s.fs, s.path(identityName), next); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	s.identity.Identity = next
	return nil
}
