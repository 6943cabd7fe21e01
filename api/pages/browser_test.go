//go:build browser

package pages

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/pages/challenge"
	"github.com/trellisdb/trellis/api/pages/redirect"
)

// patience is how long a browser on a loaded machine may take for one test.
const patience = 3 * time.Minute

// executable finds Chromium. The test is asked for by its build tag, so that
// there is none is an error.
func executable(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no chromium, chromium-browser or google-chrome in the path")
	return ""
}

// startBrowser starts a browser that reaches this machine only.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(executable(t)),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return browser
}

// tab is a tab with cookies of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
	mu  struct {
		sync.Mutex
		complaints []string
	}
}

// open opens a tab. What the browser complains about, such as a breach of the
// content security policy, fails the test at its end.
func open(browser context.Context, t *testing.T) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, complaint := range b.mu.complaints {
			t.Errorf("the browser says: %s", complaint)
		}
	})
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			// A page of status 4xx is an error to the log, and the favicon is not there.
			if e.Entry.Source != log.EntrySourceNetwork {
				b.mu.complaints = append(b.mu.complaints, e.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			b.mu.complaints = append(b.mu.complaints, e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run does actions one after the other.
func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, action := range actions {
		if err := chromedp.Do(b.ctx, action); err != nil {
			at, _ := chromedp.Run(b.ctx, chromedp.Location()) // to tell more
			body, _ := chromedp.Run(b.ctx, chromedp.OuterHTML(chromedp.CSS("html")))
			b.t.Fatalf("%v, at %s:\n%s", err, at, body)
		}
	}
}

// text is what a person reads at the first match.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return get(b, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
}

// get does an action that has a result.
func get[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// await waits until a match says these words: the next page is there.
func (b *tab) await(selector, words string) {
	b.t.Helper()
	b.run(chromedp.WaitVisible(chromedp.Search(fmt.Sprintf("//%s[contains(., %q)]", selector, words))))
}

func typing(text string) chromedp.Action[chromedp.Void] { return chromedp.KeyEvent(text) }

// world is a small server with these pages, as the handlers of the API are.
type world struct {
	t      *testing.T
	site   *Site
	server *httptest.Server
	mu     struct {
		sync.Mutex
		signedIn int
		sent     []string // whom a link was sent to
		password string
	}
}

func newWorld(t *testing.T, asks Challenge) *world {
	t.Helper()
	cfg := DefaultConfig(auth.DeriveKey([32]byte{1}, "pages"))
	if asks != nil {
		cfg.Challenge = asks
	}
	site, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, site: site}
	mux := http.NewServeMux()
	mux.HandleFunc("/management/authorize", w.authorize)
	mux.HandleFunc("/management/users/resetpw", w.reset)
	mux.HandleFunc("/management/users/dana/resetpw", w.set)
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) show(out http.ResponseWriter, p Page) {
	for _, h := range p.Header {
		out.Header().Set(h.Name, h.Value)
	}
	out.WriteHeader(p.Status)
	_, _ = out.Write(p.Body) // a browser that left
}

func (w *world) authorize(out http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	d := SignIn{
		ResponseType: r.FormValue("response_type"), ClientID: r.FormValue("client_id"), RedirectURI: r.FormValue("redirect_uri"),
		Scope: r.FormValue("scope"), State: r.FormValue("state"), Username: r.PostFormValue("username"),
	}
	var err error
	if d.Target, err = redirect.Parse(d.RedirectURI, redirect.Allow{}); err != nil {
		w.show(out, w.site.AuthorizeFailed(err.Error()))
		return
	}
	if r.Method == http.MethodPost {
		if err := w.site.VerifyForm(v, ForSignIn, r.PostFormValue(FormField)); err != nil {
			d.Status, d.Message = http.StatusBadRequest, err.Error()
		} else if r.PostFormValue("username") == "dana" && r.PostFormValue("password") == "s3same" {
			w.mu.Lock()
			w.mu.signedIn++
			w.mu.Unlock()
			http.Redirect(out, r, d.Target.Code("YWMt-code", d.State), http.StatusFound)
			return
		} else {
			d.Message = WrongPassword
		}
	}
	w.show(out, w.site.SignIn(v, d))
}

func (w *world) reset(out http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	d := ResetRequest{Email: r.PostFormValue("email")}
	if r.Method == http.MethodPost {
		answer, err := challenge.AnswerOf(func(name string) (string, error) { return r.PostFormValue(name), nil })
		if err == nil {
			err = w.site.VerifyForm(v, ForReset, r.PostFormValue(FormField))
		}
		if err == nil {
			err = w.site.CheckAnswer(r.Context(), answer)
		}
		if err == nil {
			w.mu.Lock()
			w.mu.sent = append(w.mu.sent, d.Email)
			w.mu.Unlock()
			w.show(out, w.site.InstructionsSent())
			return
		}
		d.Message = err.Error()
	}
	w.show(out, w.site.ResetRequest(v, d))
}

func (w *world) set(out http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	d := SetPassword{Token: r.FormValue("token"), Username: "dana"}
	if d.Token != "mail-token" {
		w.show(out, w.site.ResetAccount(v, ResetAccount{Email: "dana@example.org", Message: InvalidToken}))
		return
	}
	if r.Method == http.MethodPost {
		err := w.site.VerifyForm(v, ForPassword, r.PostFormValue(FormField))
		switch {
		case err != nil:
			d.Message = err.Error()
		case r.URL.RawQuery != "":
			d.Message = "the form was sent to " + r.URL.String()
		case r.PostFormValue("password1") != r.PostFormValue("password2"):
			d.Message = NotTheSame
		default:
			w.mu.Lock()
			w.mu.password = r.PostFormValue("password1")
			w.mu.Unlock()
			w.show(out, w.site.PasswordSet(""))
			return
		}
	}
	w.show(out, w.site.SetPassword(v, d))
}

// otherSite is a server that is another site to the browser: it goes by another
// name of this machine.
func otherSite(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// TestBrowser is what people see and do, in a real browser.
func TestBrowser(t *testing.T) {
	browser := startBrowser(t)
	for name, test := range map[string]func(context.Context, *testing.T){
		"SignInByKeyboard":     signInByKeyboard,
		"LoginFromAnotherSite": loginFromAnotherSite,
		"FormsInTwoTabs":       formsInTwoTabs,
		"ResetByArithmetic":    resetByArithmetic,
		"ResetByWork":          resetByWork,
		"ResetByService":       resetByService,
		"SetPassword":          setPassword,
		"EveryFieldHasAName":   everyFieldHasAName,
		"FitsASmallScreen":     fitsASmallScreen,
		"NoFrames":             noFrames,
	} {
		t.Run(name, func(t *testing.T) { test(browser, t) })
	}
}

// No mouse: Tab, type, Enter. The client sends the browser on to yet another
// site, as many do, which the page's policy must not stop.
func signInByKeyboard(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	landed := make(chan string, 1)
	home := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(home.Close)
	client := otherSite(t, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			landed <- r.URL.RequestURI()
			http.Redirect(out, r, home.URL+"/home", http.StatusFound)
		}
	})
	b := open(browser, t)
	query := url.Values{"response_type": {"code"}, "client_id": {"x"}, "redirect_uri": {client + "/callback?a=b"}, "state": {`"><b>&`}}
	b.run(chromedp.Navigate(w.server.URL+"/management/authorize?"+query.Encode()), chromedp.WaitVisible(chromedp.CSS("form")))
	b.run(typing(kb.Tab), typing("dana"), typing(kb.Tab), typing("wrong"), typing(kb.Enter))
	b.await("p[@role='alert']", WrongPassword)
	// The name is still there; the password is not.
	b.run(typing(kb.Tab), typing(kb.Tab), typing("s3same"), typing(kb.Tab), typing(kb.Enter))
	select {
	case got := <-landed:
		if got != "/callback?a=b&code=YWMt-code&state=%22%3E%3Cb%3E%26" {
			t.Errorf("landed at %s", got)
		}
	case <-b.ctx.Done():
		t.Fatal("the browser does not come to the client")
	}
	for get(b, chromedp.Location()) != home.URL+"/home" {
		b.run(chromedp.Sleep(50 * time.Millisecond)) // until the patience of the tab is over
	}
}

