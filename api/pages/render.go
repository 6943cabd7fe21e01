package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/pages/challenge"
)

//go:embed templates
var files embed.FS

// load parses the templates.
func (s *Site) load() error {
	layout, err := template.ParseFS(files, "templates/layout.html")
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	s.templates = make(map[string]*template.Template)
	for _, name := range []string{"signin", "reset", "password", "notice"} {
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "templates/"+name+".html")
		}
		if err != nil {
			return fmt.Errorf("pages: template %s: %w", name, err)
		}
		s.templates[name] = t
	}
	style, err := files.ReadFile("templates/style.css")
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	work, err := files.ReadFile("templates/work.js")
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	// Both are ours, and without data.
	s.style, s.work = template.CSS(style), template.JS(work)
	return nil
}

// draft is a page before it is rendered.
type draft struct {
	template string
	status   int // 0: 200
	title    string
	message  string  // an alert; empty: none
	purpose  Purpose // of the form; empty: there is none
	asks     bool    // the form has a challenge
	leads    string  // scheme the form's answer may lead to; empty: none
	data     any
}

// shown is what the templates see.
type shown struct {
	Title    string
	Message  string
	Nonce    string
	Token    string
	Style    template.CSS
	Script   template.JS
	Question challenge.Question
	Data     any
}

func (s *Site) render(v Visit, d draft) Page {
	view := shown{Title: d.title, Message: d.message, Nonce: randomText(16), Style: s.style, Data: d.data}
	p := Page{Status: d.status}
	if p.Status == 0 {
		p.Status = http.StatusOK
	}
	if d.asks {
		view.Question = s.cfg.Challenge.Issue(string(d.purpose))
		if view.Question.Bits > 0 {
			view.Script = s.work
		}
	}
	p.Header = []Header{
		{"Content-Type", "text/html; charset=utf-8"},
		{"Content-Security-Policy", policy(d, &view)},
		{"Referrer-Policy", "no-referrer"},
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		{"Cache-Control", "no-store"},
	}
	if d.purpose != "" {
		token, cookie := s.form(v, d.purpose)
		view.Token = token
		p.Header = append(p.Header, Header{"Set-Cookie", cookie})
	}
	var b bytes.Buffer
	if err := s.templates[d.template].ExecuteTemplate(&b, "layout", view); err != nil {
		panic(err) // a buffer takes everything, and the templates fit their data
	}
	p.Body = b.Bytes()
	return p
}

// policy is the page's content security policy: nothing but the inline style,
// and the script if there is one, both by the nonce.
func policy(d draft, view *shown) string {
	nonce := "'nonce-" + view.Nonce + "'"
	var scripts, frames, forms []string
	if view.Script != "" {
		scripts = []string{nonce}
	}
	if w := view.Question.Widget; w != nil {
		scripts = append([]string{nonce}, w.Sources...)
		frames = slices.Clone(w.Sources)
	}
	if d.purpose != "" {
		forms = []string{"'self'"}
		if d.leads != "" {
			// Chromium holds every redirect after a form against form-action, also
			// those the client answers with: only the scheme can be known.
			forms = append(forms, d.leads+":")
		}
	}
	parts := []string{"default-src 'none'", "style-src " + nonce}
	for _, part := range []struct {
		name    string
		sources []string
	}{{"script-src", scripts}, {"frame-src", frames}, {"connect-src", frames}, {"form-action", forms}} {
		if len(part.sources) > 0 {
			parts = append(parts, part.name+" "+strings.Join(part.sources, " "))
		} else if part.name == "form-action" {
			parts = append(parts, "form-action 'none'")
		}
	}
	return strings.Join(append(parts, "frame-ancestors 'none'", "base-uri 'none'"), "; ")
}
