package storage

import (
	"bytes"
	"crypto/rand"
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
	if id.NodeID = entity.NodeID(lines[1][len("node "):]); !validNodeID(id.NodeID) {
		return Identity{}, fault.New(fault.Corrupt, "identity file: %q is no node id", id.NodeID)
	}
	var ok bool
	if id.Cluster, ok = entity.ParseID(lines[2][len("cluster "):]); !ok {
		return Identity{}, fault.New(fault.Corrupt, "identity file: bad cluster id")
	}
	if !bytes.Equal(AppendIdentity(nil, id), b) {
		return Identity{}, fault.New(fault.Corrupt, "identity file: checksum does not match")
	}
	return id, nil
}

// nodeIDTail is how many hex digits follow the tilde of a node's id.
const nodeIDTail = 8

// makeNodeID makes up the id of a new data directory of a node, and its name if
// it has none.
func makeNodeID(name string) (entity.NodeID, error) {
	var random [3 + nodeIDTail/2]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("make node id: %w", err)
	}
	if name == "" {
		name = "node-" + hex.EncodeToString(random[:3])
	}
	return entity.NodeID(name + "~" + hex.EncodeToString(random[3:])), nil
}

// validNodeID reports whether an id is of the form that makeNodeID gives it.
func validNodeID(id entity.NodeID) bool {
	name, tail, ok := strings.Cut(string(id), "~")
	return ok && entity.ValidNodeName(name) && len(tail) == nodeIDTail && strings.Trim(tail, "0123456789abcdef") == ""
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
