package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPushConfiguration: what is not configured is as documented, and what cannot be is
// refused at the start.
func TestPushConfiguration(t *testing.T) {
	cfg := defaultPush()
	if pc, err := cfg.engine(); err != nil || pc.InFlight["apple"] != 100 || pc.InFlight["webpush"] != 20 || len(pc.Providers) != 5 || pc.AllReceipts {
		t.Errorf("%+v, %v", pc, err)
	}
	noCertificate := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCertificate, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pushConfig){
		"push-receipts": func(c *pushConfig) { c.Receipts = "some" },
		"APNs":          func(c *pushConfig) { c.APNSProduction = "http://plain.example" },
		"push-ca-file":  func(c *pushConfig) { c.CAFile = noCertificate },
	} {
		cfg := defaultPush()
		change(&cfg)
		if _, err := cfg.engine(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPushSettingsAreDocumented: the page names every key, and no other.
func TestPushSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "push-delivery.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `push-") {
			continue
		}
		for i, part := range strings.Split(strings.SplitN(line, "|", 3)[1], "`") {
			if i%2 == 1 {
				documented = append(documented, part)
			}
		}
	}
	known, _ := defaultPush().keys()
	slices.Sort(documented)
	slices.Sort(known)
	if !slices.Equal(documented, known) {
		t.Errorf("documented are %v, known %v", documented, known)
	}
}