// A page of another site posts its own account: the browser must not be
// signed in.
func loginFromAnotherSite(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	evil := otherSite(t, func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(out, `<form method="post" action="%s/management/authorize">
<input name="redirect_uri" value="https://client.example/"><input name="username" value="dana"><input name="password" value="s3same">
</form><script>document.forms[0].submit()</script>`, w.server.URL)
	})
	b := open(browser, t)
	b.run(chromedp.Navigate(w.server.URL + "/management/authorize?redirect_uri=https://client.example/")) // so that there is a cookie
	b.run(chromedp.Navigate(evil))
	b.await("p[@role='alert']", "another site")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.signedIn != 0 {
		t.Error("the other site signed the browser in")
	}
}

func formsInTwoTabs(browser context.Context, t *testing.T) {
	w := newWorld(t, challenge.None{})
	first := open(browser, t)
	first.run(chromedp.Navigate(w.server.URL + "/management/users/resetpw"))
	ctx, end := chromedp.NewContext(first.ctx)
	t.Cleanup(end)
	second := &tab{t: t, ctx: ctx}
	second.run(chromedp.Navigate(w.server.URL + "/management/users/resetpw"))
	for n, b := range []*tab{first, second} {
		b.run(chromedp.SendKeys(chromedp.CSS("#email"), fmt.Sprint("user", n)), chromedp.Submit(chromedp.CSS("form")))
		b.await("p", "have been sent")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.mu.sent, " "); got != "user0 user1" {
		t.Errorf("sent to %s", got)
	}
}

