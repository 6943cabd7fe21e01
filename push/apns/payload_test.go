package apns_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/push/apns"
	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/push/providertest"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestTranslate(t *testing.T) {
	p := set(t, provider.DefaultConfig())[provider.Apple]
	for payload, want := range map[string]string{
		`"Hello"`:                `{"aps":{"alert":"Hello"}}`,
		`"say \"hi\" & <b>"`:     `{"aps":{"alert":"say \"hi\" & <b>"}}`,
		`"say \\\"hi\\\" once"`:  `{"aps":{"alert":"say \"hi\" once"}}`, // escaped by a client that knows J
		`"a \\\" b \\q"`:         `{"aps":{"alert":"a \\\" b \\q"}}`,    // no valid escapes: as it is
		`""`:                     `{"aps":{"alert":""}}`,
		`"{\"aps\":{\"a\": 1}}"`: `{"aps":{"a":1}}`,
		` {"aps": {"alert": "x"}, "id": 9223372036854775807} `:  `{"aps":{"alert":"x"},"id":9223372036854775807}`,
		`{"aps":{"alert":"x"},"_apns":{"priority":"5"},"z":[]}`: `{"aps":{"alert":"x"},"z":[]}`,
	} {
		got, err := p.Translate(provider.Notifier{}, json.RawMessage(payload))
		if err != nil || string(got.Receipt()) != want {
			t.Errorf("%s\nbecomes %v, %v\nwant    %s", payload, got, err, want)
		}
	}
	for _, payload := range []string{
		`1`, `true`, `null`, `[]`, `"{"`, `"{1}"`, `"{} x"`, `{"aps":{},"_apns":1}`, `{"_apns":{"push-type":"x"}}`, `{"_apns":{"priority":2}}`,
		`{"_apns":{"collapse-id":"` + strings.Repeat("x", 65) + `"}}`, `{"_apns":{"collapse-id":"a\nb"}}`, `{"_apns":{"topic":"a\nb"}}`,
		`{"_apns":{"id":"x"}}`, `{"_apns":{"other":1}}`, `{"_apns":{"topic":1}}`,
	} {
		if got, err := p.Translate(provider.Notifier{}, json.RawMessage(payload)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s is taken: %v, %v", payload, got, err)
		}
	}
}

func TestPayloadLimit(t *testing.T) {
	cfg := provider.DefaultConfig()
	alert := func(bytes int) json.RawMessage { // as it is sent
		return json.RawMessage(`"` + strings.Repeat("x", bytes-len(`{"aps":{"alert":""}}`)) + `"`)
	}
	voip := func(bytes int) json.RawMessage {
		return json.RawMessage(`{"_apns":{"push-type":"voip"},"aps":"` + strings.Repeat("x", bytes-len(`{"aps":""}`)) + `"}`)
	}
	for _, tc := range []struct {
		limit   int
		payload json.RawMessage
		ok      bool
	}{
		{4096, alert(4096), true}, {4096, alert(4097), false}, {2048, alert(2048), true}, {2048, alert(2049), false},
		{4096, voip(5120), true}, {4096, voip(5121), false},
	} {
		cfg.APNSMaxPayload = tc.limit
		_, err := set(t, cfg)[provider.Apple].Translate(provider.Notifier{}, tc.payload)
		if (err == nil) != tc.ok || err != nil && !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("a payload near %d: %v", tc.limit, err)
		}
	}
}

// FuzzTranslate: what is taken is an object within the limit, and the same each time.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{
		`"x"`, `"{\"aps\":{}}"`, `{"aps":{"alert":"x","content-available":1},"_apns":{"push-type":"voip","priority":5,"collapse-id":"c","topic":"t","id":"0c1a3d5e-7b9f-5a1c-8e3d-5f7a9b1c3d5e"}}`, `"a\\\"b"`, `{}`, `1`,
	} {
		f.Add([]byte(seed))
	}
	p, err := apns.New(provider.DefaultConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := p.Translate(provider.Notifier{}, payload)
		if err != nil {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Fatalf("%q: %v", payload, err)
			}
			return
		}
		body := got.Receipt()
		if !json.Valid(body) || !provider.IsObject(body) || len(body) > 5120 {
			t.Fatalf("%q becomes %q", payload, body)
		}
		again, err := p.Translate(provider.Notifier{}, body)
		if err == nil && string(again.Receipt()) != string(body) {
			t.Fatalf("%q becomes %q, and that %q", payload, body, again.Receipt())
		}
	})
}

// FuzzCheck: credentials of any bytes yield a notifier or a fault, and no panic.
func FuzzCheck(f *testing.F) {
	file, _ := providertest.P12(f, providertest.Certificate{UserID: bundle, Topics: []string{bundle}, Password: "pw"})
	key, _ := providertest.AuthKey(f)
	f.Add(file, "pw", "")
	f.Add([]byte(nil), "", key)
	f.Add([]byte("hello"), "", "hello")
	p := set(f, provider.DefaultConfig())
	f.Fuzz(func(t *testing.T, file []byte, password, key string) {
		in := providertest.Input(t, map[string]any{
			"provider": "apple", "environment": "mock", "certificatePassword": password, "authKey": key,
			"keyId": keyID, "teamId": team, "bundleId": bundle,
		})
		in.Files = map[string]provider.File{"p12Certificate": {Content: file}}
		n, err := p.Check(in)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.IllegalArgument && code != fault.RequiredProperty {
				t.Fatal(err)
			}
			return
		}
		s, err := p[provider.Apple].Open(n)
		if err != nil {
			t.Fatalf("a notifier that is checked does not open: %v", err)
		}
		s.Close()
	})
}
