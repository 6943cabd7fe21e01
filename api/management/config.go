package management

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/redirect"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Cluster is what the handlers need of a node.
type Cluster interface {
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	View(ctx context.Context, app entity.AppID) (*storage.View, error)
	ChoosePartition() (entity.Partition, error) // for a new application
}

// Config says what of the API's switches is on.
type Config struct {
	PublicRegistration bool   // anybody may create an organisation; else only the superuser
	SandboxName        string // of the application each organisation begins with
	SuperuserLists     int    // most organisations shown with the superuser
	// PurgeAfter is how long what a deleted application holds is kept.
	PurgeAfter time.Duration
	// MaxMeasured is of how many entities at most the size is measured, at once.
	MaxMeasured uint64
	// DeleteUnconfirmed: an application is deleted without its name as a confirmation.
	DeleteUnconfirmed bool

	Registration Registration

	// LoginURL is where the page of a new password leads; empty: nowhere.
	LoginURL string
	// AskPrograms: who asks for a password reset with JSON must answer the challenge of
	// the form, too.
	AskPrograms bool
	// RevealAccounts: who asks for a password reset is told whether there is such an
	// account.
	RevealAccounts bool
	// Views are addresses that a client is sent to instead of being shown a page: by the
	// name of the page, such as "management.users.user.activate".
	Views map[string]string
	// SettingPrefix begins the settings that an organisation may have besides the known
	// ones.
	SettingPrefix string
	Redirects     redirect.Allow // where authorize may lead
}

// Registration says what stands between registering and signing in, and who is told
// (spec management section 2).
type Registration struct {
	ApproveOrganizations, ConfirmOrganizations bool
	ApproveAdmins, ConfirmAdmins               bool
	NotifyAdmins                               bool // of their activation
	NotifyOfOrganizations, NotifyOfAdmins      bool // the operator
	// Addresses of the operator. The last two are the first where they are empty; without
	// any, what he should get is not sent.
	Operator, OrganizationOperator, AdminOperator string
}

// open reports whether whoever registers with an organisation may sign in at once.
func (r *Registration) open() bool {
	return !r.ApproveOrganizations && !r.ConfirmOrganizations && !r.ApproveAdmins && !r.ConfirmAdmins
}

func (r *Registration) organizationOperator() string {
	return firstText(r.OrganizationOperator, r.Operator)
}
func (r *Registration) adminOperator() string { return firstText(r.AdminOperator, r.Operator) }

func firstText(texts ...string) string {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config {
	return Config{
		PublicRegistration: true, SandboxName: "sandbox", SuperuserLists: 10, PurgeAfter: 30 * 24 * time.Hour,
		SettingPrefix: "usergrid.view.", MaxMeasured: 1_000_000,
	}
}

// Mailer makes the durable tasks that send mails.
type Mailer interface {
	// Task makes the task of a mail; the mail has at most 100 recipients. A mail it does
	// not know, or one that lacks a variable, is an error of the caller's.
	Task(m Mail) (command.NewTask, error)
}

// Mail is a mail to be sent: which one, to whom, and its variables.
type Mail struct {
	Key       string
	To        []Recipient
	Variables map[string]string
}

// Recipient is a person and where his mail goes.
type Recipient struct{ Name, Address string }

// Parts are what the handlers work with. All but Provision are wanted.
type Parts struct {
	Cluster   Cluster
	Directory *directory.Directory
	Engine    *query.Engine // answers feeds
	Mailer    Mailer
	Pages     *pages.Site
	Services  []Service // that vouch for people; may be empty
	// Provision makes sure that the superuser is there; nil: that is nothing to do.
	Provision func(context.Context) error
	Log       *slog.Logger
}

// Handlers answer management requests. They are safe for concurrent use.
type Handlers struct {
	Parts
	cfg     Config
	cluster Cluster
	dir     *directory.Directory
	areas   map[string]*node
}

// New makes the handlers.
func New(cfg Config, parts Parts) *Handlers {
	h := &Handlers{Parts: parts, cfg: cfg, cluster: parts.Cluster, dir: parts.Directory}
	h.Log = parts.Log.With("part", "management")
	h.areas = plant(Routes())
	return h
}
