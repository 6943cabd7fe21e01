package storage

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	identityName   = "IDENTITY"
	identityFormat = 1
)

// Identity says whose data a directory holds. It lies beside the stores, so
// that a store that is missing is not taken for a new one.
type Identity struct {
	NodeID  string
	Cluster entity.ID // zero until the cluster is formed
}

type identityJSON struct {
	Format  int    `json:"format"`
	Node    string `json:"node"`
	Cluster string `json:"cluster,omitempty"`
}

// identityFile is the file and what it says.
type identityFile struct {
	fs       FS
	dir      string
	mu       sync.Mutex
	identity Identity
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openIdentity reads the identity, or makes a new one that is not saved yet
// if the directory has none.
func openIdentity(cfg *Config) (*identityFile, bool, error) {
	f := &identityFile{fs: cfg.FS, dir: cfg.Dir}
	path := cfg.FS.PathJoin(cfg.Dir, identityName)
	raw, err := readFile(cfg.FS, path)
	if errors.Is(err, errNoFile) {
		if cfg.Existing {
			return nil, false, fmt.Errorf("%s is no data directory: it has no file %s", cfg.Dir, identityName)
		}
		// A first start that was cut short may have left marks, but no log entry
		// counts before the identity is there.
		f.identity.NodeID = cfg.NodeID
		if f.identity.NodeID == "" {
			f.identity.NodeID = "node-" + hex.EncodeToString(idTail())
		}
		return f, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	if f.identity, err = parseIdentity(raw); err != nil {
		return nil, false, err
	}
	if cfg.NodeID != "" && cfg.NodeID != f.identity.NodeID {
		return nil, false, fmt.Errorf("the data directory %s belongs to node %q, not %q", cfg.Dir, f.identity.NodeID, cfg.NodeID)
	}
	return f, false, nil
}

func idTail() []byte {
	id := entity.NewID()
	return id[10:]
}

// parseIdentity reads a line of JSON and a line with the CRC-32C of the first.
func parseIdentity(raw []byte) (Identity, error) {
	line, sum, ok := bytes.Cut(raw, []byte("\n"))
	if !ok || fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) != string(sum) {
		return Identity{}, damaged("the file %s is not what was written", identityName)
	}
	var j identityJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return Identity{}, fault.Wrap(err, fault.Corrupt, "the file %s is not what was written", identityName)
	}
	if j.Format != identityFormat {
		return Identity{}, fmt.Errorf("the data directory has format %d, this version knows format %d", j.Format, identityFormat)
	}
	id := Identity{NodeID: j.Node}
	if j.Cluster != "" {
		if id.Cluster, ok = entity.ParseID(j.Cluster); !ok {
			return Identity{}, damaged("the file %s names no cluster", identityName)
		}
	}
	return id, nil
}

func (f *identityFile) get() Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identity
}

func (f *identityFile) setCluster(id entity.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.identity.Cluster == id {
		return nil
	}
	if !f.identity.Cluster.IsZero() {
		return fault.New(fault.Conflict, "the data belongs to cluster %s", f.identity.Cluster)
	}
	f.identity.Cluster = id
	return f.saveLocked()
}

func (f *identityFile) save() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.saveLocked()
}

// saveLocked replaces the file in one step.
func (f *identityFile) saveLocked() error {
	j := identityJSON{Format: identityFormat, Node: f.identity.NodeID}
	if !f.identity.Cluster.IsZero() {
		j.Cluster = f.identity.Cluster.String()
	}
	line, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	text := fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli))
	return replaceFile(f.fs, f.dir, identityName, text)
}

var errNoFile = errors.New("no such file")

func readFile(fs FS, path string) (raw []byte, err error) {
	file, err := fs.Open(path)
	if err != nil {
		if isNotExist(err) {
			return nil, errNoFile
		}
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	raw, err = io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return raw, nil
}

// replaceFile writes a file beside its place, syncs it, and moves it there.
func replaceFile(fs FS, dir, name string, content []byte) error {
	tmp := fs.PathJoin(dir, name+".tmp")
	file, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("write %s: sync directory: %w", name, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write %s: sync directory: %w", name, err)
	}
	return nil
}
