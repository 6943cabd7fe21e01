package providertest_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/push/providertest"
)

// TestServicesRefuse shows that the services notice what no right client sends.
func TestServicesRefuse(t *testing.T) {
	s := providertest.Start(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.APNs.RootCAs()}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.APNs.RootCAs()}, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	defer old.CloseIdleConnections()
	s.WebPush.Subscribe("b1", "")
	s.GCM.AddKey("k")
	for _, tc := range []struct {
		name       string
		by         *http.Transport
		url        string
		header     string // name: value
		body       string
		status     int
		says       string
		complaints func() []string // nil: none
	}{
		{"APNs without a token", transport, s.APNs.URL() + "/3/device/ab12", "", "{}", 403, "MissingProviderToken", nil},
		{"APNs with a forged token", transport, s.APNs.URL() + "/3/device/ab12", "Authorization: bearer a.b.c", "{}", 403, "InvalidProviderToken", nil},
		{"APNs by HTTP/1.1", old, s.APNs.URL() + "/3/device/ab12", "", "{}", 403, "", s.APNs.TakeComplaints},
		{"FCM without a token", transport, s.FCM.URL() + "/v1/projects/p/messages:send", "", `{"message":{"token":"x"}}`, 401, "UNAUTHENTICATED", nil},
		{"FCM elsewhere", transport, s.FCM.URL() + "/batch", "", "", 404, "", s.FCM.TakeComplaints},
		{"a token by another grant", transport, s.FCM.TokenURL(), "", "grant_type=password&assertion=a.b.c", 400, "invalid_grant", s.FCM.TakeComplaints},
		{"GCM with another key", transport, s.GCM.Endpoint(), "Authorization: key=x", `{"registration_ids":["x"],"priority":"high"}`, 401, "", nil},
		{"GCM to nobody", transport, s.GCM.Endpoint(), "Authorization: key=k", `{"registration_ids":[]}`, 200, "", s.GCM.TakeComplaints},
		{"WNS without a token", transport, s.WNS.Channel("c1"), "X-WNS-Type: wns/toast", "<toast/>", 401, "", nil},
		{"WNS with another secret", transport, s.WNS.TokenURL(), "Content-Type: application/x-www-form-urlencoded", "grant_type=client_credentials&scope=notify.windows.com&client_id=x&client_secret=y", 400, "invalid_client", nil},
		{"WNS with another scope", transport, s.WNS.TokenURL(), "", "grant_type=x", 400, "invalid_client", s.WNS.TakeComplaints},
		{"web push in the clear", transport, s.WebPush.Endpoint("b1"), "TTL: 1", "hello, this is no record of any kind", 401, "", s.WebPush.TakeComplaints},
		{"web push to nobody", transport, s.WebPush.Endpoint("b2"), "TTL: 1", "x", 404, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tc.url, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if name, value, ok := strings.Cut(tc.header, ": "); ok {
				req.Header.Set(name, value)
			}
			resp, err := tc.by.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.says) {
				t.Errorf("it answers %d %s, %v; want %d %s", resp.StatusCode, body, err, tc.status, tc.says)
			}
			if tc.complaints != nil && len(tc.complaints()) == 0 {
				t.Error("it does not complain")
			}
		})
	}
}
