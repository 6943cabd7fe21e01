package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/server"
)

// requestTimeout bounds one request of the harness.
const requestTimeout = 30 * time.Second

// environment is the server under test: one that runs already, or one that the
// harness starts and ends.
type environment struct {
	url         string
	pid         int
	binary      string
	dataDir     string
	addr        string
	args        []string
	org, app    string
	token       string
	superuser   string
	password    string
	metricsPath string
	ready       time.Duration
	keep        bool

	scratch string
	process *server.Process
}

// flags adds the flags that choose the server.
func (e *environment) flags(f *pflag.FlagSet) {
	f.StringVar(&e.url, "url", "", "use the server running at this URL instead of starting one")
	f.IntVar(&e.pid, "pid", 0, "process id of the server at --url, if it is local: its CPU time and memory are measured")
	f.StringVar(&e.token, "token", "", "bearer token for --org and --app; without it the superuser makes them and a token")
	f.StringVar(&e.metricsPath, "metrics-path", "/metrics", "path of the server's Prometheus page; empty for none")
	e.ownFlags(f)
}

// ownFlags adds the flags of commands that must start the server themselves.
func (e *environment) ownFlags(f *pflag.FlagSet) {
	f.StringVar(&e.binary, "server", "", "server binary (default: go build ./cmd/trellis)")
	f.StringVar(&e.dataDir, "data-dir", "", "data directory of the server (default: a fresh one, removed at the end)")
	f.StringVar(&e.addr, "addr", "", "host:port the started server listens on (default: a free port)")
	f.StringArrayVar(&e.args, "server-arg", nil, "argument added to \"serve\"; may be repeated")
	f.StringVar(&e.org, "org", "bench", "organisation")
	f.StringVar(&e.app, "app", "load", "application")
	f.StringVar(&e.superuser, "superuser", envOr("TRELLIS_SUPERUSER_NAME", "superuser"), "name of the superuser")
	f.StringVar(&e.password, "password", os.Getenv("TRELLIS_SUPERUSER_PASSWORD"), "password of the superuser (default: a random one for a started server)")
	f.DurationVar(&e.ready, "ready", 30*time.Second, "how long a started server may take to be ready")
	f.BoolVar(&e.keep, "keep", false, "keep the scratch folder with data directory and log")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// own says whether the harness starts the server.
func (e *environment) own() bool { return e.url == "" }

// open finds or starts the server and signs in.
func (e *environment) open(ctx context.Context) (client.Target, error) {
	if !e.own() {
		u, err := url.Parse(e.url)
		if err != nil || u.Host == "" {
			return client.Target{}, fmt.Errorf("--url %q: want http://host:port", e.url)
		}
		e.addr = u.Host
		return e.signIn()
	}
	if err := e.prepare(ctx); err != nil {
		return client.Target{}, err
	}
	if err := e.start(ctx); err != nil {
		return client.Target{}, err
	}
	return e.signIn()
}

// prepare makes scratch folder, binary, address and password.
func (e *environment) prepare(ctx context.Context) error {
	var err error
	if e.scratch, err = os.MkdirTemp("", "trellis-bench-"); err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	if e.dataDir == "" {
		e.dataDir = filepath.Join(e.scratch, "data")
	}
	if e.binary == "" {
		if e.binary, err = server.Build(ctx, e.scratch); err != nil {
			return err
		}
	}
	if e.addr == "" {
		if e.addr, err = server.FreeAddr(); err != nil {
			return err
		}
	}
	if e.password == "" {
		e.password = rand.Text()
	}
	return nil
}

// config is how the server is started on a data directory.
func (e *environment) config(dataDir string) server.Config {
	return server.Config{Binary: e.binary, DataDir: dataDir, Addr: e.addr, Superuser: e.superuser, Password: e.password,
		Args: e.args, LogFile: filepath.Join(e.scratch, "server.log"), Ready: e.ready}
}

// start starts the server on the data directory, again after a stop or kill.
func (e *environment) start(ctx context.Context) error {
	p, err := server.Start(ctx, e.config(e.dataDir))
	if err != nil {
		return e.withLog(err)
	}
	e.process, e.pid = p, p.PID()
	return nil
}

// log is the end of what the server printed.
func (e *environment) log(most int) string {
	log, err := os.ReadFile(filepath.Join(e.scratch, "server.log"))
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(log[max(0, len(log)-most):]), "?")
}

// withLog adds the end of the server's log to an error.
func (e *environment) withLog(err error) error {
	return fmt.Errorf("%w; the server's log ends: %s", err, e.log(1500))
}

func (e *environment) signIn() (client.Target, error) {
	if e.token != "" {
		return client.Target{Addr: e.addr, Org: e.org, App: e.app, Token: e.token}, nil
	}
	if e.password == "" {
		return client.Target{}, errors.New("a running server needs --token, or --superuser and --password")
	}
	return client.Prepare(client.Setup{Addr: e.addr, Org: e.org, App: e.app, Superuser: e.superuser, Password: e.password, Timeout: requestTimeout})
}

// kill ends a started server as a crash would.
func (e *environment) kill() error {
	p := e.process
	e.process = nil
	return p.Kill()
}

// stop ends a started server gently.
func (e *environment) stop() error {
	p := e.process
	e.process = nil
	return p.Stop(30 * time.Second)
}

// close ends what open began.
func (e *environment) close() error {
	var err error
	if e.process != nil {
		err = e.stop()
	}
	if e.scratch == "" {
		return err
	}
	if e.keep || err != nil {
		fmt.Fprintln(os.Stderr, "bench: kept", e.scratch)
		return err
	}
	return os.RemoveAll(e.scratch)
}

// usage reads what the server has used, or nothing if it is not local.
func (e *environment) usage() (server.Usage, bool) {
	if e.pid == 0 {
		return server.Usage{}, false
	}
	u, err := server.Read(e.pid, e.addr, e.metricsPath)
	return u, err == nil
}
