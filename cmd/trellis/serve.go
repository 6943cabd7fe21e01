package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/api/tally"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage/entity"
)

// shutdownTimeout is how long requests and writes in flight may take to end.
const shutdownTimeout = 15 * time.Second

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

// countTimeout is how long a node that stops tries to write what it has counted.
const countTimeout = 3 * time.Second

// serve runs a node until ctx ends. What a person must read goes to out.
func serve(ctx context.Context, cfg serveConfig, out io.Writer) (err error) {
	log := cfg.logger(os.Stderr)
	tuneCollector()
	listener, err := net.Listen("tcp", cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	if listener, err = cfg.secured(wire.Linger(listener)); err != nil {
		return err
	}
	ac := api.DefaultConfig()
	ac.BaseURL, ac.Version = cfg.BaseURL, version
	if ac.TrustedProxies, err = cfg.proxies(); err != nil {
		return errors.Join(err, listener.Close())
	}
	server, err := api.NewStarting(ac, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, server.Shutdown(stop))
	}()

	late := new(lateTasks)
	defer late.close()
	sender, err := cfg.Accounts.mails(log)
	if err != nil {
		return err
	}
	nc := cfg.node(log, listener.Addr())
	nc.Tasks.Kinds = append(nc.Tasks.Kinds, late.kinds()...)
	nc.Tasks.Kinds = append(nc.Tasks.Kinds, tasks.Mail(deliverer{sender, late, log.With("part", "mail")}))
	bucket, err := cfg.Assets.bucket()
	if err != nil {
		return err
	}
	nc.Tasks.Kinds = cfg.Assets.kinds(nc.Tasks.Kinds, bucket)
	n, err := node.Start(ctx, nc)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited for others
		}
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, n.Close(stop))
	}()
	requests, err := tally.Start(tally.DefaultConfig(), n, log)
	if err != nil {
		return err
	}
	// The last node of a cluster to stop has nobody to write with: that is no failure.
	stopCounting := sync.OnceFunc(func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
		defer cancel()
		if err := requests.Close(stop); err != nil {
			log.Warn("not all requests are counted", "part", "serve", "error", err)
		}
	})
	defer stopCounting()
	store, err := cfg.Assets.store(n, cfg.DataDir, bucket)
	if err != nil {
		return err
	}
	defer late.endPush()
	generated, err := install(ctx, server, cfg, n, late, requests, store, log)
	if err != nil {
		return err
	}
	if peers := n.Forwarded(); peers != nil {
		go func() { failed <- server.ServePeers(peers) }()
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
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping", "part", "serve")
	stuck := time.AfterFunc(3*shutdownTimeout/2, func() { // nobody who stops a node waits for ever
		stacks := make([]byte, 1<<20)
		log.Error("the node does not stop; it ends now, what it acknowledged is on disk", "goroutines", string(stacks[:runtime.Stack(stacks, true)]))
		os.Exit(1)
	})
	defer stuck.Stop()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err = server.Shutdown(stop) // the front door first; what it has counted needs the node
	stopCounting()
	late.endPush()
	return errors.Join(err, n.Close(stop))
}

// node is the configuration of the node.
func (c *serveConfig) node(log *slog.Logger, httpAddr net.Addr) node.Config {
	nc := node.DefaultConfig(c.DataDir)
	nc.Name, nc.Version, nc.Zone = c.NodeID, version, c.Zone
	nc.Partitions = c.Partitions
	nc.Storage.CacheBytes = int64(c.CacheMB) << 20
	nc.Secret = []byte(c.ClusterSecret)
	nc.ClusterAddr, nc.ClusterAdvertise = c.ClusterAddr, c.ClusterAdvertise
	nc.GossipAddr, nc.GossipAdvertise = c.GossipAddr, c.GossipAdvertise
	nc.HTTPAddr = httpAddr.String()
	nc.Join, nc.Expect = c.Join, c.BootstrapExpect
	nc.Grace = c.ReplaceAfter
	if c.ClusterCert != "" {
		nc.TLS = &peer.TLSFiles{Cert: c.ClusterCert, Key: c.ClusterKey, CA: c.ClusterCA}
	}
	nc.Log = log
	nc.Halt = func(err error) {
		log.Error("the node cannot go on and ends now; what it acknowledged is on disk", "error", err)
		os.Exit(1)
	}
	return nc
}

