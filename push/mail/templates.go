package mail

import (
	"embed"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxTemplateBytes bounds a template file.
const MaxTemplateBytes = 64 << 10

//go:embed templates
var builtin embed.FS // the text of every mail; never written

// Templates is the text of all mails. It is immutable and safe for concurrent use.
type Templates struct {
	mails                  map[Key]parts
	footerText, footerHTML template
}

type parts struct {
	kind                kind
	subject, text, html template
}

// Rendered is a mail as a person reads it.
type Rendered struct {
	Subject string // one line
	Text    string // ends with the link, if the mail has one, and no newline after it
	HTML    string
	Link    string // empty: the mail has none
}

// NewTemplates reads the templates that come with the program, and instead of
// each the file of the same name in overrides, if there is one. Nil overrides
// nothing. The files are <key>.subject.txt, <key>.txt, <key>.html, footer.txt and
// footer.html. It is an error, which names the file, if one cannot be read, is not
// UTF-8, is longer than MaxTemplateBytes, has a placeholder that the mail does not
// have, or if a file ends in .txt or .html and is none of these. Other files and
// directories are left alone.
func NewTemplates(overrides fs.FS) (*Templates, error) {
	base, err := fs.Sub(builtin, "templates")
	if err != nil {
		return nil, fmt.Errorf("mail templates: %w", err)
	}
	s := source{base: base, overrides: overrides, known: map[string]bool{}}
	t := &Templates{mails: map[Key]parts{}}
	for _, k := range kinds() {
		name := string(k.key)
		t.mails[k.key] = parts{
			kind:    k,
			subject: s.parse(name+".subject.txt", &k, true),
			// The link ends the text part and must be nowhere else in it.
			text: s.parse(name+".txt", &k, false),
			html: s.parse(name+".html", &k, true),
		}
	}
	t.footerText = s.parse("footer.txt", &kind{}, false)
	t.footerHTML = s.parse("footer.html", &kind{}, false)
	s.refuseUnknown()
	if len(s.errs) > 0 {
		return nil, errors.Join(s.errs...)
	}
	return t, nil
}

// source is where templates are read from, and what was wrong with them.
type source struct {
	base, overrides fs.FS
	known           map[string]bool
	errs            []error
}

// parse reads a file and checks its placeholders. Errors are collected: an operator
// sees all of them at once.
func (s *source) parse(file string, k *kind, withLink bool) template {
	s.known[file] = true
	text, err := s.read(file)
	var t template
	if err == nil {
		t, err = parse(text)
	}
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("mail template %s: %w", file, err))
		return nil
	}
	for _, name := range t.names() {
		switch {
		case !k.knows(name):
			s.errs = append(s.errs, fmt.Errorf("mail template %s: the mail has no variable %q", file, name))
		case name == k.link && !withLink:
			s.errs = append(s.errs, fmt.Errorf("mail template %s: ${%s} stands at the end of the mail by itself", file, name))
		}
	}
	return t
}

func (s *source) read(file string) (string, error) {
	var b []byte
	err := fs.ErrNotExist
	if s.overrides != nil {
		b, err = fs.ReadFile(s.overrides, file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		b, err = fs.ReadFile(s.base, file)
	}
	switch {
	case err != nil:
		return "", err
	case len(b) > MaxTemplateBytes:
		return "", fmt.Errorf("it is longer than %d bytes", MaxTemplateBytes)
	case !utf8.Valid(b):
		return "", fmt.Errorf("it is not UTF-8")
	}
	return string(b), nil
}

// refuseUnknown finds overrides that would override nothing: misspelt ones.
func (s *source) refuseUnknown() {
	if s.overrides == nil {
		return
	}
	entries, err := fs.ReadDir(s.overrides, ".")
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("mail templates: %w", err))
	}
	for _, e := range entries {
		name := e.Name()
		isTemplate := strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".html")
		if isTemplate && !e.IsDir() && !s.known[name] {
			s.errs = append(s.errs, fmt.Errorf("mail template %s: there is no mail of this name", name))
		}
	}
}

// Render fills in the variables of m. Fault: IllegalArgument if there is no such
// mail or a variable is missing that it cannot do without.
func (t *Templates) Render(m *Message) (Rendered, error) {
	k, ok := kindOf(m.Key)
	if !ok {
		return Rendered{}, m.Check()
	}
	if err := k.complete(m.Variables); err != nil {
		return Rendered{}, err
	}
	p := t.mails[m.Key]
	line := func(name string) string { return oneLine(m.Variables[name]) }
	markup := func(name string) string { return html.EscapeString(line(name)) }

	r := Rendered{Subject: strings.TrimSpace(oneLine(p.subject.fill(line)))}
	r.HTML = "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"></head>\n<body>\n" +
		p.html.fill(markup) + t.footerHTML.fill(markup) + "</body>\n</html>\n"
	paragraphs := []string{p.text.fill(line), t.footerText.fill(line)}
	if k.link != "" {
		r.Link = line(k.link)
		paragraphs = append(paragraphs, r.Link)
	}
	for i := range paragraphs {
		paragraphs[i] = strings.TrimSpace(paragraphs[i])
	}
	paragraphs = slices.DeleteFunc(paragraphs, func(p string) bool { return p == "" })
	r.Text = strings.Join(paragraphs, "\n\n")
	return r, nil
}

// oneLine makes a space of every character that could end a line or hide what
// follows: a value fills its place and no more.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || isBidi(r) {
			return ' '
		}
		return r
	}, s)
}

// isBidi tells a character that turns the direction of the text after it.
func isBidi(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }
