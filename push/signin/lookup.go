package signin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// Lookup is a provider that shows the token to the service and reads who it is.
type Lookup struct {
	client  *client
	request func(token string) (from *url.URL, bearer string)
	made    func(ctx context.Context, token string) error // refuses a token that was made for others; may be nil
	read    func(body []byte) (Profile, error)
}

// Check is that of Provider.
func (l *Lookup) Check(ctx context.Context, token string) (Profile, error) {
	if !wellFormed(token) {
		return Profile{}, refused("it is no token")
	}
	if l.made != nil {
		if err := l.made(ctx, token); err != nil {
			return Profile{}, err
		}
	}
	from, bearer := l.request(token)
	body, err := l.client.get(ctx, from, bearer, MaxProfileBytes, token)
	if err != nil {
		return Profile{}, err
	}
	return l.read(body)
}

// Close is that of Provider.
func (l *Lookup) Close() { l.client.close() }

// FacebookConfig is Facebook's Graph API, or what speaks like it.
type FacebookConfig struct {
	URL string // such as https://graph.facebook.com/v21.0
	// AppID and AppSecret, if set, are the application tokens must have been made
	// for: each is checked by debug_token. Without them a token that a person gave to
	// any other application signs them in.
	AppID     string
	AppSecret string
	HTTP      HTTP
}

// NewFacebook checks cfg and asks nobody.
func NewFacebook(cfg FacebookConfig) (*Lookup, error) {
	base, c, err := open(cfg.URL, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	if (cfg.AppID == "") != (cfg.AppSecret == "") {
		return nil, fmt.Errorf("signin: facebook: the id of the application and its secret go together")
	}
	l := &Lookup{client: c, read: readFacebook}
	l.request = func(token string) (*url.URL, string) {
		return at(base, "me", url.Values{"fields": {"id,name,email,picture"}, "access_token": {token}}), ""
	}
	if cfg.AppID != "" {
		l.made = func(ctx context.Context, token string) error { return debugToken(ctx, c, base, cfg, token) }
	}
	return l, nil
}

// debugToken asks for which application a token was made, and whether it holds.
func debugToken(ctx context.Context, c *client, base *url.URL, cfg FacebookConfig, token string) error {
	from := at(base, "debug_token", url.Values{"input_token": {token}, "access_token": {cfg.AppID + "|" + cfg.AppSecret}})
	body, err := c.get(ctx, from, "", MaxProfileBytes, token, cfg.AppSecret)
	if errors.Is(err, ErrRefused) {
		// A bad token is answered with 200 and is_valid false: what was refused is our
		// own secret.
		return unavailable(errors.New("debug_token refuses the application's id and secret"))
	}
	if err != nil {
		return err
	}
	answer, err := readObject(body)
	if err != nil {
		return err
	}
	data := answer.object("data")
	switch {
	case data == nil:
		return unavailable(errors.New("debug_token answers without data"))
	case data.text("app_id") != cfg.AppID:
		return refused("it was made for another application")
	case !data.isTrue("is_valid"):
		return refused("the service says that it does not hold")
	}
	return nil
}

func readFacebook(body []byte) (Profile, error) {
	c, err := readObject(body)
	if err != nil {
		return Profile{}, err
	}
	picture := c.object("picture").object("data").text("url")
	return finish(Profile{ID: c.text("id"), Name: c.text("name"), Email: c.text("email"), Picture: picture, Raw: body})
}

// FoursquareConfig is Foursquare's API, or what speaks like it. It has no way to
// tell for which application a token was made.
type FoursquareConfig struct {
	URL  string // such as https://api.foursquare.com
	HTTP HTTP
}

// foursquareVersion is the day of the API's version that the answers are read by.
const foursquareVersion = "20140806"

// NewFoursquare checks cfg and asks nobody.
func NewFoursquare(cfg FoursquareConfig) (*Lookup, error) {
	base, c, err := open(cfg.URL, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return &Lookup{client: c, read: readFoursquare, request: func(token string) (*url.URL, string) {
		return at(base, "v2/users/self", url.Values{"oauth_token": {token}, "v": {foursquareVersion}}), ""
	}}, nil
}

func readFoursquare(body []byte) (Profile, error) {
	c, err := readObject(body)
	if err != nil {
		return Profile{}, err
	}
	response := c.object("response")
	user := response.object("user")
	photo := user.object("photo")
	p := Profile{
		ID: user.text("id"), Name: user.text("firstName") + " " + user.text("lastName"),
		Email: user.object("contact").text("email"), Raw: response["user"],
	}
	if prefix := photo.text("prefix"); prefix != "" {
		p.Picture = prefix + "original" + photo.text("suffix")
	}
	return finish(p)
}

// UserInfoConfig is an endpoint that tells who the bearer of an access token is, in
// the claims of OpenID Connect: PingFederate's, say. Any token the endpoint takes
// signs in, for whichever application it was made.
type UserInfoConfig struct {
	URL  string // of the endpoint itself
	HTTP HTTP
}

// NewUserInfo checks cfg and asks nobody.
func NewUserInfo(cfg UserInfoConfig) (*Lookup, error) {
	endpoint, c, err := open(cfg.URL, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return &Lookup{client: c, read: standard, request: func(token string) (*url.URL, string) { return endpoint, token }}, nil
}

// open checks what every provider has.
func open(text string, cfg HTTP) (*url.URL, *client, error) {
	base, err := parseURL(text)
	if err != nil {
		return nil, nil, err
	}
	c, err := newClient(cfg)
	return base, c, err
}

// at is the URL of a path below base, with a query.
func at(base *url.URL, path string, query url.Values) *url.URL {
	u := base.JoinPath(path)
	u.RawQuery = query.Encode()
	return u
}
