package pages

// Messages of the pages of a password reset. Clients look for some of them.
const (
	NoEmail      = "No email provided. Please enter your email address or username."
	UnknownEmail = "We don't recognize that email address or username."
	InvalidToken = "This link has an invalid token: it is too old, was used before, or is not whole. You can have a new one sent."
	NotTheSame   = "The two passwords are not the same."
	NoPassword   = "Please enter the new password twice."
)

// ResetRequest is the form that asks whose password is to be reset.
type ResetRequest struct {
	Email   string // address or username, as entered before
	Message string // shown as an alert; empty: none
	Status  int    // 0: 200
}

// ResetRequest renders the form, with the field email and the challenge.
func (s *Site) ResetRequest(v Visit, d ResetRequest) Page {
	return s.render(v, draft{
		template: "reset", status: d.Status, title: "Reset Password", message: d.Message,
		purpose: ForReset, asks: true, data: resetForm{Ask: true, Email: d.Email},
	})
}

// ResetAccount is the form that has a link sent to an account that the URL
// names.
type ResetAccount struct {
	Email   string // of the account, whole: it is shown masked
	Message string // shown as an alert; empty: none
	Status  int    // 0: 200
}

// ResetAccount renders the form, with nothing but the challenge.
func (s *Site) ResetAccount(v Visit, d ResetAccount) Page {
	return s.render(v, draft{
		template: "reset", status: d.Status, title: "Reset Password", message: d.Message,
		purpose: ForReset, asks: true, data: resetForm{Email: MaskEmail(d.Email)},
	})
}

// resetForm is what the template of both forms sees.
type resetForm struct {
	Ask   bool // for the address
	Email string
}

// SetPassword is the form that sets a new password.
type SetPassword struct {
	Token    string // of the link, for the hidden field token
	Username string // of the account, for the browser's password manager; not shown
	Message  string // shown as an alert, such as what the policy asks; empty: none
	Status   int    // 0: 200
}

// SetPassword renders the form, with the fields token, password1 and password2.
// It is sent with username, too, which says nothing about whose password it is.
func (s *Site) SetPassword(v Visit, d SetPassword) Page {
	return s.render(v, draft{
		template: "password", status: d.Status, title: "Reset Password", message: d.Message,
		purpose: ForPassword, data: d,
	})
}

// InstructionsSent says that a mail is on its way, whether or not there is an
// account.
func (s *Site) InstructionsSent() Page {
	return s.notice(notice{Title: "Reset Password", Text: "If there is such an account, instructions on how to reset its password have been sent to its email address."})
}

// PasswordSet says that the new password counts. loginURL is where to sign in,
// an http or https URL of the operator's; empty: no link.
func (s *Site) PasswordSet(loginURL string) Page {
	return s.notice(notice{Title: "Reset Password", Text: "New password set. You can sign in with it now.", Link: loginURL, LinkText: "Sign in"})
}
