package collections

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Cluster is what the handlers need of a node.
type Cluster interface {
	// Propose runs a command and returns its outcome. A request id or time of
	// zero is filled in.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	// View opens a linearizable view on the partition of an application.
	View(ctx context.Context, app entity.AppID) (*storage.View, error)
	// StaleView opens a view on the local replica, however old, and says how
	// old it can be: less than 0 if nobody knows.
	StaleView(ctx context.Context, app entity.AppID) (*storage.View, time.Duration, error)
}

// Passwords keeps the passwords of app users.
type Passwords interface {
	// HashPassword checks the policy and makes a credential of a password.
	HashPassword(ctx context.Context, password string) (command.Credential, error)
	// SetUserPassword changes a user's password; unless force is set, old must
	// be the one he has.
	SetUserPassword(ctx context.Context, app entity.AppID, who, old, password string, force bool) error
}

// Accounts is what the handlers need to know of the principals of applications.
type Accounts interface {
	Passwords
	// SeedRoles gives an application its default roles, unless it has had them; if
	// reset, those that are missing, and all default permissions. It returns the roles
	// that were created.
	SeedRoles(ctx context.Context, app entity.AppID, open, reset bool) ([]entity.Entity, error)
	// Seal encrypts a secret that must be shown again, and Open decrypts it.
	Seal(owner entity.ID, kind byte, secret []byte) ([]byte, error)
	Open(owner entity.ID, kind byte, sealed []byte) ([]byte, error)
}

// Mails tells app users of their accounts.
type Mails interface {
	// SendPin mails a user his PIN: IllegalArgument if he has no e-mail address.
	SendPin(ctx context.Context, app *wire.Application, user *entity.Entity, pin string) error
	// Welcome returns what goes with the creation of a user who may not sign in yet: mails
	// as tasks, and the tokens in their links. The user's number may be unknown still.
	Welcome(req *wire.Request, user *entity.Entity) ([]command.Op, error)
}

// Handlers answer requests about the data of applications. They are safe for
// concurrent use.
type Handlers struct {
	cluster  Cluster
	accounts Accounts
	engine   *query.Engine
	mails    Mails
	types    typeCache
	requests Requests
	zeroAdds bool
	assets   *assets.Store // nil: entities have no binary data
	pushing  Pushing

	legacyApproval bool
}

// New makes handlers, which answer queries by an engine.
func New(cluster Cluster, accounts Accounts, engine *query.Engine, mails Mails) *Handlers {
	return &Handlers{cluster: cluster, accounts: accounts, engine: engine, mails: mails}
}

// WithLegacyApproval sets whether, as in Usergrid, users of an application that asks for
// an administrator's approval alone may sign in without it. Call it before the handlers
// are used.
func (h *Handlers) WithLegacyApproval(on bool) *Handlers {
	h.legacyApproval = on
	return h
}

// Handle answers one request, whose application is resolved and whose segments
// begin below it.
func (h *Handlers) Handle(req *wire.Request) (*wire.Reply, error) {
	segments := req.Segments()
	if len(segments) == 0 {
		return h.root(req)
	}
	if schema.Command(asAssets(segments)[0]) {
		return h.command(req)
	}
	if err := h.bare(req); err != nil {
		return nil, err
	}
	c, err := h.call(req, asAssets(req.Segments()))
	if err != nil {
		return nil, err
	}
	c.cutData()
	reply, err := c.answer()
	if err == nil {
		err = c.clearTokens()
	}
	return reply, err
}

// call is one request about a collection.
type call struct {
	*Handlers
	req  *wire.Request
	typ  *schema.Type
	seg  []string // segments of the path; one names an entity, also a group
	own  []param  // matrix parameters of the collection's segment
	path string   // "/items"
	me   bool     // the item segment was "me"
	data bool     // it is about the data of the entity alone

	tokens *[]came // that the request gives devices, if one device has a token only

	group entity.ID      // whose roles are created, if they are those of a group
	actor *entity.Entity // the user who posts activities; nil: nobody does

	registration registration // see registers
}

// call finds the collection of a request.
func (h *Handlers) call(req *wire.Request, segments []string) (*call, error) {
	first, own := cutMatrix(segments[0])
	typ, err := h.types.of(first)
	if err != nil {
		if refused := req.Access.Check(auth.OpOf(req.Method()), segments); refused != nil {
			return nil, refused
		}
		return nil, err
	}
	return &call{Handlers: h, req: req, typ: typ, seg: segments, own: own, path: "/" + typ.Collection, tokens: &[]came{}}, nil
}

