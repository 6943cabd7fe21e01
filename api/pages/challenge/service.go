package challenge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
)

// ServiceConfig says which outside service asks, in the shape of reCAPTCHA's
// siteverify, which others speak too. All of it is the operator's.
type ServiceConfig struct {
	PublicKey  string
	PrivateKey string
	VerifyURL  string        // where answers are checked
	ScriptURL  string        // of the widget
	Class      string        // of the element the widget fills
	Sources    []string      // of scripts and frames, for the content security policy
	Timeout    time.Duration // of one check
}

// DefaultServiceConfig is reCAPTCHA with these keys.
func DefaultServiceConfig(publicKey, privateKey string) ServiceConfig {
	return ServiceConfig{
		PublicKey:  publicKey,
		PrivateKey: privateKey,
		VerifyURL:  "https://www.google.com/recaptcha/api/siteverify",
		ScriptURL:  "https://www.google.com/recaptcha/api.js",
		Class:      "g-recaptcha",
		Sources: []string{
			"https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/", "https://recaptcha.google.com/recaptcha/",
		},
		Timeout: 5 * time.Second,
	}
}

const (
	// maxResponse is how long a widget's answer may be, in bytes.
	maxResponse = 8 << 10
	// maxVerdict is how much of the service's answer is read, in bytes.
	maxVerdict = 64 << 10
)

// Service has an outside service ask and check. It is safe for concurrent use.
type Service struct {
	cfg    ServiceConfig
	client *http.Client
}

// NewService checks cfg; both keys are wanted. It does not call the service.
func NewService(cfg ServiceConfig) (*Service, error) {
	if cfg.PublicKey == "" || cfg.PrivateKey == "" {
		return nil, fmt.Errorf("challenge: an outside service needs both a public and a private key")
	}
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("challenge: timeout of the outside service is %v", cfg.Timeout)
	}
	if cfg.Class == "" {
		return nil, fmt.Errorf("challenge: the widget's element has no class")
	}
	for _, address := range append([]string{cfg.VerifyURL, cfg.ScriptURL}, cfg.Sources...) {
		if err := checkURL(address); err != nil {
			return nil, fmt.Errorf("challenge: outside service: %w", err)
		}
	}
	cfg.Sources = slices.Clone(cfg.Sources)
	return &Service{cfg, &http.Client{
		// Checks are rare: no connection is kept, so nothing has to be closed.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: cfg.Timeout},
		Timeout:   cfg.Timeout,
		// The private key is in the body: it goes where the operator said.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// checkURL takes what can stand in a content security policy, which knows
// neither user information nor white space, commas and semicolons.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is no http URL", address)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9:/?=&._~%\[\]-]+$`).MatchString(address) {
		return fmt.Errorf("%q holds a character that must be escaped", address)
	}
	return nil
}

// Issue shows the widget.
func (s *Service) Issue(string) Question {
	return Question{Widget: &Widget{Script: s.cfg.ScriptURL, Class: s.cfg.Class, SiteKey: s.cfg.PublicKey, Sources: slices.Clone(s.cfg.Sources)}}
}

// Check asks the service. It returns IllegalArgument for an answer that the
// service does not take, and Overloaded if the service cannot be asked or
// refuses the keys: then nobody is let through.
func (s *Service) Check(ctx context.Context, _ string, answer Answer) error {
	if strings.TrimSpace(answer.Response) == "" || len(answer.Response) > maxResponse {
		return wrong(". Please try again.")
	}
	verdict, err := s.ask(ctx, answer.Response)
	if err != nil {
		return fault.Wrap(fmt.Errorf("check a captcha at %s: %w", s.cfg.VerifyURL, err), fault.Overloaded, "the captcha cannot be checked now, please try again later")
	}
	if !verdict {
		return wrong(". Please try again.")
	}
	return nil
}

func (s *Service) ask(ctx context.Context, response string) (bool, error) {
	form := url.Values{"secret": {s.cfg.PrivateKey}, "response": {response}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.VerifyURL, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d", res.StatusCode)
	}
	var verdict struct {
		Success bool     `json:"success"`
		Errors  []string `json:"error-codes"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxVerdict)).Decode(&verdict); err != nil {
		return false, fmt.Errorf("read the verdict: %w", err)
	}
	if !verdict.Success && slices.ContainsFunc(verdict.Errors, func(e string) bool { return strings.HasSuffix(e, "-input-secret") }) {
		return false, fmt.Errorf("the service does not know the private key: %q", verdict.Errors)
	}
	return verdict.Success, nil
}
