package management

import (
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// adminObject is an admin user as management shows it (spec management section
// 1.1).
type adminObject struct {
	ID            string                        `json:"uuid"`
	ApplicationID string                        `json:"applicationId"`
	Username      string                        `json:"username"`
	Name          string                        `json:"name"`
	Email         string                        `json:"email"`
	Activated     bool                          `json:"activated"`
	Confirmed     bool                          `json:"confirmed"`
	Disabled      bool                          `json:"disabled"`
	AdminUser     bool                          `json:"adminUser"`
	Display       string                        `json:"displayEmailAddress"`
	HTMLDisplay   string                        `json:"htmldisplayEmailAddress"`
	Properties    json.RawMessage               `json:"properties"`
	Token         string                        `json:"token,omitempty"`
	Organizations map[string]organizationObject `json:"organizations,omitzero"`
}

func showAdmin(a *directory.Admin) adminObject {
	o := adminObject{
		ID: a.ID.String(), ApplicationID: entity.ManagementID.String(),
		Username: a.Username, Name: a.Name, Email: a.Email,
		Activated: a.Activated, Confirmed: a.Confirmed, Disabled: a.Disabled, AdminUser: true,
		Display: a.Email, HTMLDisplay: mailLink(a.Email), Properties: a.Properties,
	}
	if strings.TrimSpace(a.Name) != "" {
		o.Display = fmt.Sprintf("%s <%s>", a.Name, a.Email)
		o.HTMLDisplay = fmt.Sprintf("%s &lt;%s&gt;", html.EscapeString(a.Name), mailLink(a.Email))
	}
	return o
}

func mailLink(address string) string {
	safe := html.EscapeString(address)
	return `<a href="mailto:` + safe + `">` + safe + `</a>`
}

// organizationObject is an organisation in its several forms (spec management
// section 1.2, 3.2, 3.3; auth-and-tokens 4.3): what is nil is left out.
type organizationObject struct {
	ID           string                 `json:"uuid"`
	Name         string                 `json:"name"`
	History      *int64                 `json:"passwordHistorySize,omitempty"`
	Properties   json.RawMessage        `json:"properties"`
	Applications map[string]string      `json:"applications,omitzero"`
	Users        map[string]adminObject `json:"users,omitzero"`
}

// showOrganization shows an organisation; history as in the forms that have it.
func showOrganization(o *directory.Organization, history bool) organizationObject {
	shown := organizationObject{ID: o.ID.String(), Name: o.Name, Properties: o.Properties}
	if history {
		n := historySize(o.Properties)
		shown.History = &n
	}
	return shown
}

// historySize reads the property passwordHistorySize: an integer or numeric text.
func historySize(properties []byte) int64 {
	v, err := fastjson.ParseBytes(properties)
	if err != nil {
		return 0
	}
	p := v.Get("passwordHistorySize")
	if p == nil {
		return 0
	}
	if n, err := p.Int64(); err == nil {
		return n
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(p.GetStringBytes())), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func appMap(apps []directory.AppName) map[string]string {
	m := make(map[string]string, len(apps))
	for _, a := range apps {
		m[a.Name] = a.ID.String()
	}
	return m
}

func userMap(admins []*directory.Admin) map[string]adminObject {
	m := make(map[string]adminObject, len(admins))
	for _, a := range admins {
		m[a.Username] = showAdmin(a)
	}
	return m
}

// organizationMap shows memberships by name; users only where they were read.
func organizationMap(list []directory.Membership, shallow bool) map[string]organizationObject {
	m := make(map[string]organizationObject, len(list))
	for i := range list {
		o := showOrganization(list[i].Organization, false)
		if !shallow {
			o.Applications = appMap(list[i].Applications)
			if list[i].Members != nil {
				o.Users = userMap(list[i].Members)
			}
		}
		m[list[i].Organization.Key()] = o
	}
	return m
}

// organizationsOf returns the organisations shown with an admin user: his own,
// for the superuser the newest of the cluster.
func (h *Handlers) organizationsOf(req *wire.Request, a *directory.Admin, members bool) ([]directory.Membership, error) {
	if !h.dir.IsSuperuserName(a.Username) {
		return h.dir.Memberships(req.Context(), a.ID, members, 10_000)
	}
	orgs, _, err := h.dir.AllOrganizations(req.Context(), 0, h.cfg.SuperuserLists)
	if err != nil {
		return nil, err
	}
	var list []directory.Membership
	for _, o := range orgs {
		m, err := h.dir.Describe(req.Context(), o.ID, members)
		if err != nil {
			return nil, err
		}
		list = append(list, *m)
	}
	return list, nil
}

// credentialsObject is what credential endpoints show.
type credentialsObject struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// applicationEntity returns an application's entity (spec management section
// 1.3).
func (h *Handlers) applicationEntity(req *wire.Request, a *directory.Application) (json.RawMessage, error) {
	view, err := h.cluster.View(req.Context(), a.Number)
	if err != nil {
		return nil, err
	}
	collections, err := storage.Collections(view, a.Number)
	if err = errorsFirst(err, view.Close()); err != nil {
		return nil, fmt.Errorf("list collections of application %s: %w", a.ID, err)
	}
	return directory.AppendApplicationEntity(nil, &a.Application, &a.Record, collections)
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// showUser returns an app user as a token's reply shows him.
func showUser(u *directory.User) []byte {
	return wire.AppendEntity(nil, &u.Entity, &wire.Shape{Type: "user", Path: "/users"}, nil)
}

// mayManage refuses who is neither member, client nor superuser (A10).
func mayManage(p *auth.Principal, org *directory.Organization) error {
	if p.Manages(org.ID) {
		return nil
	}
	return noOrganizationAccess()
}
