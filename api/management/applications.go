package management

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func (c *call) listAllApplications() (*wire.Reply, error) {
	apps, err := c.dir.AllApplications(c.req.Context(), c.req.Query("deleted") == "true", 10_000)
	if err != nil {
		return nil, err
	}
	return wire.Management("get applications").Field("status", "ok").Field("applications", appMap(apps)), nil
}

func (c *call) listApplications() (*wire.Reply, error) {
	apps, err := c.dir.Applications(c.req.Context(), c.org.ID, c.req.Query("deleted") == "true")
	if err != nil {
		return nil, err
	}
	return wire.Management("get organization application").Field("data", appMap(apps)), nil
}

// newApplication makes the choices that a new application needs.
func (h *Handlers) newApplication(name string, open bool) (command.NewApplication, error) {
	id := entity.NewID()
	secret, err := h.dir.NewClientSecret(auth.OwnerApplication, id)
	if err != nil {
		return command.NewApplication{}, err
	}
	partition, err := h.cluster.ChoosePartition()
	return command.NewApplication{ID: id, Name: name, Partition: partition, Secret: string(secret.Value), Open: open}, err
}

// applicationName checks the name of a new application, which may come with
// that of its organisation.
func applicationName(org *directory.Organization, name string) (string, error) {
	name = strings.ToLower(name)
	if prefix, bare, ok := strings.Cut(name, "/"); ok {
		if prefix != org.Key() {
			return "", bad("the application %q does not belong to the organization %q", name, org.Name)
		}
		name = bare
	}
	if name == "" {
		return "", bad("The 'name' parameter is required and cannot be empty: {\"name\":\"new-application-name\"}")
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return "", bad("an application's name has letters, digits, _ - and . only")
		}
	}
	switch name {
	case "apps", "applications", "a": // would be taken for the word before an application
		return "", bad("the application name %q is reserved", name)
	}
	return name, checkName("name", name)
}

