package pages

import "net/http"

// Subject is what a link of a mail activates or confirms.
type Subject string

// Subjects of such links.
const (
	User         Subject = "user"
	Organization Subject = "organization"
)

// Texts of links that are too old, used, or not whole.
const (
	BadActivationToken   = "Activation token invalid or expired"
	BadConfirmationToken = "Confirmation token invalid or expired"
)

// notice is a page that only says something.
type notice struct {
	Title, Text    string
	Link, LinkText string // empty: none
}

func (s *Site) notice(n notice) Page {
	return s.render(Visit{}, draft{template: "notice", title: n.Title, data: n})
}

// Activated says that the account or the organisation can be used now.
func (s *Site) Activated(subject Subject) Page {
	if subject == Organization {
		return s.notice(notice{Title: "Organization Activated", Text: "The organization is activated. Its members can sign in now."})
	}
	return s.notice(notice{Title: "Account Activated", Text: "Your account is activated. You can sign in now."})
}

// Confirmed says that the address is known to be right.
func (s *Site) Confirmed(subject Subject) Page {
	if subject == Organization {
		return s.notice(notice{Title: "Organization Confirmed", Text: "The organization is confirmed."})
	}
	return s.notice(notice{Title: "Account Confirmed", Text: "Your email address is confirmed. You can sign in now."})
}

// AwaitingActivation says that the address is right and somebody has to
// approve of the account or the organisation.
func (s *Site) AwaitingActivation(subject Subject) Page {
	if subject == Organization {
		return s.notice(notice{Title: "Organization Confirmed", Text: "The organization is confirmed. It waits for activation by an administrator; you will get an email."})
	}
	return s.notice(notice{Title: "Account Confirmed", Text: "Your email address is confirmed. Your account waits for activation by an administrator; you will get an email."})
}

// BadActivation says that the link is no good, with status 400.
func (s *Site) BadActivation(subject Subject) Page {
	return s.badLink(subject, "Activation", BadActivationToken)
}

// BadConfirmation says that the link is no good, with status 400.
func (s *Site) BadConfirmation(subject Subject) Page {
	return s.badLink(subject, "Confirmation", BadConfirmationToken)
}

func (s *Site) badLink(subject Subject, what, message string) Page {
	title, text := "Account "+what, "Please ask for a new link, or open the one of the latest email you got."
	if subject == Organization {
		title = "Organization " + what
	}
	return s.render(Visit{}, draft{
		template: "notice", status: http.StatusBadRequest, title: title, message: message, data: notice{Text: text},
	})
}
