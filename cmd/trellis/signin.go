package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/push/signin"
	"github.com/trellisdb/trellis/storage/fault"
)

// services are those whose word for a person is taken. One that is not configured has a
// route all the same, which refuses.
func (c *accountsConfig) services(log *slog.Logger) ([]management.Service, error) {
	facebook, err := configured(c.FacebookURL, func() (signin.Provider, error) {
		return signin.NewFacebook(signin.FacebookConfig{URL: c.FacebookURL, AppID: c.FacebookAppID, AppSecret: c.FacebookAppSecret, HTTP: signin.DefaultHTTP()})
	})
	if err != nil {
		return nil, err
	}
	foursquare, err := configured(c.FoursquareURL, func() (signin.Provider, error) {
		return signin.NewFoursquare(signin.FoursquareConfig{URL: c.FoursquareURL, HTTP: signin.DefaultHTTP()})
	})
	if err != nil {
		return nil, err
	}
	ping, err := configured(c.PingURL, func() (signin.Provider, error) {
		return signin.NewUserInfo(signin.UserInfoConfig{URL: c.PingURL, HTTP: signin.DefaultHTTP()})
	})
	if err != nil {
		return nil, err
	}
	oidc, err := configured(c.OIDCIssuer, func() (signin.Provider, error) {
		cfg := signin.DefaultOIDCConfig()
		cfg.Issuer, cfg.ClientIDs = c.OIDCIssuer, c.OIDCClients
		return signin.NewOIDC(cfg)
	})
	if err != nil {
		return nil, err
	}
	return []management.Service{
		{Name: "facebook", Parameter: "fb_access_token", Prefix: "fb_", Check: asking(facebook, "facebook", log)},
		{Name: "foursquare", Parameter: "fq_access_token", Prefix: "fq_", Check: asking(foursquare, "foursquare", log)},
		{Name: "pingident", Parameter: "ping_access_token", Prefix: "pinguser_", Check: asking(ping, "pingident", log)},
		{Name: "oidc", Parameter: "id_token", Prefix: "oidc_", Check: asking(oidc, "oidc", log)},
	}, nil
}

// configured makes a provider if there is a setting for it.
func configured(setting string, make func() (signin.Provider, error)) (signin.Provider, error) {
	if setting == "" {
		return nil, nil
	}
	return make()
}

// asking is how a service is asked; nil without a provider.
func asking(p signin.Provider, name string, log *slog.Logger) func(context.Context, string) (directory.Vouched, error) {
	if p == nil {
		return nil
	}
	return func(ctx context.Context, token string) (directory.Vouched, error) {
		profile, err := p.Check(ctx, token)
		switch {
		case errors.Is(err, signin.ErrRefused):
			log.Debug("token of another service refused", "service", name, "error", err)
			return directory.Vouched{}, fault.Wrap(err, fault.InvalidRequest, "invalid access token")
		case err != nil:
			log.Warn("a service that vouches for users cannot be asked", "service", name, "error", err)
			return directory.Vouched{}, fault.Wrap(err, fault.InvalidRequest, "")
		}
		v := directory.Vouched{ID: profile.ID, Name: profile.Name, Picture: profile.Picture, Profile: profile.Raw}
		if profile.EmailVerified {
			v.Email = profile.Email
		}
		return v, nil
	}
}
