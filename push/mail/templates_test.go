package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// example is a message with all variables of its mail, each with its name in
// guillemets for a value.
func example(key Key) *Message {
	required, optional := Variables(key)
	m := &Message{ID: someID(), Key: key, Recipients: []Recipient{{Address: "ann@example.org"}}, Variables: map[string]string{}}
	for _, name := range append(required, optional...) {
		m.Variables[name] = "«" + name + "»"
	}
	return m
}

// TestEveryMail renders all mails. Their subjects are those of the specification.
func TestEveryMail(t *testing.T) {
	want := map[Key]string{
		AdminPasswordReset:             "Password Reset",
		AdminConfirmation:              "User Account Confirmation: «confirm_email»",
		AdminConfirmed:                 "User Account Confirmed",
		AdminActivated:                 "User Account Activated",
		AdminInvited:                   "User Invited To Organization",
		SysadminAdminActivation:        "Request For Admin User Account Activation «user_email»",
		SysadminAdminActivated:         "Admin User Account Activated «user_email»",
		SysadminOrganizationActivation: "Request For Organization Account Activation «organization_name»",
		SysadminOrganizationActivated:  "Organization Account Activated «organization_name»",
		OrganizationConfirmation:       "Organization Account Confirmation",
		OrganizationConfirmed:          "Organization Account Confirmed",
		OrganizationActivated:          "Organization Account Activated: «organization_name»",
		AdminUserActivation:            "Request For User Account Activation «user_email»",
		AdminUserActivated:             "New User Account Activated «user_email»",
		UserPasswordReset:              "Password Reset",
		UserConfirmation:               "User Account Confirmation: «confirm_email»",
		UserConfirmed:                  "User Account Confirmed",
		UserActivated:                  "User Account Activated",
		UserPin:                        "Your app pin",
	}
	if len(want) != len(Keys()) {
		t.Errorf("%d mails, want %d", len(Keys()), len(want))
	}
	for _, key := range Keys() {
		m := example(key)
		r, err := templates(t).Render(m)
		if err != nil {
			t.Fatal(err)
		}
		if r.Subject != want[key] {
			t.Errorf("%s: subject %q, want %q", key, r.Subject, want[key])
		}
		const footer = "This mail was sent by a program."
		if !strings.Contains(r.Text, footer) || !strings.Contains(r.HTML, footer) {
			t.Errorf("%s: no footer", key)
		}
		k, _ := kindOf(key)
		if hasLink := k.link != ""; hasLink != (r.Link != "") || hasLink != strings.Contains(r.Text, "the link at the end") {
			t.Errorf("%s: link %q, text %q", key, r.Link, r.Text)
		}
		if k.link != "" && (!strings.HasSuffix(r.Text, "\n\n«"+k.link+"»") || strings.Count(r.Text, k.link) != 1 || strings.Count(r.HTML, k.link) != 1) {
			t.Errorf("%s: the link is not where it belongs: %q, %q", key, r.Text, r.HTML)
		}
		for _, name := range k.required {
			if !strings.Contains(r.Subject+r.Text, name) || !strings.Contains(r.Subject+r.HTML, name) {
				t.Errorf("%s does not tell %s", key, name)
			}
		}
	}
}

// TestValuesStayInTheirPlaces: a value is text, whatever it looks like.
func TestValuesStayInTheirPlaces(t *testing.T) {
	m := &Message{ID: someID(), Key: OrganizationActivated, Variables: map[string]string{"organization_name": "A&B <b>\r\n${pin}"}}
	r, err := templates(t).Render(m)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Organization Account Activated: A&B <b>  ${pin}"; r.Subject != want {
		t.Errorf("subject %q, want %q", r.Subject, want)
	}
	if want := "The organization A&amp;B &lt;b&gt;  ${pin} is active."; !strings.Contains(r.HTML, want) {
		t.Errorf("HTML part %q lacks %q", r.HTML, want)
	}
}

// TestOverrides replaces some templates and leaves the others.
func TestOverrides(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"admin-password-reset.subject.txt": "Neues Kennwort für $2\r\n",
		"admin-password-reset.html":        "<p>${reset_url_base}?token=${raw_token}</p>",
		"footer.txt":                       "Acme GmbH\n",
		"README":                           "ours",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As a ConfigMap is mounted: a directory beside the files, which are links.
	if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "README"), filepath.Join(dir, "footer.html")); err != nil {
		t.Fatal(err)
	}
	all, err := NewTemplates(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	r, err := all.Render(example(AdminPasswordReset))
	if err != nil {
		t.Fatal(err)
	}
	if r.Subject != "Neues Kennwort für $2" {
		t.Errorf("subject %q", r.Subject)
	}
	if !strings.Contains(r.HTML, "<p>«reset_url_base»?token=«raw_token»</p>ours</body>") {
		t.Errorf("HTML part %q", r.HTML)
	}
	if !strings.Contains(r.Text, "Somebody") || !strings.HasSuffix(r.Text, "\n\nAcme GmbH\n\n«reset_url»") {
		t.Errorf("text part %q", r.Text)
	}
}

// TestOverridesRefused: an operator learns of a mistake at start, and in which file.
func TestOverridesRefused(t *testing.T) {
	for file, text := range map[string]string{
		"user-pin.html":           "${pim}",
		"user-pin.subject.txt":    "${pin",
		"user-pin.txt":            "${Pin}",
		"user-confirmed.txt":      "${pin}",
		"footer.html":             "${organization_name}",
		"user-confirmation.txt":   "${confirmation_url} is the link",
		"user-pni.txt":            "misspelt",
		"user-activated.txt":      "\xff",
		"user-activated.html":     strings.Repeat("a", MaxTemplateBytes+1),
		"user-confirmed.htm.html": "",
	} {
		_, err := NewTemplates(fstest.MapFS{file: {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
	_, err := NewTemplates(fstest.MapFS{"user-pin.html": {Data: []byte("${pim}")}, "user-pin.txt": {Data: []byte("${pun}")}})
	if err == nil || !strings.Contains(err.Error(), `"pim"`) || !strings.Contains(err.Error(), `"pun"`) {
		t.Errorf("not both mistakes: %v", err)
	}
	if _, err := NewTemplates(os.DirFS(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("a directory that is not there is no error")
	}
}

// FuzzTemplate states that a template is what it was parsed from: with each
// placeholder for its own value, filling it gives the text again.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"", "a ${pin} b ${pin}", "$ {} $${a}", "${", "${}", "}${a_1}{"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parse(text)
		if err != nil {
			return
		}
		if again := parsed.fill(func(name string) string { return "${" + name + "}" }); again != text {
			t.Errorf("%q became %q", text, again)
		}
		if strings.Count(text, "${") != len(parsed.names()) {
			t.Errorf("%q has other placeholders than %q", text, parsed.names())
		}
	})
}
