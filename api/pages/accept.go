package pages

import (
	"mime"
	"strconv"
	"strings"
)

// WantsHTML reports whether the client, by its header Accept, names text/html:
// a browser, that is. "*/*" names nothing, so SDKs and curl get JSON. A client
// that prefers JSON over HTML by quality gets JSON, too.
func WantsHTML(accept string) bool {
	html, json := 0.0, 0.0
	for item := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, ok := params["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil || !(quality >= 0 && quality <= 1) {
				continue
			}
		}
		switch kind {
		case "text/html", "application/xhtml+xml":
			html = max(html, quality)
		case "application/json":
			json = max(json, quality)
		}
	}
	return html > 0 && html >= json
}
