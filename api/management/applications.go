package management

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// applications answers /management/orgs/{org}/apps/…
func (h *Handlers) applications(req *wire.Request, org *directory.Organization, s []string) (*wire.Reply, error) {
	if err := mayManage(req.Principal, org); err != nil {
		return nil, err
	}
	if len(s) == 0 {
		switch req.Method() {
		case "GET":
			return h.listApplications(req, org)
		case "POST":
			return h.createApplication(req, org)
		}
		return nil, noMethod()
	}
	if len(s) == 1 && req.Method() == "PUT" {
		return nil, notOffered() // restores a deleted one
	}
	app, err := h.dir.Application(req.Context(), org.ID.String(), s[0])
	if fault.Is(err, fault.OrganizationApplicationNotFound) {
		return nil, fault.Wrap(err, fault.EntityNotFound, "Could not find application %s/%s", org.Key(), s[0])
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(s) == 1 && req.Method() == "GET":
		return h.showApplication(req, app)
	case len(s) == 1 && req.Method() == "DELETE":
		return h.deleteApplication(req, org, app, s[0])
	case len(s) == 1:
		return nil, noMethod()
	case len(s) == 2 && strings.EqualFold(s[1], "credentials"):
		return h.credentials(req, command.Applications().Collection, auth.OwnerApplication, app.ID,
			"get application client credentials", "generate application client credentials")
	}
	switch strings.ToLower(s[1]) {
	case "_size", "status", "export", "imports", "sia-provider", "collections", "collection":
		return nil, notOffered()
	}
	if len(s) == 3 && s[2] == "_size" {
		return nil, notOffered()
	}
	return nil, noRoute()
}

func (h *Handlers) listApplications(req *wire.Request, org *directory.Organization) (*wire.Reply, error) {
	apps, err := h.dir.Applications(req.Context(), org.ID, req.Query("deleted") == "true")
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

func (h *Handlers) createApplication(req *wire.Request, org *directory.Organization) (*wire.Reply, error) {
	a := args{req: req}
	given := a.get("name")
	if a.err != nil {
		return nil, a.err
	}
	name, err := applicationName(org, given)
	if err != nil {
		return nil, err
	}
	app, err := h.newApplication(name, false)
	if err != nil {
		return nil, err
	}
	if _, err := h.propose(req, command.CreateApplication{Organization: org.ID, Application: app}); err != nil {
		return nil, err
	}
	created, err := h.dir.Application(req.Context(), org.ID.String(), name)
	if err != nil {
		return nil, err
	}
	shown, err := h.applicationEntity(req, created)
	if err != nil {
		return nil, err
	}
	return wire.Management("new application for organization").
		Field("data", map[string]string{created.FullName(): created.ID.String()}).
		Field("entities", []json.RawMessage{shown}), nil
}

// aboutApplication begins a reply about one application.
func aboutApplication(req *wire.Request, action string, app *directory.Application) *wire.Reply {
	return wire.Management(action).
		Field("application", app.ID.String()).
		RawField("params", req.AppendParams(nil)).
		Field("organization", app.OrganizationName).
		Field("applicationName", app.Name)
}

func (h *Handlers) showApplication(req *wire.Request, app *directory.Application) (*wire.Reply, error) {
	shown, err := h.applicationEntity(req, app)
	if err != nil {
		return nil, err
	}
	return aboutApplication(req, "get", app).
		Field("uri", req.BaseURL()+"/"+app.FullName()).
		Field("entities", []json.RawMessage{shown}), nil
}

func (h *Handlers) deleteApplication(req *wire.Request, org *directory.Organization, app *directory.Application, named string) (*wire.Reply, error) {
	confirmed := req.Query("confirm_application_identifier")
	if confirmed == "" {
		confirmed = req.Query("confirm_application_id")
	}
	if confirmed == "" || !strings.EqualFold(confirmed, named) {
		return nil, bad("Cannot delete application without supplying correct application name: confirm_application_identifier must be %q", named)
	}
	if req.HasQuery("restore_password") {
		return nil, notOffered()
	}
	op := command.DeleteApplication{Organization: org.ID, Application: app.ID, PurgeAt: time.Now().Add(h.cfg.PurgeAfter).UnixMilli()}
	if _, err := h.propose(req, op); err != nil {
		return nil, err
	}
	return aboutApplication(req, "delete", app), nil
}

// applicationKeys answers /{org}/{app}/credentials, which no user and no guest
// gets, not even where guests may do everything.
func (h *Handlers) applicationKeys(req *wire.Request) (*wire.Reply, error) {
	if !req.Access.Everything() {
		return nil, fault.New(fault.Unauthorized, "Subject does not have permission to access this resource")
	}
	reply, err := h.credentials(req, command.Applications().Collection, auth.OwnerApplication, req.App.ID,
		"get application keys", "generate application keys")
	if err != nil {
		return nil, err
	}
	return reply.Field("status", "ok"), nil
}
