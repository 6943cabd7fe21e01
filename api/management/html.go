package management

import (
	"strings"

	"github.com/trellisdb/trellis/api/pages"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
)

// page makes a reply of a page.
func page(p pages.Page) *wire.Reply {
	content := ""
	for _, h := range p.Header {
		if h.Name == "Content-Type" {
			content = h.Value
		}
	}
	reply := wire.Raw(p.Status, content, p.Body)
	for _, h := range p.Header {
		if h.Name != "Content-Type" {
			reply.Header(h.Name, h.Value)
		}
	}
	return reply
}

// wantsPage reports whether the client names HTML among what it accepts.
func (c *call) wantsPage() bool { return pages.WantsHTML(c.req.Header("Accept")) }

// formWantsJSON reports whether the answer to a form is to be JSON: it was sent as JSON,
// or the client accepts JSON and does not name HTML. Without a word about it, it is JSON.
func (c *call) formWantsJSON() (bool, error) {
	kind, err := c.req.Kind()
	accept := c.req.Header("Accept")
	return kind == wire.JSONBody || accept == "" || (strings.Contains(accept, "application/json") && !c.wantsPage()), err
}

// visit is what pages need to know of the request.
func (c *call) visit() pages.Visit {
	return pages.Visit{
		BaseURL: c.req.BaseURL(), Path: c.req.Path(), Cookie: c.req.Header("Cookie"), Origin: c.req.Header("Origin"),
		FetchSite: c.req.Header("Sec-Fetch-Site"), ContentType: c.req.Header("Content-Type"),
	}
}

// view returns the address that takes the place of a page, for those who come on behalf
// of an organisation; empty: the page is shown here (spec auth-and-tokens section 6.5).
func (c *call) view(name string, workflow entity.ID) string {
	if own := c.setting(workflow, "usergrid.view."+name); own != "" {
		return own
	}
	return c.cfg.Views[name]
}