// secured is the listener with TLS, if that is configured.
func (c *serveConfig) secured(plain net.Listener) (net.Listener, error) {
	if c.TLSCert == "" {
		return plain, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load the API's certificate: %w", err), plain.Close())
	}
	return tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// install introduces the packages of the API to the node. The password is that
// of a superuser made by this start, if it was generated.
func install(ctx context.Context, server *api.Server, cfg serveConfig, n *node.Node, late *lateTasks, requests *tally.Tally, data *assets.Store, log *slog.Logger) (string, error) {
	dc := directory.DefaultConfig()
	dc.SuperuserName = cfg.SuperuserName
	cfg.Accounts.directory(&dc)
	dc.Keys = cfg.secretKeys
	dc.Warn = func(app entity.ID) {
		log.Warn("the role default grants everything to every user of the application", "part", "directory", "application", app.String())
	}
	dir, err := directory.Open(ctx, dc, n)
	if err != nil {
		return "", err
	}
	late.directory.Store(dir)
	generated, err := dir.EnsureSuperuser(ctx, dc.SuperuserName+"@localhost", cfg.SuperuserPassword)
	if err != nil {
		return "", err
	}
	qc := query.DefaultConfig()
	qc.CursorKey = cursor.Key(auth.DeriveKey(n.Cluster().Key, "cursor"))
	queries := query.New(qc)
	carrier := portage.New(cfg.portage(), n, dir, data)
	late.portage.Store(carrier)
	manage, err := manager(&cfg, n, dir, queries, carrier, log)
	if err == nil {
		err = manage.Prepare(ctx)
	}
	if test := cfg.Accounts.testAccount(); test != nil && err == nil {
		err = manage.SetUpTestAccount(ctx, *test)
	}
	if err != nil {
		return "", err
	}
	handlers := collections.New(n, dir, queries, manage).WithCounters(collections.Counting{Requests: requests, ZeroAdds: !cfg.ZeroResets}).
		WithLegacyApproval(cfg.Accounts.LegacyApproval).WithAssets(data)
	engine, err := cfg.Push.start(n, handlers, dir, log)
	if err != nil {
		return "", err
	}
	late.push.Store(engine)
	handlers.WithPush(collections.Pushing{Push: pusher{engine}, UniqueTokens: cfg.Push.UniqueTokens})
	metrics := newMetrics(n, queries, server.Stats, requests.Stats, data.Stats, engine.Stats)
	parts := api.Parts{
		Authenticate: manage.Authenticate,
		Resolve:      manage.Resolve,
		ResolveID:    manage.ResolveID,
		Access:       manage.Access,
		Management:   manage.Management,
		Applications: manage.Applications,
		System:       systemRoutes(manage.System, n),
		Accounts:     manage.Accounts,
		Data:         requests.Counting(handlers.Handle),
		Healthy:      n.Healthy,
		Metrics:      metrics.render,
		Status:       func() any { return statusOf(n.Report()) },
	}
	if n.Forwarded() != nil {
		parts.Elsewhere, parts.Here, parts.Dial = n.Elsewhere, n.Here, n.DialAPI
	}
	return generated, server.Install(parts)
}

// manager makes the handlers of the management API.
func manager(cfg *serveConfig, n *node.Node, dir *directory.Directory, queries *query.Engine, carrier *portage.Handlers, log *slog.Logger) (*management.Handlers, error) {
	mc := management.DefaultConfig()
	mc.PurgeAfter = cfg.PurgeAfter
	if err := cfg.Accounts.management(&mc); err != nil {
		return nil, err
	}
	site, err := cfg.Accounts.pages(auth.DeriveKey(n.Cluster().Key, "form"))
	if err != nil {
		return nil, err
	}
	services, err := cfg.Accounts.services(log)
	if err != nil {
		return nil, err
	}
	return management.New(mc, management.Parts{
		Cluster: n, Directory: dir, Engine: queries, Mailer: mailer{dir}, Pages: site, Services: services, Log: log,
		Portage: carrier,
		Provision: func(ctx context.Context) error {
			if cfg.SuperuserPassword == "" {
				return nil // it was made at the first start
			}
			_, err := dir.EnsureSuperuser(ctx, cfg.SuperuserName+"@localhost", cfg.SuperuserPassword)
			return err
		},
	}), nil
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
