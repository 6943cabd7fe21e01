package collections

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/keys"
)

// registrationSuffix ends the names of the properties in which the server notes of a token
// when the device came with it, and of a push subscription its endpoint: it is found by
// that, however it is written.
const registrationSuffix = ".notifier.registration"

// registrationOf returns the name of the property in which a registration is noted, of the
// name of the one that holds the token: spelled like that, if its end has the usual length.
func registrationOf(property string) string {
	if begin := len(property) - len(tokenSuffix); begin > 0 && keys.Fold(property[begin:]) == tokenSuffix {
		return property[:begin] + registrationSuffix
	}
	name, _ := notifierOfToken(property)
	return name + registrationSuffix
}

// noteRegistrations notes the registrations that come with the tokens of a document, and
// ends those that end. What a client says of them is left out.
func (d *document) noteRegistrations(now int64) error {
	type noted struct {
		name  string
		value []byte
	}
	var list []noted
	for i := range d.properties {
		p := &d.properties[i]
		if strings.HasSuffix(keys.Fold(p.key), registrationSuffix) {
			p.value = nil
			continue
		}
		if _, ok := notifierOfToken(p.key); !ok || p.value == nil {
			continue
		}
		n := noted{name: registrationOf(p.key), value: []byte("null")}
		if !p.empty {
			n.value = strconv.AppendInt([]byte(`{"at":`), now, 10)
			if endpoint, ok := endpointOf(p.value); ok && p.value[0] == '"' {
				n.value = wire.AppendString(append(n.value, `,"endpoint":`...), endpoint)
			}
			n.value = append(n.value, '}')
		}
		list = append(list, n)
	}
	for _, n := range list {
		if err := d.setAs(n.name, n.value); err != nil {
			return err
		}
	}
	return nil
}

// endpointOf returns the endpoint of a push subscription: of an object, or of the text of
// one. False: the value of a token is none.
func endpointOf(value []byte) (string, bool) {
	if value[0] == '"' {
		text := strings.TrimSpace(decodeString(value))
		if !strings.HasPrefix(text, "{") {
			return "", false
		}
		value = []byte(text)
	}
	var subscription struct {
		Endpoint string `json:"endpoint"`
	}
	if value[0] != '{' || json.Unmarshal(value, &subscription) != nil || subscription.Endpoint == "" {
		return "", false
	}
	return subscription.Endpoint, true
}

// shownToken is what a token is known by: the endpoint of a push subscription, and any
// other text as it is.
func shownToken(value []byte) (string, bool) {
	if endpoint, ok := endpointOf(value); ok {
		return endpoint, true
	}
	if value[0] != '"' {
		return "", false
	}
	return strings.TrimSpace(decodeString(value)), true
}
