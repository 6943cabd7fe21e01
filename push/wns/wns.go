package wns

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// Provider is provider.Provider for Windows. It is safe for concurrent use.
type Provider struct{ cfg provider.Config }

// New makes a provider.
func New(cfg provider.Config) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg}, nil
}

// Token reads a device's channel, which is a string.
func (p *Provider) Token(value json.RawMessage) (provider.Token, bool) {
	return provider.TextToken(value)
}

// ValidToken refuses nothing.
func (p *Provider) ValidToken(json.RawMessage) error { return nil }

// Check completes a notifier. Credentials of one kind (sid and apiKey; tenantId,
// clientId and clientSecret) that are sent without one of the other kind take the
// place of those stored.
func (p *Provider) Check(in *provider.Input, n *provider.Notifier) error {
	if err := checkLogging(n); err != nil {
		return err
	}
	var text = map[string]string{}
	for _, property := range []string{"sid", "tenantId", "clientId"} {
		sent, err := in.Text(property, 512)
		if err != nil {
			return err
		}
		if text[property] = sent; sent == "" {
			text[property] = n.Text(property)
		}
	}
	for _, property := range []string{"apiKey", "clientSecret"} {
		var err error
		if text[property], err = in.Secret(property); err != nil {
			return err
		}
	}
	sentSID := in.Has("sid") || in.Has("apiKey")
	sentEntra := in.Has("tenantId") || in.Has("clientId") || in.Has("clientSecret")
	switch {
	case sentSID && !sentEntra:
		text["tenantId"], text["clientId"], text["clientSecret"] = "", "", ""
	case sentEntra && !sentSID:
		text["sid"], text["apiKey"] = "", ""
	}
	if err := complete(text); err != nil {
		return err
	}
	clear(n.Secrets)
	for property, value := range text {
		if provider.IsSecret(property) {
			n.SetSecret(property, value)
		} else {
			n.SetText(property, value)
		}
	}
	return nil
}

func checkLogging(n *provider.Notifier) error {
	switch string(n.Properties["logging"]) {
	case "", "null", `"true"`, "true":
		n.Set("logging", true)
	case "false", `"false"`:
		n.Set("logging", false)
	default:
		return fault.New(fault.IllegalArgument, "logging must be true or false")
	}
	return nil
}

// complete wants credentials of either kind.
func complete(text map[string]string) error {
	entra := text["tenantId"] != "" && text["clientId"] != "" && text["clientSecret"] != ""
	if entra {
		if strings.ContainsFunc(text["tenantId"], notTenant) || strings.Trim(text["tenantId"], ".") == "" {
			return fault.New(fault.IllegalArgument, "tenantId is no tenant")
		}
		return nil
	}
	for _, property := range []string{"sid", "apiKey"} {
		if text[property] == "" {
			return fault.New(fault.IllegalArgument, "a windows notifier needs %s, or tenantId, clientId and clientSecret", property)
		}
	}
	return nil
}

// notTenant tells what occurs neither in the id nor in the domain of a tenant.
func notTenant(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
}

// credentials are what a token of access is asked for with, and where.
type credentials struct {
	endpoint string
	form     url.Values
	secret   string
}

func credentialsOf(cfg *provider.Config, n provider.Notifier) credentials {
	c := credentials{form: url.Values{"grant_type": {"client_credentials"}}}
	if secret := n.Secrets["clientSecret"]; secret != "" {
		c.endpoint = "https://login.microsoftonline.com/" + n.Text("tenantId") + "/oauth2/v2.0/token"
		c.secret = secret
		c.form.Set("client_id", n.Text("clientId"))
		c.form.Set("scope", "https://wns.windows.com/.default")
	} else {
		c.endpoint = "https://login.live.com/accesstoken.srf"
		c.secret = n.Secrets["apiKey"]
		c.form.Set("client_id", n.Text("sid"))
		c.form.Set("scope", "notify.windows.com")
	}
	c.form.Set("client_secret", c.secret)
	if cfg.WNSToken != "" {
		c.endpoint = cfg.WNSToken
	}
	return c
}
