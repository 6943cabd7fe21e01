package pages

import (
	"context"
	"fmt"
	"html/template"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/pages/challenge"
)

// Challenge asks whoever sends a form to show that he is no mere script.
// Package challenge has some.
type Challenge interface {
	// Issue makes a new question for a form.
	Issue(purpose string) challenge.Question
	// Check returns a fault that can be shown to the client if the answer does
	// not count.
	Check(ctx context.Context, purpose string, answer challenge.Answer) error
}

// Config is how a Site works. All fields are wanted.
type Config struct {
	Key       auth.Key         // signs forms; the same on all nodes of a cluster
	Now       func() time.Time // the clock
	FormLife  time.Duration    // from a page to its form
	Challenge Challenge        // of the forms that have mails sent
}

// DefaultConfig returns a working configuration for this key: forms are good
// for an hour, and arithmetic is asked before a mail is sent.
func DefaultConfig(key auth.Key) Config {
	arithmetic, err := challenge.NewArithmetic(challenge.DefaultConfig(key))
	if err != nil {
		panic(err) // only a default that is wrong
	}
	return Config{Key: key, Now: time.Now, FormLife: time.Hour, Challenge: arithmetic}
}

// Site renders pages and checks their forms. It is safe for concurrent use.
type Site struct {
	cfg       Config
	templates map[string]*template.Template
	style     template.CSS
	work      template.JS
}

// New checks cfg.
func New(cfg Config) (*Site, error) {
	if cfg.Now == nil {
		return nil, fmt.Errorf("pages: there is no clock")
	}
	if cfg.FormLife < time.Minute {
		return nil, fmt.Errorf("pages: life of a form is %v, want at least 1m", cfg.FormLife)
	}
	if cfg.Challenge == nil {
		return nil, fmt.Errorf("pages: there is no challenge; use challenge.None for none")
	}
	s := &Site{cfg: cfg}
	return s, s.load()
}

// Visit is what pages and forms need to know of a request. The strings are as
// the client sent them; a header that was not sent is empty.
type Visit struct {
	BaseURL     string // public base URL of the API: its host is ours, https makes cookies secure
	Path        string // of the request, without the query
	Cookie      string // header Cookie
	Origin      string // header Origin
	FetchSite   string // header Sec-Fetch-Site
	ContentType string // header Content-Type, before any repair; forms only
}

// Page is a rendered page.
type Page struct {
	Status int
	Header []Header // each name once
	Body   []byte
}

// Header is a header of a Page, Content-Type among them.
type Header struct{ Name, Value string }

// Purpose is what a form is for. A token or an answer for one purpose does not
// count for another.
type Purpose string

// Purposes of the forms.
const (
	ForSignIn   Purpose = "sign-in"
	ForReset    Purpose = "reset"    // of ResetRequest and ResetAccount
	ForPassword Purpose = "password" // of SetPassword
)

// CheckAnswer checks the answer to the challenge of ResetRequest or
// ResetAccount. The fault it returns is IllegalArgument for a wrong answer.
func (s *Site) CheckAnswer(ctx context.Context, answer challenge.Answer) error {
	return s.cfg.Challenge.Check(ctx, string(ForReset), answer)
}