// answer checks access and chooses by number of segments and method.
func (c *call) answer() (*wire.Reply, error) {
	if c.typ.Collection == "users" && len(c.seg) > 1 {
		if reply, done, err := c.account(c.seg[1:]); done {
			return reply, err
		}
	}
	if err := c.unswap(); err != nil {
		return nil, err
	}
	if err := c.authorize(); err != nil {
		return nil, err
	}
	if c.typ.Collection == "counters" {
		return c.counters()
	}
	if !c.offered(c.typ) {
		return nil, notOffered(c.typ.Collection)
	}
	if c.typ.Collection == "users" && len(c.seg) == 3 && contains(commands, c.seg[2]) {
		return c.commandUser()
	}
	if byPath(c.typ) && len(c.seg) > 1 && len(c.own) == 0 {
		if err := c.joinPath(); err != nil {
			return nil, err
		}
		if c.data && len(c.seg) > 2 { // the word stands in the path of a connection
			c.seg, c.data = append(slices.Clip(c.seg), dataWord), false
			if err := c.authorize(); err != nil {
				return nil, err
			}
		}
	}
	if c.pushing.Push != nil {
		if reply, done, err := c.pushes(); done || err != nil {
			return reply, err
		}
	}
	segments := c.seg
	if len(segments) == 1 {
		return c.collection(&params{own: c.own, rest: c.req})
	}
	if len(c.own) > 0 { // they stand in the place of an entity: the next segment is a relation
		return c.connections(true, nil, segments[1:])
	}
	item := segments[1]
	every, own, err := c.selection(item)
	switch {
	case err != nil:
		return nil, err
	case len(segments) > 2 && (item != "_clear" || len(segments) > 3):
		return c.connections(every, own, segments[2:])
	case every:
		return c.collection(&params{own: own, every: true, rest: c.req})
	case item == "_settings":
		return c.settings()
	case item == "_reindex":
		return c.reindex()
	case item == "_clear":
		return c.clear(segments[2:])
	case item == "indexes" && c.req.Method() == "GET":
		return c.indexes()
	}
	return c.item(item)
}

// unswap puts right the path /roles/users/{role}, which one client asks for and which
// means the users of a role, unless there is a role of this name.
func (c *call) unswap() error {
	if c.typ.Collection != "roles" || len(c.seg) != 3 || c.req.Method() != "GET" || inflect.Collection(c.seg[1]) != "users" || membershipOf("roles", inflect.Collection(c.seg[2])) != nil {
		return nil
	}
	t, err := c.target(c.seg[1])
	if err != nil {
		return err
	}
	_, found, err := c.lookup(&t)
	if err == nil && !found {
		c.seg = []string{c.seg[0], c.seg[2], c.seg[1]}
	}
	return err
}

// selection reads the segment after a collection's name if it, or the parameters of
// the name, select several entities.
func (c *call) selection(item string) (every bool, own []param, err error) {
	name, own := cutMatrix(item)
	switch {
	case strings.HasPrefix(item, "{"):
		own, err = jsonParams(item)
		return true, own, err
	case name == "all", name == "*":
		return true, append(own, c.own...), nil
	}
	return false, nil, nil
}

// collection answers a request about the whole collection.
func (c *call) collection(p *params) (*wire.Reply, error) {
	if isEvents(c.typ) {
		return c.events(p)
	}
	switch c.req.Method() {
	case "GET":
		return c.list(p)
	case "POST":
		return c.createAny(true)
	case "PUT":
		if p.selects() {
			return c.updateMany(p)
		}
		return c.createAny(false)
	}
	if p.selects() {
		return c.deleteMany(p)
	}
	return nil, fault.New(fault.UnsupportedAction, "a collection is deleted by query, or entity by entity")
}

