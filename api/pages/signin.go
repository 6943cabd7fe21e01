package pages

import (
	"net/http"

	"github.com/trellisdb/trellis/api/pages/redirect"
)

// Messages of the sign-in page that clients look for.
const (
	WrongPassword   = "Username or password do not match"
	NotActivated    = "user not activated"
	Disabled        = "user disabled"
	InvalidClientID = "Unable to authenticate (OAuth). Invalid client_id"
)

// SignIn is the form of authorize. The first five fields are parameters of the
// request and go into hidden inputs as they are; none of them is trusted.
type SignIn struct {
	ResponseType, ClientID, RedirectURI, Scope, State string

	Username string          // as entered before
	Message  string          // shown as an alert; empty: none
	Target   redirect.Target // what RedirectURI says, zero if it is not to be followed
	Status   int             // 0: 200
}

// SignIn renders the form, with the fields username and password.
func (s *Site) SignIn(v Visit, d SignIn) Page {
	return s.render(v, draft{
		template: "signin", status: d.Status, title: "Sign In", message: d.Message,
		purpose: ForSignIn, leads: d.Target.Scheme(), data: d,
	})
}

// AuthorizeFailed renders why a client's request cannot be answered, such as
// InvalidClientID, with status 400. It leads nowhere.
func (s *Site) AuthorizeFailed(message string) Page {
	return s.render(Visit{}, draft{
		template: "notice", status: http.StatusBadRequest, title: "Sign In", message: message,
		data: notice{Text: "The application that sent you here did not ask in a way this server can answer. Please go back to it."},
	})
}
