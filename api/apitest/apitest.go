// Package apitest starts a whole server for tests that speak HTTP to it: a node
// with a data directory, the API, a socket. It wires what cmd/trellis wires.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/api/tally"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/push/mail"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage/entity"
)

// Server is a running server with one organisation in it, acme, whose owner is
// dana, and its sandbox.
type Server struct {
	URL    string // without a trailing slash
	App    string // path of the sandbox: /acme/sandbox
	Admin  string // access token of the organisation's owner
	Node   *node.Node
	Mails  *Mailbox // what was sent, unless Options says otherwise
	Assets *assets.Store
	Data   *collections.Handlers
	// Cluster is what the server stands for if it is an organisation of one: Node, Assets
	// and Data are those of the first node. nil: it is a server by itself.
	Cluster *Cluster
	Engine  atomic.Pointer[push.Engine] // that sends notifications, if Options wants one
	dir     atomic.Pointer[directory.Directory]
	jobs    atomic.Pointer[portage.Handlers]
	client  *http.Client
	stop    []func() error
}

// The superuser of every server here.
const (
	SuperuserName     = "root"
	SuperuserPassword = "root-secret"
)

// Options change a server from what Open makes.
type Options struct {
	Log       io.Writer               // takes the whole log; nil: errors go to standard error
	Directory func(*directory.Config) // changes the configuration; may be nil
	API       func(*api.Config)       // likewise
	Node      func(*node.Config)      // likewise
	Empty     bool                    // without the organisation and what goes with it
	Purge     bool                    // what a deleted application holds goes at once
	ZeroAdds  bool                    // 0 in an event resets nothing
	FileBytes int64                   // limit of a file; 0: the least that it may be
	Objects   Objects                 // where data of entities goes; nil: into the cluster
	// Push checks notifiers and payloads; its zero value is Providers. With NoPush
	// nothing of push is offered.
	Push   collections.Pushing
	NoPush bool
	// Engine says with which configuration notifications are sent; nil: nobody sends
	// them. With it the engine takes the place of Push.Push.
	Engine func(*push.Config)

	TestAccount    *management.TestAccount // is set up; nil: none is
	LegacyApproval bool                    // see collections.Handlers.WithLegacyApproval

	Services   []management.Service     // that vouch for people; nil: facebook, which nobody can ask
	Management func(*management.Config) // changes the configuration; may be nil
	Portage    func(*portage.Config)    // likewise
	// Challenge is asked before a mail is sent to whoever asks for it; nil: nothing is.
	Challenge pages.Challenge
	// Mail takes the mails instead of Server.Mails; may be nil.
	Mail mail.Sender
}

// Objects is a bucket of an object store.
type Objects interface {
	assets.Objects
	tasks.Objects
}

// Start starts a server that ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s, err := Open(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close server: %v", err)
		}
	})
	return s
}

// Leaks are what goleak is to overlook: goroutines of the HTTP library that end
// by themselves some seconds after their server.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	}
}

// Open starts a server on a data directory, which may hold one already.
func Open(dir string) (*Server, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options.
func OpenWith(dir string, opts Options) (s *Server, err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	if opts.Log != nil {
		log = slog.New(slog.NewTextHandler(opts.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s = &Server{App: "/acme/sandbox", Mails: newMailbox()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	nc := node.DefaultConfig(dir)
	nc.Partitions, nc.Log = 2, log
	nc.Storage.CacheBytes = 16 << 20
	nc.Halt = func(err error) { panic(err) }
	nc.StallLimit = time.Minute // a machine that runs tests may do much else
	sender := opts.Mail
	if sender == nil {
		sender = s.Mails
	}
	spool := assets.DefaultSpoolConfig(filepath.Join(dir, "uploads"))
	spool.FileBytes = max(opts.FileBytes, assets.MinFileBytes)
	uploads, err := assets.OpenSpool(spool)
	if err != nil {
		return s, err
	}
	if opts.Objects != nil {
		nc.Tasks.Kinds = tasks.WithObjects(nc.Tasks.Kinds, opts.Objects)
	}
	nc.Tasks.Kinds = append(nc.Tasks.Kinds, tasks.Mail(deliverer{sender, &s.dir}))
	nc.Tasks.Kinds = append(nc.Tasks.Kinds, s.jobKinds()...)
	if opts.Engine != nil {
		nc.Tasks.Kinds = append(nc.Tasks.Kinds, tasks.Kind{Name: entity.TaskPush, Run: s.notify})
	}
	nc.Tasks.Backoff = 10 * time.Millisecond
	if opts.Node != nil {
		opts.Node(&nc)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.Node, err = node.Start(ctx, nc); err != nil {
		return s, err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return s.Node.Close(ctx)
	})
	s.Assets = assets.New(s.Node, uploads)
	if opts.Objects != nil {
		s.Assets.WithObjects(opts.Objects, true)
	}
	if err := s.serve(ctx, log, &opts); err != nil {
		return s, err
	}
	if opts.Empty {
		return s, nil
	}
	return s, s.populate()
}

func (s *Server) serve(ctx context.Context, log *slog.Logger, opts *Options) error {
	cluster := s.Node
	dc := directory.DefaultConfig()
	dc.BcryptCost = 4
	dc.SuperuserName = SuperuserName
	dc.Warn = func(app entity.ID) {
		log.Warn("the role default grants everything to every user of the application", "application", app.String())
	}
	if opts.TestAccount != nil {
		dc.TestUsername = opts.TestAccount.Username
	}
	if opts.Directory != nil {
		opts.Directory(&dc)
	}
	dir, err := directory.Open(ctx, dc, cluster)
	if err != nil {
		return err
	}
	s.dir.Store(dir)
	if _, err := dir.EnsureSuperuser(ctx, "root@example.test", SuperuserPassword); err != nil {
		return err
	}
	mc := management.DefaultConfig()
	if opts.Purge {
		mc.PurgeAfter = 0
	}
	if opts.Management != nil {
		opts.Management(&mc)
	}
	qc := query.DefaultConfig()
	qc.CursorKey = cursor.Key(auth.DeriveKey(s.Node.Cluster().Key, "cursor"))
	engine := query.New(qc)
	site, err := newSite(auth.DeriveKey(s.Node.Cluster().Key, "form"), opts.Challenge)
	if err != nil {
		return err
	}
	if opts.Services == nil {
		opts.Services = []management.Service{{Name: "facebook", Parameter: "fb_access_token", Prefix: "fb_"}}
	}
	manage := management.New(mc, management.Parts{
		Cluster: cluster, Directory: dir, Engine: engine, Mailer: mailer{dir}, Pages: site, Services: opts.Services, Log: log,
		Portage: s.carrier(cluster, dir, opts),
		Provision: func(ctx context.Context) error {
			_, err := dir.EnsureSuperuser(ctx, "root@example.test", SuperuserPassword)
			return err
		},
	})
	if err := manage.Prepare(ctx); err != nil {
		return err
	}
	if opts.TestAccount != nil {
		if err := manage.SetUpTestAccount(ctx, *opts.TestAccount); err != nil {
			return err
		}
	}
	requests, err := tally.Start(tally.DefaultConfig(), cluster, log)
	if err != nil {
		return err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return requests.Close(ctx)
	})
	data := collections.New(cluster, dir, engine, manage).WithCounters(collections.Counting{Requests: requests, ZeroAdds: opts.ZeroAdds}).
		WithLegacyApproval(opts.LegacyApproval).WithAssets(s.Assets)
	if opts.Push.Push == nil && !opts.NoPush {
		opts.Push.Push = Providers{}
	}
	s.Data = data.WithPush(opts.Push)
	if err := s.startEngine(opts, dir, log); err != nil {
		return err
	}
	ac := api.DefaultConfig()
	if opts.API != nil {
		opts.API(&ac)
	}
	server, err := api.New(ac, api.Parts{
		Authenticate: manage.Authenticate,
		Resolve:      manage.Resolve,
		ResolveID:    manage.ResolveID,
		Access:       manage.Access,
		Management:   manage.Management,
		Applications: manage.Applications,
		System:       manage.System,
		Accounts:     manage.Accounts,
		Data:         requests.Counting(data.Handle),
		Healthy:      s.Node.Healthy,
	}, log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.URL = "http://" + ln.Addr().String()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	s.client = &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	done := make(chan error, 1)
	go func() { done <- server.Serve(wire.Linger(ln)) }()
	s.onClose(func() error {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := server.Shutdown(ctx)
		_ = ln.Close() // it is closed, unless Serve begins only now, and would never end
		return errors.Join(err, <-done)
	})
	return nil
}

func (s *Server) onClose(f func() error) { s.stop = append(s.stop, f) }

// Close ends the server.
func (s *Server) Close() error {
	var errs []error
	for i := len(s.stop) - 1; i >= 0; i-- {
		errs = append(errs, s.stop[i]())
	}
	s.stop = nil
	return errors.Join(errs...)
}

// populate makes the organisation, unless it is there, and signs its owner in.
func (s *Server) populate() error {
	return s.founded("acme", "dana")
}

// founded makes an organisation and signs its owner in.
func (s *Server) founded(organisation, owner string) error {
	if _, err := s.Do("POST", "/management/orgs", "", fmt.Sprintf(
		`{"organization":%q,"username":%[2]q,"name":"Dana","email":"%[2]s@example.test","password":"dana-secret"}`, organisation, owner)); err != nil {
		return err
	}
	a, err := s.Do("POST", "/management/token", "", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":"dana-secret"}`, owner))
	if err != nil {
		return err
	}
	if s.Admin, _ = a.Fields["access_token"].(string); s.Admin == "" {
		return fmt.Errorf("sign in: %d %s", a.Status, a.Body)
	}
	return nil
}

// Answer is a response.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Fields map[string]any // of the body, if it is a JSON object
}

// Do makes a request. The token is sent as a bearer token unless it is empty;
// an empty body is no body.
func (s *Server) Do(method, target, token, body string) (Answer, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.URL+target, content)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, target, err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return s.Send(req)
}

// Send makes a request of the caller's.
func (s *Server) Send(req *http.Request) (a Answer, err error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return a, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, fmt.Errorf("%s %s: read body: %w", req.Method, req.URL.Path, err)
	}
	return NewAnswer(resp.StatusCode, resp.Header, text), nil
}

// NewAnswer makes an answer of what a server sent.
func NewAnswer(status int, header http.Header, body []byte) Answer {
	a := Answer{Status: status, Header: header, Body: string(body)}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&a.Fields) != nil {
		a.Fields = nil // not every body is an object
	}
	return a
}

// Code is the envelope's error, empty for a success.
func (a Answer) Code() string {
	code, _ := a.Fields["error"].(string)
	return code
}

// Entities are the answer's entities.
func (a Answer) Entities() []map[string]any {
	list, _ := a.Fields["entities"].([]any)
	entities := make([]map[string]any, 0, len(list))
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			entities = append(entities, m)
		}
	}
	return entities
}

// Entity is the answer's first entity, or an empty one.
func (a Answer) Entity() map[string]any {
	if e := a.Entities(); len(e) > 0 {
		return e[0]
	}
	return map[string]any{}
}

// Cursor is where the next page begins, empty after the last.
func (a Answer) Cursor() string {
	c, _ := a.Fields["cursor"].(string)
	return c
}