// item answers a request about one entity.
func (c *call) item(segment string) (*wire.Reply, error) {
	if isEvents(c.typ) {
		return c.event(segment)
	}
	t, err := c.target(segment)
	if err != nil {
		return nil, err
	}
	method := c.req.Method()
	switch {
	case c.data && c.assets == nil:
		return nil, notOffered(c.typ.Collection + " " + dataWord)
	case method == "PUT" || method == "POST":
		expected := wire.RawToo
		if c.data {
			expected = wire.Anything
		}
		reply, done, err := c.uploads(expected, func(up *wire.Upload) (*wire.Reply, error) { return c.attach(t, up) })
		if done {
			return reply, err
		}
	}
	switch {
	case method == "GET" && c.wantsData():
		return c.sendItem(t)
	case c.data:
		return nil, fault.New(fault.UnsupportedAction, "data is replaced, or goes with its entity")
	case method == "GET":
		return c.show(t)
	case method == "PUT":
		return c.update(t)
	case method == "POST":
		return c.touch(t)
	}
	return c.remove(t)
}

// createAny answers POST to a collection, and PUT without id or query, with whatever body.
func (c *call) createAny(batch bool) (*wire.Reply, error) {
	reply, done, err := c.uploads(wire.Forms, c.createWithFile)
	if done {
		return reply, err
	}
	return c.create(batch)
}

// jsonBody returns the JSON a write brings; nil if it brings nothing.
func (c *call) jsonBody() ([]byte, error) { return c.req.JSON() }

// command answers what is named like a collection and is none.
func (h *Handlers) command(req *wire.Request) (*wire.Reply, error) {
	segments := req.Segments()
	if err := req.Access.Check(auth.OpOf(req.Method()), segments); err != nil {
		return nil, err
	}
	if len(segments) == 1 {
		switch strings.ToLower(segments[0]) {
		case "hello":
			if req.Method() == "GET" {
				return req.Root().RawField("data", []byte(`{"say":"Hello!"}`)), nil
			}
		case "rolenames":
			return h.roleNamesOfApplication(req)
		case "resetroles":
			return h.resetRoles(req)
		}
	}
	return nil, notOffered(segments[0])
}

func notOffered(what string) error {
	return fault.New(fault.NotImplemented, "%s: not offered by this version", what)
}

// view opens a view, stale if the client is content with that: the answer then
// says how old it can be.
func (h *Handlers) view(req *wire.Request) (*storage.View, error) {
	if req.Stale() {
		v, age, err := h.cluster.StaleView(req.Context(), req.App.Number)
		if err == nil {
			req.Aged(age)
		}
		return v, err
	}
	return h.cluster.View(req.Context(), req.App.Number)
}

// reading calls f with a view, which is closed when f returns.
func (h *Handlers) reading(req *wire.Request, f func(*storage.View) error) error {
	v, err := h.view(req)
	if err != nil {
		return err
	}
	return looking(v, f)
}

// upToDate is reading for what a write goes by, whatever the client says of reads.
func (h *Handlers) upToDate(req *wire.Request, f func(*storage.View) error) error {
	v, err := h.cluster.View(req.Context(), req.App.Number)
	if err != nil {
		return err
	}
	return looking(v, f)
}

func looking(v *storage.View, f func(*storage.View) error) (err error) {
	defer func() { // also after a panic: a view that stays open holds up compaction for ever
		if closed := v.Close(); err == nil && closed != nil {
			err = fmt.Errorf("close view: %w", closed)
		}
	}()
	return f(v)
}

// propose runs a command of a request. A refusal is an error.
func (h *Handlers) propose(req *wire.Request, op command.Op) (command.Outcome, error) {
	return h.proposeIn(req, req.App.Number, op)
}

// proposeIn is propose for a command in this application or in another.
func (h *Handlers) proposeIn(req *wire.Request, app entity.AppID, op command.Op) (command.Outcome, error) {
	step := 0
	if app != req.App.Number {
		step = 1
	}
	return h.proposeStep(req, app, op, step)
}

// firstOfMany is the step of the first of several commands of one request.
const firstOfMany = 2

// proposeStep runs one of several commands of a request: the step tells them apart.
func (h *Handlers) proposeStep(req *wire.Request, app entity.AppID, op command.Op, step int) (command.Outcome, error) {
	cmd := command.Command{App: app, Op: op}
	id, ok, err := req.Idempotency(step)
	if err != nil {
		return command.Outcome{}, err
	}
	if ok {
		cmd.Request = id
	}
	out, err := h.cluster.Propose(req.Context(), app, cmd)
	if err != nil {
		return out, err
	}
	req.Wrote()
	if out.Fault != nil {
		return out, out.Fault
	}
	return out, nil
}
