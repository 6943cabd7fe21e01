package mail

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedTemplates compares the table of docs/mail.md with the mails there are.
func TestDocumentedTemplates(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "mail.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([a-z_-]+)`")
	emphasis := regexp.MustCompile(`\*[a-z]+\*`)
	var keys []Key
	for row := range strings.Lines(string(doc)) {
		cells := strings.Split(row, "|")
		if len(cells) != 7 || !quoted.MatchString(cells[1]) {
			continue
		}
		key := Key(quoted.FindStringSubmatch(cells[1])[1])
		keys = append(keys, key)
		var told []string
		for _, m := range quoted.FindAllStringSubmatch(cells[4]+cells[5], -1) {
			told = append(told, m[1])
		}
		required, optional := Variables(key)
		have := slices.Concat(required, optional)
		slices.Sort(told)
		slices.Sort(have)
		if !slices.Equal(told, have) {
			t.Errorf("%s: the table has variables %q, want %q", key, told, have)
		}
		subject := strings.TrimSpace(emphasis.ReplaceAllString(cells[2], "*"))
		m := example(key)
		for name := range m.Variables {
			m.Variables[name] = "*"
		}
		if r, err := templates(t).Render(m); err != nil || r.Subject != subject {
			t.Errorf("%s: the table has subject %q, want %q (%v)", key, subject, r.Subject, err)
		}
	}
	if !slices.Equal(keys, Keys()) {
		t.Errorf("the table has %q, want %q", keys, Keys())
	}
}