func (c *call) createApplication() (*wire.Reply, error) {
	a := args{req: c.req}
	given := a.get("name")
	if a.err != nil {
		return nil, a.err
	}
	name, err := applicationName(c.org, given)
	if err != nil {
		return nil, err
	}
	app, err := c.newApplication(name, false)
	if err != nil {
		return nil, err
	}
	told, err := c.tell(event{
		verb: "create", sentence: "created a new application named", name: name,
		objectType: "Application", typ: "application_info", object: app.ID, organization: c.org.ID,
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.proposeIn(entity.Management, c.now(), command.CreateApplication{Organization: c.org.ID, Application: app}, told...); err != nil {
		return nil, err
	}
	if c.app, err = c.dir.Application(c.req.Context(), c.org.ID.String(), name); err != nil {
		return nil, err
	}
	shown, err := c.applicationEntity(c.app)
	if err != nil {
		return nil, err
	}
	return wire.Management("new application for organization").
		Field("data", map[string]string{c.app.FullName(): c.app.ID.String()}).
		Field("entities", []json.RawMessage{shown}), nil
}

// tell returns what posts an event, if an admin user is behind it.
func (c *call) tell(e event) ([]command.Op, error) {
	p := c.req.Principal
	if !p.IsAdmin() {
		return nil, nil
	}
	members, err := c.memberIDs(e.organization)
	if err != nil {
		return nil, err
	}
	return []command.Op{e.post(&directory.Admin{ID: p.ID, Name: p.Name, Email: p.Email}, members, c.now())}, nil
}

// aboutApplication begins a reply about an application of the organisation.
func (c *call) aboutApplication(action string, id entity.ID, name string) *wire.Reply {
	return wire.Management(action).
		Field("application", id.String()).
		RawField("params", c.req.AppendParams(nil)).
		Field("organization", c.org.Key()).
		Field("applicationName", name)
}

func (c *call) showApplication() (*wire.Reply, error) {
	shown, err := c.applicationEntity(c.app)
	if err != nil {
		return nil, err
	}
	return c.aboutApplication("get", c.app.ID, c.app.Name).
		Field("uri", c.req.BaseURL()+"/"+c.app.FullName()).
		Field("entities", []json.RawMessage{shown}), nil
}

// restorePassword is the parameter that a restored application may have to be asked for
// with.
const restorePassword = "restore_password"

func (c *call) deleteApplication() (*wire.Reply, error) {
	named := c.segment("app")
	confirmed := firstText(c.req.Query("confirm_application_identifier"), c.req.Query("confirm_application_id"))
	if !strings.EqualFold(confirmed, named) && (confirmed != "" || !c.cfg.DeleteUnconfirmed) {
		return nil, bad("Cannot delete application without supplying correct application name: confirm_application_identifier must be %q", named)
	}
	op := command.DeleteApplication{Organization: c.org.ID, Application: c.app.ID, PurgeAt: c.req.Time().Add(c.cfg.PurgeAfter).UnixMilli()}
	lock, err := c.lock()
	if err != nil {
		return nil, err
	}
	if _, err := c.propose(op, lock); err != nil {
		return nil, err
	}
	return c.aboutApplication("delete", c.app.ID, c.app.Name), nil
}

// lock returns the command that says by which password an application that was deleted
// may be restored: only the superuser can set one, and each deletion without one clears
// it. What is stored is a hash.
func (c *call) lock() (command.Op, error) {
	fields := directory.Fields{directory.RestoreLock: json.RawMessage("null")}
	if password := c.req.Query(restorePassword); password != "" && c.req.Principal.Kind == auth.Superuser {
		hash, err := c.dir.HashSecret(c.req.Context(), password)
		if err != nil {
			return nil, err
		}
		fields.Set(directory.RestoreLock, hash)
	}
	return command.UpdateEntity{
		Rules: command.DeletedApplications(), Target: command.Target{ID: c.app.ID}, Patch: fields.JSON(),
	}, nil
}

// restoreApplication brings a deleted application back, named by its UUID (spec
// management section 6.5).
func (c *call) restoreApplication() (*wire.Reply, error) {
	id, ok := entity.ParseID(c.segment("deleted"))
	if !ok {
		return nil, fault.New(fault.EntityNotFound, "Deleted application ID %q not found", c.segment("deleted"))
	}
	gone, err := c.dir.DeletedApplication(c.req.Context(), c.org.ID, id)
	if err != nil {
		return nil, err
	}
	if gone == nil {
		return nil, fault.New(fault.EntityNotFound, "Deleted application ID %s not found", id)
	}
	if gone.Lock != "" && c.req.Principal.Kind != auth.Superuser {
		right, err := c.dir.SecretIs(c.req.Context(), gone.Lock, c.req.Query(restorePassword))
		if err != nil {
			return nil, err
		}
		if !right {
			return nil, bad("restore_password is missing or wrong")
		}
	}
	secret, err := c.dir.NewClientSecret(auth.OwnerApplication, id)
	if err != nil {
		return nil, err
	}
	told, err := c.tell(event{
		verb: "restore", sentence: "restored an application named", name: gone.Name,
		objectType: "Application", typ: "application_info", object: id, organization: c.org.ID,
	})
	if err != nil {
		return nil, err
	}
	_, err = c.proposeIn(entity.Management, c.now(), command.RestoreApplication{
		Organization: c.org.ID, Application: id, Secret: secret,
	}, told...)
	if err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(gone.Name, "/")
	return c.aboutApplication("restore", id, name), nil
}

func (c *call) applicationCredentials() (*wire.Reply, error) {
	return c.credentials(command.Applications().Collection, auth.OwnerApplication, c.app.ID,
		"get application client credentials", "generate application client credentials")
}

// applicationKeys answers /{org}/{app}/credentials, which no user and no guest
// gets, not even where guests may do everything.
func (c *call) applicationKeys() (*wire.Reply, error) {
	reply, err := c.credentials(command.Applications().Collection, auth.OwnerApplication, c.req.App.ID,
		"get application keys", "generate application keys")
	if err != nil {
		return nil, err
	}
	return reply.Field("status", "ok"), nil
}

// warnDefault is what the status of an application says of its first days.
const warnDefault = "the role default grants everything (/**): every user of the application may read and change all of it, roles included"

// applicationStatus says that the application can be loaded, which it has been, and what
// its administrators should see to.
func (c *call) applicationStatus() (*wire.Reply, error) {
	if _, err := c.applicationEntity(c.app); err != nil {
		return nil, err
	}
	reply := wire.Management("get application status").Field("status", "ok").Field("application", c.app.ID.String())
	open, err := c.dir.UsersMayAll(c.req.Context(), c.app.Number)
	if err == nil && open && !c.app.Open {
		reply.Field("warnings", []string{warnDefault})
	}
	return reply, err
}

// setProvider stores how an application checks tokens of a sign-in provider (spec
// management section 6.8). The application's entity does not show it.
func (c *call) setProvider() (*wire.Reply, error) {
	provider := c.req.Query("provider_key")
	if !slices.Contains([]string{"facebook", "foursquare", "pingident"}, provider) {
		return nil, bad("provider_key must be facebook, foursquare or pingident")
	}
	v, err := c.body()
	if err != nil {
		return nil, err
	}
	v.GetObject().Visit(func(key []byte, value *fastjson.Value) {
		switch value.Type() {
		case fastjson.TypeString, fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse, fastjson.TypeNull:
		default:
			err = bad("the setting %q must be a text, a number or a boolean", key)
		}
	})
	if err != nil {
		return nil, err
	}
	sent, err := c.objectText()
	if err != nil {
		return nil, err
	}
	all, err := members(sent, "access_token")
	if err != nil {
		return nil, err
	}
	text := directory.Fields(all).JSON()
	if len(text) > maxProvider {
		return nil, fault.New(fault.EntityTooLarge, "settings of a provider are larger than %d bytes", maxProvider)
	}
	if err := c.keepProvider(provider, text); err != nil {
		return nil, err
	}
	return wire.Management("post signin provider configuration").Field("status", "ok"), nil
}

const (
	maxProvider   = 16 << 10 // bytes of the settings of a sign-in provider
	mostConflicts = 10       // of one change with others
)

// keepProvider stores the settings of a provider beside those of others. They hold the
// secrets of others: only a server that has the key can read them.
func (c *call) keepProvider(provider string, settings []byte) error {
	const kind = entity.CredentialProvider
	for tries := 1; ; tries++ {
		var stored entity.Credential
		err := c.reading(entity.Management, func(v *storage.View) (err error) {
			stored, _, err = storage.ReadCredential(v, entity.Management, c.app.ID, kind)
			return err
		})
		if err != nil {
			return err
		}
		all := directory.Fields{}
		if len(stored.Value) > 0 {
			text, err := c.dir.Open(c.app.ID, kind, stored.Value)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(text, &all); err != nil {
				return fault.Wrap(err, fault.Corrupt, "settings of the providers of application %s", c.app.ID)
			}
		}
		all[provider] = settings
		sealed, err := c.dir.Seal(c.app.ID, kind, all.JSON())
		if err != nil {
			return err
		}
		_, err = c.propose(command.SetCredential{
			Collection: command.Applications().Collection, Owner: c.app.ID,
			Credential: command.Credential{Kind: kind, Value: sealed}, Expect: append([]byte{}, stored.Value...),
		})
		if !fault.Is(err, fault.Conflict) || tries == mostConflicts {
			return err
		}
	}
}
