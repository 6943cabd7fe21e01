package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/api/pages/redirect"
	"github.com/trellisdb/trellis/push/mail"
)

// accountsConfig is what serve can be told of accounts and mails. It has no flags: the
// environment and the file say it.
type accountsConfig struct {
	PublicRegistration bool `koanf:"public-registration"`

	ApproveOrganizations bool `koanf:"approve-organizations"`
	ConfirmOrganizations bool `koanf:"confirm-organizations"`
	ApproveAdmins        bool `koanf:"approve-admins"`
	ConfirmAdmins        bool `koanf:"confirm-admins"`

	NotifyAdmins          bool `koanf:"notify-admins"`
	NotifyOfOrganizations bool `koanf:"notify-of-organizations"`
	NotifyOfAdmins        bool `koanf:"notify-of-admins"`

	Operator             string `koanf:"operator-email"`
	OrganizationOperator string `koanf:"operator-email-organizations"`
	AdminOperator        string `koanf:"operator-email-admins"`

	RevealAccounts    bool `koanf:"reveal-accounts"`
	DeleteUnconfirmed bool `koanf:"delete-unconfirmed"`
	LegacyApproval    bool `koanf:"users-legacy-approval"`

	TestAccount         bool   `koanf:"setup-test-account"`
	TestOrganization    string `koanf:"test-account-organization"`
	TestApplication     string `koanf:"test-account-app"`
	TestUsername        string `koanf:"test-account-username"`
	TestName            string `koanf:"test-account-name"`
	TestEmail           string `koanf:"test-account-email"`
	TestAccountPassword string `koanf:"test-account-password"`

	LoginURL       string   `koanf:"login-url"`
	Views          []string `koanf:"views"`
	AllowRedirects []string `koanf:"allow-redirects"`

	PasswordLength       int `koanf:"password-min-length"`
	PasswordUppercase    int `koanf:"password-min-uppercase"`
	PasswordDigits       int `koanf:"password-min-digits"`
	PasswordSpecial      int `koanf:"password-min-special"`
	AdminPasswordLength  int `koanf:"admin-password-min-length"`
	AdminPasswordUpper   int `koanf:"admin-password-min-uppercase"`
	AdminPasswordDigits  int `koanf:"admin-password-min-digits"`
	AdminPasswordSpecial int `koanf:"admin-password-min-special"`

	MailFrom      string `koanf:"mail-from"`
	MailTemplates string `koanf:"mail-templates"`
	MailSpool     string `koanf:"mail-spool"`
	SMTPHost      string `koanf:"smtp-host"`
	SMTPPort      int    `koanf:"smtp-port"`
	SMTPSecurity  string `koanf:"smtp-security"`
	SMTPUsername  string `koanf:"smtp-username"`
	SMTPPassword  string `koanf:"smtp-password"`
	SMTPHello     string `koanf:"smtp-hello"`

	FacebookURL       string   `koanf:"facebook-url"`
	FacebookAppID     string   `koanf:"facebook-app-id"`
	FacebookAppSecret string   `koanf:"facebook-app-secret"`
	FoursquareURL     string   `koanf:"foursquare-url"`
	PingURL           string   `koanf:"pingident-url"`
	OIDCIssuer        string   `koanf:"oidc-issuer"`
	OIDCClients       []string `koanf:"oidc-client-ids"`

	RecaptchaPublic  string `koanf:"recaptcha-public-key"`
	RecaptchaPrivate string `koanf:"recaptcha-private-key"`
}

func defaultAccounts() accountsConfig {
	mc, smtp, policy := management.DefaultConfig(), mail.DefaultSMTPConfig(), auth.DefaultPasswordPolicy()
	test := management.DefaultTestAccount()
	return accountsConfig{
		PublicRegistration: mc.PublicRegistration,
		PasswordLength:     policy.MinLength, AdminPasswordLength: policy.MinLength,
		SMTPPort: smtp.Port, SMTPSecurity: string(smtp.Security), SMTPHello: smtp.Hello,
		TestOrganization: test.Organization, TestApplication: test.Application, TestUsername: test.Username, TestName: test.Name, TestEmail: test.Email,
	}
}

// testAccount is the test account; nil: there is none.
func (c *accountsConfig) testAccount() *management.TestAccount {
	if !c.TestAccount {
		return nil
	}
	return &management.TestAccount{
		Organization: c.TestOrganization, Application: c.TestApplication,
		Username: c.TestUsername, Name: c.TestName, Email: c.TestEmail, Password: c.TestAccountPassword,
	}
}

// keys returns the names of the keys, and of those that are lists.
func (accountsConfig) keys() (all, lists []string) { return keysOf(reflect.TypeFor[accountsConfig]()) }

// keysOf returns the keys of a part of the configuration, and those that are lists.
func keysOf(t reflect.Type) (all, lists []string) {
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("koanf")
		all = append(all, name)
		if t.Field(i).Type.Kind() == reflect.Slice {
			lists = append(lists, name)
		}
	}
	return all, lists
}

