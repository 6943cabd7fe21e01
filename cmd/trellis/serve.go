package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// shutdownTimeout is how long requests and writes in flight may take to end.
const shutdownTimeout = 20 * time.Second

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node: by default a cluster of one with its data in ./trellis-data and the
REST API on 127.0.0.1:8080. Every flag is also an environment variable (--data-dir
is TRELLIS_DATA_DIR) and a key of the configuration file. The superuser's name and
password come from TRELLIS_SUPERUSER_NAME and TRELLIS_SUPERUSER_PASSWORD; without a
password one is generated at the first start and printed once.`,
		Args: cobra.NoArgs,
	}
	addServeFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd.Flags())
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout())
	}
	return cmd
}

// Collect garbage less often than Go's default: the heap is small, for
// memtables and block cache lie outside it. Under the limit the pace is eased,
// near it the collector works harder instead. GOGC and GOMEMLIMIT overrule.
const (
	gcPercent   = 200
	memoryLimit = 1 << 30
)

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// doors are a node's doors as the API asks for them.
type doors struct{ *node.Node }

func (d doors) View(ctx context.Context, app entity.AppID) (*storage.View, error) {
	return d.Node.View(ctx, app, node.Linearizable)
}

// serve runs a node until ctx ends. What a person must read goes to out.
func serve(ctx context.Context, cfg serveConfig, out io.Writer) (err error) {
	log := cfg.logger(os.Stderr)
	tuneCollector()
	listener, err := net.Listen("tcp", cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	served := false
	defer func() {
		if !served {
			err = errors.Join(err, listener.Close())
		}
	}()

	nc := node.DefaultConfig(cfg.DataDir)
	nc.Name = cfg.NodeID
	nc.Partitions = cfg.Partitions
	nc.Storage.CacheBytes = int64(cfg.CacheMB) << 20
	nc.Log = log
	nc.Halt = func(err error) {
		log.Error("the node cannot go on and ends now; what it acknowledged is on disk", "error", err)
		os.Exit(1)
	}
	n, err := node.Start(ctx, nc)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, n.Close(stop))
	}()

	server, generated, err := newAPI(ctx, cfg, n, log)
	if err != nil {
		return err
	}
	if cfg.PprofAddr != "" {
		stop, err := serveProfiles(cfg.PprofAddr, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := greet(out, cfg, listener.Addr(), generated); err != nil {
		return err
	}
	served = true
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping", "part", "serve")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return errors.Join(server.Shutdown(stop), <-failed)
}

// newAPI introduces the packages of the API to the node. The password is that
// of a superuser made by this start, if it was generated.
func newAPI(ctx context.Context, cfg serveConfig, n *node.Node, log *slog.Logger) (*api.Server, string, error) {
	cluster := doors{n}
	dc := directory.DefaultConfig()
	dc.SuperuserName = cfg.SuperuserName
	dir, err := directory.Open(ctx, dc, cluster)
	if err != nil {
		return nil, "", err
	}
	generated, err := dir.EnsureSuperuser(ctx, dc.SuperuserName+"@localhost", cfg.SuperuserPassword)
	if err != nil {
		return nil, "", err
	}
	manage := management.New(management.DefaultConfig(), cluster, dir)
	data := collections.New(cluster, dir, cursor.Key(auth.DeriveKey(n.Cluster().Key, "cursor")))
	ac := api.DefaultConfig()
	ac.BaseURL = cfg.BaseURL
	ac.Version = version
	var server *api.Server
	metrics := newMetrics(n, func() api.Stats { return server.Stats() })
	server, err = api.New(ac, api.Parts{
		Authenticate: manage.Authenticate,
		Resolve:      manage.Resolve,
		ResolveID:    manage.ResolveID,
		Management:   manage.Management,
		Applications: manage.Applications,
		System:       manage.System,
		Accounts:     manage.Accounts,
		Data:         data.Handle,
		Healthy:      n.Healthy,
		Metrics:      metrics.render,
	}, log)
	return server, generated, err
}

// greet says where the API is and how to sign in.
func greet(out io.Writer, cfg serveConfig, addr net.Addr, generated string) error {
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		dir = cfg.DataDir
	}
	_, err = fmt.Fprintf(out, "Trellis %s serves http://%s (data in %s)\n", version, addr, dir)
	if err == nil && generated != "" {
		_, err = fmt.Fprintf(out, `
The superuser was made. This is shown once:
  username: %s
  password: %s
Sign in: curl http://%s/management/token -d '{"grant_type":"password","username":"%s","password":"%s"}'

`, cfg.SuperuserName, generated, addr, cfg.SuperuserName, generated)
	}
	if err != nil {
		return fmt.Errorf("print greeting: %w", err)
	}
	return nil
}

// serveProfiles offers the profiler on a loopback address until stop is called.
func serveProfiles(addr string, log *slog.Logger) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the profiler: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiler", "error", err)
		}
	}()
	return func() {
		if err := server.Close(); err != nil {
			log.Warn("stop profiler", "error", err)
		}
		<-done
	}, nil
}
