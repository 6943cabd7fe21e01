package management

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"

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

func adminOf(a *directory.Admin) adminObject {
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

// aboutAdmin is a reply about an admin user.
func aboutAdmin(action string, a *directory.Admin) *wire.Reply {
	return wire.Management(action).Field("status", "ok").Field("data", map[string]any{"user": adminOf(a)})
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

// organizationOf shows an organisation; history as in the forms that have it.
func organizationOf(o *directory.Organization, history bool) organizationObject {
	shown := organizationObject{ID: o.ID.String(), Name: o.Name, Properties: o.Properties}
	if history {
		n := o.HistorySize()
		shown.History = &n
	}
	return shown
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
		m[a.Username] = adminOf(a)
	}
	return m
}

// organizationMap shows memberships by name; users only where they were read.
func organizationMap(list []directory.Membership, shallow bool) map[string]organizationObject {
	m := make(map[string]organizationObject, len(list))
	for i := range list {
		o := organizationOf(list[i].Organization, false)
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
func (c *call) organizationsOf(a *directory.Admin, members bool) ([]directory.Membership, error) {
	ctx := c.req.Context()
	if !c.dir.IsSuperuserName(a.Username) {
		return c.dir.Memberships(ctx, a.ID, members, 10_000)
	}
	orgs, _, err := c.dir.AllOrganizations(ctx, 0, c.cfg.SuperuserLists)
	if err != nil {
		return nil, err
	}
	var list []directory.Membership
	for _, o := range orgs {
		m, err := c.dir.Describe(ctx, o.ID, members)
		if err != nil {
			return nil, err
		}
		list = append(list, *m)
	}
	return list, nil
}

// describe shows an organisation with its applications and users.
func (c *call) describe(id entity.ID) (organizationObject, error) {
	m, err := c.dir.Describe(c.req.Context(), id, true)
	if err != nil {
		return organizationObject{}, err
	}
	shown := organizationOf(m.Organization, true)
	shown.Applications, shown.Users = appMap(m.Applications), userMap(m.Members)
	return shown, nil
}

// credentialsObject is what credential endpoints show.
type credentialsObject struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// applicationEntity returns an application's entity (spec management section
// 1.3).
func (c *call) applicationEntity(a *directory.Application) (json.RawMessage, error) {
	var collections []storage.Collection
	err := c.reading(a.Number, func(v *storage.View) (err error) {
		collections, err = storage.Collections(v, a.Number)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list collections of application %s: %w", a.ID, err)
	}
	return directory.AppendApplicationEntity(nil, &a.Application, &a.Record, collections)
}

// reading runs f on a view of an application.
func (c *call) reading(app entity.AppID, f func(*storage.View) error) error {
	view, err := c.cluster.View(c.req.Context(), app)
	if err != nil {
		return err
	}
	err = f(view)
	if closed := view.Close(); err == nil {
		err = closed
	}
	return err
}

// userOf returns an app user as a token's reply shows him.
func userOf(u *directory.User) []byte {
	return wire.AppendEntity(nil, &u.Entity, &wire.Shape{Type: "user", Path: "/users"}, nil)
}
