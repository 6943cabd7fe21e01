package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Config are the limits and names of a server. All limits are wanted.
type Config struct {
	HeaderBytes    int           // request line and headers together; also the read buffer of a connection
	URIBytes       int           // path and query
	BodyBytes      int           // one body, after decompression
	BodiesBytes    int64         // all bodies being handled at one moment
	DownloadsBytes int64         // memory for all downloads at one moment, 64 KiB each
	Connections    int           // open at one moment; more are answered 503
	HeadTimeout    time.Duration // from the first byte of a request to the end of its headers
	BodyTimeout    time.Duration // from the end of the headers to the end of the body; of each 64 KiB of an upload
	WriteTimeout   time.Duration // for a reply to be taken
	IdleTimeout    time.Duration // between requests of a connection
	RequestTimeout time.Duration // for a handler to answer
	GzipFrom       int           // replies of at least this many bytes are compressed if asked; 0: none

	// TrustedProxies are networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	BaseURL      string // public base URL, for "uri"; empty: scheme and Host of the request
	RootRedirect string // where / leads
	Version      string // shown by /status
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config {
	return Config{
		HeaderBytes:    16 << 10,
		URIBytes:       12 << 10,
		BodyBytes:      16 << 20,
		BodiesBytes:    96 << 20,
		DownloadsBytes: 64 << 20,
		Connections:    4096,
		HeadTimeout:    15 * time.Second,
		BodyTimeout:    45 * time.Second,
		WriteTimeout:   30 * time.Second,
		IdleTimeout:    90 * time.Second,
		RequestTimeout: 15 * time.Second,
		GzipFrom:       2 << 10,
		RootRedirect:   "/status",
		Version:        "dev",
	}
}

func (c *Config) check() error {
	for _, bound := range []struct {
		name  string
		value int64
		least int64
	}{
		{"header bytes", int64(c.HeaderBytes), 1 << 10},
		{"URI bytes", int64(c.URIBytes), 256},
		{"body bytes", int64(c.BodyBytes), 1 << 10},
		{"bytes of all bodies", c.BodiesBytes, int64(c.BodyBytes) + 8<<10},
		{"bytes of all downloads", c.DownloadsBytes, 64 << 10},
		{"connections", int64(c.Connections), 1},
		{"head timeout", int64(c.HeadTimeout), 1},
		{"body timeout", int64(c.BodyTimeout), 1},
		{"write timeout", int64(c.WriteTimeout), 1},
		{"idle timeout", int64(c.IdleTimeout), 1},
		{"request timeout", int64(c.RequestTimeout), 1},
	} {
		if bound.value < bound.least {
			return fmt.Errorf("api: %s is %d, want at least %d", bound.name, bound.value, bound.least)
		}
	}
	if strings.HasSuffix(c.BaseURL, "/") {
		return fmt.Errorf("api: base URL %q ends with a slash", c.BaseURL)
	}
	return nil
}