// By what a person reads, and without JavaScript.
func resetByArithmetic(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	b := open(browser, t)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Navigate(w.server.URL + "/management/users/resetpw"))
	b.run(chromedp.SendKeys(chromedp.CSS("#email"), "dana@example.org"), chromedp.SendKeys(chromedp.CSS("#answer"), "none"), typing(kb.Enter))
	b.await("p[@role='alert']", "Incorrect Captcha")
	b.run(chromedp.SendKeys(chromedp.CSS("#answer"), sum(t, b.text("label[for=answer]"))), typing(kb.Enter))
	b.await("p", "have been sent")
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.mu.sent, " "); got != "dana@example.org" {
		t.Errorf("sent to %s", got)
	}
}

// sum answers the question in a label.
func sum(t *testing.T, label string) string {
	t.Helper()
	var x, y int
	var op string
	if _, err := fmt.Sscanf(label, "What is %d %s %d?", &x, &op, &y); err != nil {
		t.Fatalf("%q: %v", label, err)
	}
	switch op {
	case "plus":
		x += y
	case "minus":
		x -= y
	case "times":
		x *= y
	}
	return fmt.Sprint(x)
}

// The script of the page does the work, and its SHA-256 is that of Go.
func resetByWork(browser context.Context, t *testing.T) {
	w := newWorld(t, asksWork(t, challenge.DefaultBits))
	for range 3 {
		b := open(browser, t)
		b.run(chromedp.Navigate(w.server.URL+"/management/users/resetpw"), chromedp.WaitVisible(chromedp.CSS("#work")))
		begun := time.Now()
		b.run(chromedp.SendKeys(chromedp.CSS("#email"), "dana"))
		b.run(chromedp.WaitEnabled(chromedp.CSS("button")), chromedp.Click(chromedp.CSS("button")))
		b.await("p", "have been sent")
		t.Logf("%d bits took %v", challenge.DefaultBits, time.Since(begun).Round(time.Millisecond))
	}
}

