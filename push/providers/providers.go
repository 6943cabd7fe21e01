// Package providers makes the set of all push providers there are.
package providers

import (
	"github.com/trellisdb/trellis/push/apns"
	"github.com/trellisdb/trellis/push/fcm"
	"github.com/trellisdb/trellis/push/noop"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/webpush"
	"github.com/trellisdb/trellis/push/wns"
)

// New makes the set. It fails on a configuration that cannot be.
func New(cfg provider.Config) (provider.Set, error) {
	apple, err := apns.New(cfg)
	if err != nil {
		return nil, err
	}
	google, err := fcm.New(cfg)
	if err != nil {
		return nil, err
	}
	windows, err := wns.New(cfg)
	if err != nil {
		return nil, err
	}
	browsers, err := webpush.New(cfg)
	if err != nil {
		return nil, err
	}
	return provider.Set{
		provider.Apple:   apple,
		provider.Google:  google,
		provider.Windows: windows,
		provider.WebPush: browsers,
		provider.Noop:    noop.Provider{},
	}, nil
}