func (c *accountsConfig) check(baseURL string) error {
	switch {
	case c.SMTPHost != "" && c.MailSpool != "":
		return fmt.Errorf("mails go to a server (smtp-host) or to a directory (mail-spool), not to both")
	case (c.SMTPHost != "" || c.MailSpool != "") && c.MailFrom == "":
		return fmt.Errorf("mails are sent by somebody: set mail-from")
	case (c.SMTPHost != "" || c.MailSpool != "") && baseURL == "":
		// Else whoever sends a request says by its Host where the links in mails lead.
		return fmt.Errorf("links in mails lead to --base-url: set it")
	case (c.RecaptchaPublic == "") != (c.RecaptchaPrivate == ""):
		return fmt.Errorf("recaptcha-public-key and recaptcha-private-key belong together")
	}
	for name, n := range map[string]int{
		"password-min-length": c.PasswordLength, "password-min-uppercase": c.PasswordUppercase, "password-min-digits": c.PasswordDigits,
		"password-min-special": c.PasswordSpecial, "admin-password-min-length": c.AdminPasswordLength,
		"admin-password-min-uppercase": c.AdminPasswordUpper, "admin-password-min-digits": c.AdminPasswordDigits, "admin-password-min-special": c.AdminPasswordSpecial,
	} {
		if n < 0 || n > 100 {
			return fmt.Errorf("%s is %d, want 0 to 100", name, n)
		}
	}
	if test := c.testAccount(); test != nil {
		if err := test.Check(); err != nil {
			return fmt.Errorf("setup-test-account: %w", err)
		}
	}
	if _, err := c.views(); err != nil {
		return err
	}
	_, err := redirect.ParseAllow(c.AllowRedirects)
	return err
}

// views reads the addresses that take the place of pages: page=URL.
func (c *accountsConfig) views() (map[string]string, error) {
	views := map[string]string{}
	for _, v := range c.Views {
		name, address, ok := strings.Cut(v, "=")
		if name = strings.TrimPrefix(strings.TrimSpace(name), "usergrid.view."); !ok || name == "" || (!strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://")) {
			return nil, fmt.Errorf("views: %q is not PAGE=URL", v)
		}
		views[name] = address
	}
	return views, nil
}

// directory adds to the configuration of a directory what accounts are asked for.
func (c *accountsConfig) directory(dc *directory.Config) {
	dc.ConfirmAdmins = c.ConfirmAdmins
	if test := c.testAccount(); test != nil {
		dc.TestUsername = test.Username
	}
	dc.Policy.MinLength, dc.Policy.MinUppercase = c.PasswordLength, c.PasswordUppercase
	dc.Policy.MinDigits, dc.Policy.MinSpecial = c.PasswordDigits, c.PasswordSpecial
	dc.AdminPolicy.MinLength, dc.AdminPolicy.MinUppercase = c.AdminPasswordLength, c.AdminPasswordUpper
	dc.AdminPolicy.MinDigits, dc.AdminPolicy.MinSpecial = c.AdminPasswordDigits, c.AdminPasswordSpecial
}

// management adds to the configuration of the management API.
func (c *accountsConfig) management(mc *management.Config) (err error) {
	mc.PublicRegistration, mc.RevealAccounts, mc.DeleteUnconfirmed = c.PublicRegistration, c.RevealAccounts, c.DeleteUnconfirmed
	mc.LoginURL = c.LoginURL
	mc.AskPrograms = c.RecaptchaPublic != ""
	mc.Registration = management.Registration{
		ApproveOrganizations: c.ApproveOrganizations, ConfirmOrganizations: c.ConfirmOrganizations,
		ApproveAdmins: c.ApproveAdmins, ConfirmAdmins: c.ConfirmAdmins,
		NotifyAdmins: c.NotifyAdmins, NotifyOfOrganizations: c.NotifyOfOrganizations, NotifyOfAdmins: c.NotifyOfAdmins,
		Operator: c.Operator, OrganizationOperator: c.OrganizationOperator, AdminOperator: c.AdminOperator,
	}
	if mc.Views, err = c.views(); err != nil {
		return err
	}
	mc.Redirects, err = redirect.ParseAllow(c.AllowRedirects)
	return err
}

// pages makes the pages and their challenge.
func (c *accountsConfig) pages(key auth.Key) (*pages.Site, error) {
	pc := pages.DefaultConfig(key)
	if c.RecaptchaPublic != "" {
		service, err := challenge.NewService(challenge.DefaultServiceConfig(c.RecaptchaPublic, c.RecaptchaPrivate))
		if err != nil {
			return nil, err
		}
		pc.Challenge = service
	}
	return pages.New(pc)
}

// mails makes what sends mails: to a server, a directory, or without either the log.
func (c *accountsConfig) mails(log *slog.Logger) (mail.Sender, error) {
	var overrides fs.FS
	if c.MailTemplates != "" {
		overrides = os.DirFS(c.MailTemplates)
	}
	t, err := mail.NewTemplates(overrides)
	if err != nil {
		return nil, err
	}
	switch {
	case c.SMTPHost != "":
		sc := mail.DefaultSMTPConfig()
		sc.Host, sc.Port, sc.Security, sc.From = c.SMTPHost, c.SMTPPort, mail.Security(c.SMTPSecurity), c.MailFrom
		sc.Username, sc.Password, sc.Hello = c.SMTPUsername, c.SMTPPassword, c.SMTPHello
		return mail.NewSMTP(sc, t)
	case c.MailSpool != "":
		return mail.NewSpool(c.MailSpool, c.MailFrom, t)
	}
	return mail.NewLog(log, t), nil
}
