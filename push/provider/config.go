package provider

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Endpoints says where the services are. Begin with DefaultConfig, whose endpoints
// are those of the world. Those given here are the operator's word: they may be on a
// private network, and must be https.
type Endpoints struct {
	APNSProduction  string // base URL
	APNSDevelopment string // base URL
	FCM             string // base URL; /v1/projects/… follows
	FCMToken        string // instead of the token_uri of service accounts; empty: that, which must be Google's
	GCM             string // whole URL to which legacy messages are posted; empty: they cannot be sent
	WNSToken        string // instead of the token URLs of WNS; empty: Microsoft's

	// WNSHosts are the hosts of channels: a name, or the end of names with a dot in
	// front. A port is no part of it.
	WNSHosts []string

	// AllowPrivate lets channels and subscriptions of devices be on this machine or a
	// private network.
	AllowPrivate bool

	// RootCAs may vouch for the services; nil: whom the system trusts.
	RootCAs *x509.CertPool
}

// Config is what the providers are made with. Begin with DefaultConfig.
type Config struct {
	Endpoints

	Timeout time.Duration // of each request

	// APNSMaxPayload bounds a payload for APNs, in bytes; those for VoIP may have a
	// quarter more. 1 to 4096.
	APNSMaxPayload int
	// APNSClearBadTokens makes BadDeviceToken a dead token. A wrong environment yields
	// it for every device.
	APNSClearBadTokens bool

	// Now is the clock, for certificates, tokens of access and expiry.
	Now func() time.Time
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config {
	return Config{
		Endpoints: Endpoints{
			APNSProduction:  "https://api.push.apple.com",
			APNSDevelopment: "https://api.sandbox.push.apple.com",
			FCM:             "https://fcm.googleapis.com",
			WNSHosts:        []string{".notify.windows.com"},
		},
		Timeout:        10 * time.Second,
		APNSMaxPayload: 4096,
		Now:            time.Now,
	}
}

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	if c.Timeout <= 0 || c.Timeout > 10*time.Minute {
		return fmt.Errorf("push: time-out of requests is %s, want up to 10 minutes", c.Timeout)
	}
	if c.APNSMaxPayload < 1 || c.APNSMaxPayload > 4096 {
		return fmt.Errorf("push: the largest payload for APNs is %d bytes, want 1 to 4096", c.APNSMaxPayload)
	}
	if c.Now == nil {
		return fmt.Errorf("push: no clock")
	}
	for _, at := range []struct {
		name, url string
		need      bool
	}{
		{"production endpoint of APNs", c.APNSProduction, true},
		{"development endpoint of APNs", c.APNSDevelopment, true},
		{"endpoint of FCM", c.FCM, true},
		{"token endpoint of FCM", c.FCMToken, false},
		{"endpoint of GCM", c.GCM, false},
		{"token endpoint of WNS", c.WNSToken, false},
	} {
		if at.url == "" && !at.need {
			continue
		}
		if _, err := ParseURL(at.url); err != nil {
			return fmt.Errorf("push: %s %q: %w", at.name, at.url, err)
		}
	}
	if slices.ContainsFunc(c.WNSHosts, func(h string) bool { return strings.Trim(h, ".") == "" }) {
		return fmt.Errorf("push: a host of WNS channels is empty, and would be any host")
	}
	return nil
}

// ParseURL reads the URL of a service: https, with a host, and without a user or a
// fragment. The error repeats nothing of it.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("it is no URL")
	case u.Scheme != "https":
		return nil, fmt.Errorf("it is not https")
	case u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("it has a user or a fragment")
	}
	return u, nil
}
