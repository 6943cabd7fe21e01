package management

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
)

// Settings of an organisation that are not of a pattern.
const (
	settingConnections   = directory.SettingConnections
	settingOperatorEmail = "usergrid.admin.sysadmin.email"

	maxSetting  = 2048 // bytes
	maxSettings = 200
)

// maySet reports whether an organisation can have a setting.
func (c *call) maySet(name string) bool {
	switch name {
	case settingBaseURL, settingConnections, settingOperatorEmail:
		return true
	}
	return len(name) <= maxName && c.cfg.SettingPrefix != "" && strings.HasPrefix(name, c.cfg.SettingPrefix)
}

// serverSettings are what an organisation without settings of its own has.
func (c *call) serverSettings() map[string]string {
	all := map[string]string{
		settingBaseURL: c.req.BaseURL(), settingConnections: "all", settingOperatorEmail: c.cfg.Registration.adminOperator(),
	}
	for name, address := range c.cfg.Views {
		all["usergrid.view."+name] = address
	}
	return all
}

// showSettings answers GET of an organisation's configuration (spec management section
// 3.11).
func (c *call) showSettings() (*wire.Reply, error) {
	wanted := func(string) bool { return true }
	if items := strings.TrimSpace(c.req.Query("items")); items != "" && items != "*" {
		list := strings.Split(items, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		wanted = func(name string) bool { return slices.Contains(list, name) }
	}
	own, defaults := map[string]string{}, map[string]string{}
	for name, value := range c.serverSettings() {
		if wanted(name) {
			defaults[name] = value
		}
	}
	for name, value := range c.org.Settings {
		if wanted(name) {
			own[name] = value
		}
	}
	reply := wire.Management("get organization configuration")
	if c.req.Query("separate_defaults") == "true" {
		return reply.Field("orgConfiguration", own).Field("defaults", defaults), nil
	}
	for name, value := range own {
		defaults[name] = value
	}
	return reply.Field("configuration", defaults), nil
}

// changeSettings answers PUT of an organisation's configuration: settings are merged,
// and an empty one is the server's again.
func (c *call) changeSettings() (*wire.Reply, error) {
	v, err := c.body()
	if err != nil {
		return nil, err
	}
	sent, wrong := map[string]string{}, []string(nil)
	v.GetObject().Visit(func(key []byte, value *fastjson.Value) {
		name := string(key)
		switch {
		case strings.EqualFold(name, "access_token"):
		case !c.maySet(name) || value.Type() != fastjson.TypeString || !validSetting(name, string(value.GetStringBytes())):
			wrong = append(wrong, name)
		default:
			sent[name] = string(value.GetStringBytes())
		}
	})
	if len(wrong) > 0 {
		slices.Sort(wrong)
		text, err := json.Marshal(wrong[:min(len(wrong), 20)])
		if err != nil {
			return nil, err
		}
		return nil, bad("no settings of an organization, or not with these values: %s", text)
	}
	if len(sent)+len(c.org.Settings) > maxSettings {
		return nil, bad("an organization has up to %d settings", maxSettings)
	}
	patch := directory.Fields{}
	for name, value := range sent {
		patch.SetSetting(name, value)
	}
	if len(patch) > 0 {
		if _, err := c.propose(command.UpdateEntity{Rules: command.Organizations(), Target: command.Target{ID: c.org.ID}, Patch: patch.JSON()}); err != nil {
			return nil, err
		}
	}
	shown := sent
	if c.req.Query("only_changed") != "true" {
		org, err := c.dir.Organization(c.req.Context(), c.org.ID.String())
		if err != nil {
			return nil, err
		}
		shown = c.serverSettings()
		for name, value := range org.Settings {
			shown[name] = value
		}
	}
	return wire.Management("put organization configuration").Field("configuration", shown), nil
}

// validSetting reports whether a setting can have a value. Addresses that clients are
// sent to, or that links begin with, are web addresses.
func validSetting(name, value string) bool {
	switch {
	case value == "":
		return true
	case len(value) > maxSetting || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return false
	case name == settingConnections:
		return slices.Contains([]string{"none", "in", "out", "all"}, value)
	case name == settingOperatorEmail:
		return directory.IsEmail(value)
	}
	return strings.HasPrefix(value, "https://") || strings.HasPrefix(value, "http://")
}