// The widget of an outside service may run, and what it says is checked there.
func resetByService(browser context.Context, t *testing.T) {
	service := otherSite(t, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api.js" {
			out.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(out, `document.querySelectorAll(".g-recaptcha").forEach(function (e) {
				var field = document.createElement("textarea");
				field.name = "g-recaptcha-response";
				field.value = "solved for " + e.dataset.sitekey;
				e.appendChild(field);
			});`)
			return
		}
		fmt.Fprintf(out, `{"success": %t}`, r.PostFormValue("response") == "solved for public" && r.PostFormValue("secret") == "private")
	})
	cfg := challenge.DefaultServiceConfig("public", "private")
	cfg.VerifyURL, cfg.ScriptURL, cfg.Sources = service+"/verify", service+"/api.js", []string{service}
	asks, err := challenge.NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, asks)
	b := open(browser, t)
	b.run(chromedp.Navigate(w.server.URL+"/management/users/resetpw"), chromedp.WaitReady(chromedp.CSS("textarea")))
	b.run(chromedp.SendKeys(chromedp.CSS("#email"), "dana"), chromedp.Click(chromedp.CSS("button")))
	b.await("p", "have been sent")
}

func setPassword(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	b := open(browser, t)
	b.run(chromedp.Navigate(w.server.URL + "/management/users/dana/resetpw?token=old"))
	b.await("p[@role='alert']", "invalid token")
	if got := b.text("form"); !strings.Contains(got, "d***@e***.org") {
		t.Errorf("the form says %q", got)
	}
	b.run(chromedp.Navigate(w.server.URL + "/management/users/dana/resetpw?token=mail-token"))
	b.run(typing(kb.Tab), typing("correct horse"), typing(kb.Tab), typing("correct hose"), typing(kb.Enter))
	b.await("p[@role='alert']", NotTheSame)
	b.run(typing(kb.Tab), typing("correct horse"), typing(kb.Tab), typing("correct horse"), typing(kb.Enter))
	b.await("p", "password set")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.password != "correct horse" {
		t.Errorf("the password is %q", w.mu.password)
	}
}

// everyFieldHasAName asks what a screen reader gets.
func everyFieldHasAName(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	for path, want := range map[string]string{
		"/management/authorize?redirect_uri=https://client.example/": "Username or email address, Password, Sign in",
		"/management/users/dana/resetpw?token=mail-token":            "New password, New password again, Set the password",
	} {
		b := open(browser, t)
		var got []string
		b.run(chromedp.Navigate(w.server.URL + path))
		tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tree.Nodes {
			if n.Role != nil && n.Name != nil && (string(n.Role.Value) == `"textbox"` || string(n.Role.Value) == `"button"`) {
				got = append(got, strings.Trim(string(n.Name.Value), `"`))
			}
		}
		if joined := strings.Join(got, ", "); joined != want {
			t.Errorf("%s: a screen reader gets %q, want %q", path, joined, want)
		}
	}
}

func fitsASmallScreen(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	b := open(browser, t)
	long := "https://" + strings.Repeat("a-very-long-name.", 12) + "example/"
	b.run(chromedp.EmulateViewport(320, 480, chromedp.EmulateMobile))
	b.run(chromedp.Navigate(w.server.URL + "/management/authorize?redirect_uri=" + long))
	if width := get(b, chromedp.Evaluate[int]("document.documentElement.scrollWidth")); width > 320 {
		t.Errorf("the page is %d pixels wide on a screen of 320", width)
	}
}

// noFrames: no other page may hold ours in a frame and have it clicked.
func noFrames(browser context.Context, t *testing.T) {
	w := newWorld(t, nil)
	evil := otherSite(t, func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(out, `<iframe src="%s/management/authorize?redirect_uri=https://client.example/"></iframe>`, w.server.URL)
	})
	b := open(browser, t)
	blocked := make(chan string, 16)
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Source == log.EntrySourceSecurity {
			select {
			case blocked <- e.Entry.Text:
			default:
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Navigate(evil))
	select {
	case text := <-blocked:
		if !strings.Contains(text, "frame-ancestors") {
			t.Errorf("the frame is blocked by %s", text)
		}
		b.mu.Lock()
		b.mu.complaints = nil // what it says is what is wanted
		b.mu.Unlock()
	case <-b.ctx.Done():
		t.Error("the frame is not blocked")
	}
}
