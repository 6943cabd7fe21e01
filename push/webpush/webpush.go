package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	defaultTTL = 86_400    // seconds: a day
	maxTTL     = 2_419_200 // seconds: four weeks
)

// Provider is provider.Provider for browsers. It is safe for concurrent use.
type Provider struct{ cfg provider.Config }

// New makes a provider.
func New(cfg provider.Config) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg}, nil
}

// Check completes a notifier. If no keys are sent and none are stored, it makes a
// pair; a pair that is stored gives way to another one only by force, since every
// subscription is bound to it.
func (p *Provider) Check(in *provider.Input, n *provider.Notifier) error {
	subject := n.Text("subject")
	if !isSubject(subject) {
		return fault.New(fault.IllegalArgument, "subject must be a mailto: or https: URL")
	}
	n.Set("subject", subject)
	if raw, ok := n.Properties["defaultTtl"]; ok {
		if _, ok := seconds(raw); !ok {
			return fault.New(fault.IllegalArgument, "defaultTtl must be a whole number of seconds from 0")
		}
	}
	public, private, err := keys(in)
	if err != nil {
		return err
	}
	if in.Stored != nil && !in.Force {
		if stored := in.Stored.Text("vapidPublicKey"); stored != "" && stored != public {
			return fault.New(fault.IllegalArgument, "another pair of keys makes every subscription useless: force=true does it all the same")
		}
	}
	clear(n.Secrets)
	n.Set("vapidPublicKey", public)
	n.SetSecret("vapidPrivateKey", private)
	return nil
}

// isSubject tells whether a service could reach someone by a subject.
func isSubject(text string) bool {
	if len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	if address, ok := strings.CutPrefix(text, "mailto:"); ok {
		return address != ""
	}
	_, err := provider.ParseURL(text)
	return err == nil
}

// keys returns the pair that is sent, else the stored one, else a new one. Without
// padding, as browsers want it.
func keys(in *provider.Input) (public, private string, err error) {
	if public, err = in.Text("vapidPublicKey", 256); err != nil {
		return "", "", err
	}
	if private, err = in.Text("vapidPrivateKey", 256); err != nil {
		return "", "", err
	}
	stored := in.Stored
	switch {
	case public == "" && private == "" && (stored == nil || stored.Secrets["vapidPrivateKey"] == ""):
		return generate()
	case private == "" && stored != nil:
		private = stored.Secrets["vapidPrivateKey"]
	}
	key, err := parsePrivate(private)
	if err != nil {
		return "", "", err
	}
	own := encode(publicBytes(key))
	if given, err := provider.DecodeBase64(public); public != "" && (err != nil || encode(given) != own) {
		return "", "", fault.New(fault.IllegalArgument, "vapidPublicKey is not the public key of vapidPrivateKey")
	}
	return own, private, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func generate() (public, private string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make a pair of VAPID keys: %w", err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		return "", "", fmt.Errorf("make a pair of VAPID keys: %w", err)
	}
	return encode(publicBytes(key)), encode(scalar), nil
}

// parsePrivate reads the 32 bytes of a private key in base64.
func parsePrivate(text string) (*ecdsa.PrivateKey, error) {
	raw, err := provider.DecodeBase64(text)
	if err == nil && len(raw) == 32 {
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return key, nil
		}
	}
	return nil, fault.New(fault.IllegalArgument, "vapidPrivateKey is no private key on the curve P-256 in base64url")
}

// publicBytes is the uncompressed point of a key.
func publicBytes(key *ecdsa.PrivateKey) []byte {
	b, err := key.PublicKey.Bytes()
	if err != nil { // a key of P-256 always has a point
		panic("webpush: " + err.Error())
	}
	return b
}

// seconds reads a time to live.
func seconds(raw json.RawMessage) (int64, bool) {
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil || n < 0 || n != math.Trunc(n) {
		return 0, false
	}
	return int64(min(n, maxTTL)), string(raw) != "null"
}
