package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/seal"
)

// envPrefix begins the name of every environment variable that configures a
// node: --data-dir is TRELLIS_DATA_DIR.
const envPrefix = "TRELLIS_"

// serveConfig is everything serve can be told. A flag beats the environment,
// the environment beats the file.
type serveConfig struct {
	DataDir         string   `koanf:"data-dir"`
	HTTPAddr        string   `koanf:"http-addr"`
	NodeID          string   `koanf:"node-id"`
	ClusterAddr     string   `koanf:"cluster-addr"`
	GossipAddr      string   `koanf:"gossip-addr"`
	Join            []string `koanf:"join"`
	BootstrapExpect int      `koanf:"bootstrap-expect"`

	ClusterAdvertise string        `koanf:"cluster-advertise"`
	GossipAdvertise  string        `koanf:"gossip-advertise"`
	Zone             string        `koanf:"zone"`
	ReplaceAfter     time.Duration `koanf:"replace-after"`
	PurgeAfter       time.Duration `koanf:"purge-after"`
	ZeroResets       bool          `koanf:"counters-zero-resets"`
	ClusterCert      string        `koanf:"cluster-cert"`
	ClusterKey       string        `koanf:"cluster-key"`
	ClusterCA        string        `koanf:"cluster-ca"`
	TLSCert          string        `koanf:"tls-cert"`
	TLSKey           string        `koanf:"tls-key"`

	Partitions int      `koanf:"partitions"`
	BaseURL    string   `koanf:"base-url"`
	PprofAddr  string   `koanf:"pprof-addr"`
	Proxies    []string `koanf:"trusted-proxies"`
	CacheMB    int      `koanf:"cache-mb"`
	LogLevel   string   `koanf:"log-level"`
	LogFormat  string   `koanf:"log-format"`

	// Secrets come from the environment or the file: command lines are public.
	SuperuserName     string `koanf:"superuser-name"`
	SuperuserPassword string `koanf:"superuser-password"`
	ClusterSecret     string `koanf:"cluster-secret"`

	ExportEndpoint    string `koanf:"export-endpoint"`
	ExportRegion      string `koanf:"export-region"`
	ExportPathStyle   bool   `koanf:"export-path-style"`
	ExportAnyEndpoint bool   `koanf:"export-any-endpoint"`

	Accounts      accountsConfig `koanf:",squash"`
	Assets        assetsConfig   `koanf:",squash"`
	Push          pushConfig     `koanf:",squash"`
	SecretKeyFile string         `koanf:"secret-key-file"`
	secretKeys    [][]byte       // what encrypts stored secrets, the newest first
}

// defaultSuperuser is the name of the superuser if none is configured.
const defaultSuperuser = "superuser"

// secretKeys have no flag.
var secretKeys = []string{"superuser-name", "superuser-password", "cluster-secret", "asset-s3-access-key", "asset-s3-secret-key"}

func addServeFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration file (YAML, keys named like the flags)")
	fs.String("data-dir", "trellis-data", "directory of the node's data")
	fs.String("http-addr", "127.0.0.1:8080", "address of the REST API")
	fs.String("node-id", "", "name of this node, kept in the data directory (default: random)")
	fs.String("cluster-addr", "127.0.0.1:8081", "address between nodes")
	fs.String("gossip-addr", "127.0.0.1:8082", "address of gossip")
	fs.StringSlice("join", nil, "gossip addresses of other nodes")
	fs.Int("bootstrap-expect", 1, "nodes that form a new cluster together")
	fs.String("cluster-advertise", "", "address at which other nodes reach --cluster-addr (default: that)")
	fs.String("gossip-advertise", "", "address at which other nodes reach --gossip-addr (default: that)")
	fs.String("zone", "", "where this node stands; replicas are spread over zones")
	fs.Duration("replace-after", 5*time.Minute, "how long a node may be gone before its replicas are made anew elsewhere")
	fs.Duration("purge-after", 30*24*time.Hour, "how long what a deleted application holds is kept")
	fs.Bool("counters-zero-resets", true, "an event with 0 resets the counter; false: it adds nothing")
	fs.String("cluster-cert", "", "certificate (PEM file) for connections between nodes; with --cluster-key and --cluster-ca")
	fs.String("cluster-key", "", "its key")
	fs.String("cluster-ca", "", "authority that has signed the certificates of all nodes")
	fs.String("tls-cert", "", "certificate chain (PEM file) of the REST API; with --tls-key")
	fs.String("tls-key", "", "its key")
	fs.Int("partitions", 8, "application partitions, fixed at the first start")
	fs.String("base-url", "", "public URL of the API in answers (default: from the request)")
	fs.String("secret-key-file", "", "file of the keys that encrypt stored secrets, one a line, the newest first (default: the cluster secret)")
	fs.String("export-endpoint", "", "URL of the S3-compatible store that exports are written to and imports read from, in buckets and by keys that requests name")
	fs.String("export-region", "", "region of that store (default: asked of it)")
	fs.Bool("export-path-style", false, "the buckets of that store are in the path of URLs, not in names of hosts")
	fs.Bool("export-any-endpoint", false, "requests may name any other store: who administers an application then lets this node connect to any address")
	fs.StringSlice("trusted-proxies", nil, "addresses or networks (CIDR) of proxies whose X-Forwarded-For is believed")
	fs.String("pprof-addr", "", "loopback address of the profiler (default: off)")
	fs.Int("cache-mb", 128, "block cache in MiB, besides 144 for memtables")
	fs.String("log-level", "info", "debug, info, warn or error")
	fs.String("log-format", "text", "text or json")
	addAssetFlags(fs)
}

// loadConfig merges file, environment and flags, and checks the result.
func loadConfig(fs *pflag.FlagSet) (serveConfig, error) {
	cfg := serveConfig{Accounts: defaultAccounts(), Push: defaultPush()}
	k := koanf.New("\x00") // keys are flat
	path, err := fs.GetString("config")
	if err != nil {
		return cfg, err
	}
	if path == "" {
		path = os.Getenv(envPrefix + "CONFIG")
	}
	known, lists := cfg.Accounts.keys()
	ofPush, listsOfPush := cfg.Push.keys()
	known, lists = append(known, ofPush...), append(lists, listsOfPush...)
	known, lists = append(append(known, "config"), secretKeys...), append(lists, "join", "trusted-proxies")
	fs.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return cfg, fmt.Errorf("configuration file %s: %w", path, err)
		}
		for _, key := range k.Keys() {
			if !slices.Contains(known, key) {
				return cfg, fmt.Errorf("configuration file %s: unknown key %q", path, key)
			}
		}
	}
	environment := env.Provider("\x00", env.Opt{Prefix: envPrefix, TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		if !slices.Contains(known, key) {
			return "", nil
		}
		if slices.Contains(lists, key) {
			return key, strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		}
		return key, value
	}})
	if err := k.Load(environment, nil); err != nil {
		return cfg, fmt.Errorf("environment: %w", err)
	}
	if err := k.Load(posflag.Provider(fs, "\x00", k), nil); err != nil {
		return cfg, fmt.Errorf("flags: %w", err)
	}
	if err := k.Unmarshal("", &cfg); err != nil {
		return cfg, fmt.Errorf("configuration: %w", err)
	}
	if cfg.SuperuserName == "" {
		cfg.SuperuserName = defaultSuperuser
	}
	if err := cfg.readKeys(); err != nil {
		return cfg, err
	}
	return cfg, cfg.check()
}

// readKeys finds the keys that encrypt stored secrets. The cluster secret stays one of
// them, so that a file of keys can be introduced later.
func (c *serveConfig) readKeys() error {
	if c.SecretKeyFile != "" {
		text, err := os.ReadFile(c.SecretKeyFile)
		if err != nil {
			return fmt.Errorf("--secret-key-file: %w", err)
		}
		if c.secretKeys, err = seal.Parse(string(text)); err != nil {
			return fmt.Errorf("--secret-key-file %s: %w", c.SecretKeyFile, err)
		}
	}
	if c.ClusterSecret != "" {
		c.secretKeys = append(c.secretKeys, []byte(c.ClusterSecret))
	}
	return nil
}

func (c *serveConfig) check() error {
	switch {
	case c.DataDir == "":
		return fmt.Errorf("--data-dir is empty")
	case c.BootstrapExpect < 1 || c.BootstrapExpect > 5:
		return fmt.Errorf("--bootstrap-expect is %d, want 1 to 5", c.BootstrapExpect)
	case (len(c.Join) > 0 || c.BootstrapExpect > 1) && c.ClusterSecret == "":
		return fmt.Errorf("nodes authenticate each other: set TRELLIS_CLUSTER_SECRET, the same on all of them")
	case c.NodeID != "" && !entity.ValidNodeName(c.NodeID):
		return fmt.Errorf("--node-id is %q, want 1 to %d letters, digits, dots, dashes and underscores", c.NodeID, entity.MaxNodeName)
	case c.ReplaceAfter < 10*time.Second:
		return fmt.Errorf("--replace-after is %s, want 10 seconds at least", c.ReplaceAfter)
	case c.PurgeAfter < 0:
		return fmt.Errorf("--purge-after is %s, want 0 or more", c.PurgeAfter)
	case (c.ClusterCert == "") != (c.ClusterKey == "") || (c.ClusterCert == "") != (c.ClusterCA == ""):
		return fmt.Errorf("--cluster-cert, --cluster-key and --cluster-ca belong together")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("--tls-cert and --tls-key belong together")
	case c.Partitions < 1 || c.Partitions > 1024:
		return fmt.Errorf("--partitions is %d, want 1 to 1024", c.Partitions)
	case c.CacheMB < 8 || c.CacheMB > 1<<20:
		return fmt.Errorf("--cache-mb is %d, want 8 to 1048576", c.CacheMB)
	case c.LogFormat != "text" && c.LogFormat != "json":
		return fmt.Errorf("--log-format is %q, want text or json", c.LogFormat)
	}
	if _, _, err := net.SplitHostPort(c.HTTPAddr); err != nil {
		return fmt.Errorf("--http-addr: %w", err)
	}
	if c.PprofAddr != "" {
		host, _, err := net.SplitHostPort(c.PprofAddr)
		if err != nil {
			return fmt.Errorf("--pprof-addr: %w", err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("--pprof-addr is %s, want a loopback address", c.PprofAddr)
		}
	}
	if err := c.Accounts.check(c.BaseURL); err != nil {
		return err
	}
	if err := c.Assets.check(); err != nil {
		return err
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	_, err := c.level()
	return err
}

// portage is the configuration of exports and imports.
func (c *serveConfig) portage() portage.Config {
	pc := portage.DefaultConfig()
	pc.Endpoint, pc.Region, pc.PathStyle, pc.AnyEndpoint = c.ExportEndpoint, c.ExportRegion, c.ExportPathStyle, c.ExportAnyEndpoint
	return pc
}

// proxies reads --trusted-proxies.
func (c *serveConfig) proxies() (list []netip.Prefix, err error) {
	for _, text := range c.Proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, notOne := netip.ParseAddr(text)
			if notOne != nil {
				return nil, fmt.Errorf("--trusted-proxies: %q is no address and no network", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func (c *serveConfig) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return 0, fmt.Errorf("--log-level is %q, want debug, info, warn or error", c.LogLevel)
	}
	return level, nil
}

func (c *serveConfig) logger(w *os.File) *slog.Logger {
	level, err := c.level()
	if err != nil {
		level = slog.LevelInfo // check has refused this already
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
