package management

import (
	"net/http"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// jobBody returns the body of a request for an export or import; an empty object if
// there is none, of which every property is missing.
func (c *call) jobBody() (*fastjson.Value, error) {
	v, err := c.req.Value()
	if err == nil && v == nil {
		v, err = fastjson.Parse("{}")
	}
	if err != nil {
		return nil, err
	}
	if v.Type() != fastjson.TypeObject {
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	return v, nil
}

// exportOrganization begins an export of all applications of an organisation.
func (c *call) exportOrganization() (*wire.Reply, error) {
	names, err := c.dir.Applications(c.req.Context(), c.org.ID, false)
	if err != nil {
		return nil, err
	}
	s := &portage.Subject{Organization: c.org.ID, Apps: map[string]portage.AppRef{}}
	for _, name := range names {
		app, err := c.dir.ApplicationByID(c.req.Context(), name.ID)
		if fault.Is(err, fault.OrganizationApplicationNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		s.Apps[app.FullName()] = portage.AppRef{Number: app.Number, ID: app.ID}
	}
	return c.beginExport(s)
}

// exportToStore begins an export of an application, or of one of its collections.
func (c *call) exportToStore() (*wire.Reply, error) {
	s := &portage.Subject{
		Organization: c.org.ID, Application: c.app.ID, Apps: map[string]portage.AppRef{c.app.FullName(): {Number: c.app.Number, ID: c.app.ID}},
	}
	if name := c.segment("collection"); name != "" {
		t, err := schema.Of(name)
		if err != nil {
			return nil, err
		}
		s.Collection = t.Collection
	}
	return c.beginExport(s)
}

func (c *call) beginExport(s *portage.Subject) (reply *wire.Reply, err error) {
	body, err := c.jobBody()
	if err != nil {
		return nil, err
	}
	if s.Credentials, err = c.credentialsToo(); err != nil {
		return nil, err
	}
	s.NoData = c.req.Query("data") == "false"
	if body.Exists("query") {
		return nil, bad("an export is of everything: query is not offered")
	}
	job, err := c.Portage.StartExport(c.req.Context(), body, s)
	if err != nil {
		return nil, err
	}
	return wire.Object().Status(http.StatusAccepted).Field("Export Entity", job.UUID), nil
}

// showExport answers with the job itself, which has its state at the top.
func (c *call) showExport() (*wire.Reply, error) {
	job, err := c.Portage.Job(c.req.Context(), entity.Management, entity.JobExport, c.org.ID, c.segment("job"))
	if err != nil {
		return nil, err
	}
	return wire.Management("get export").Field("uuid", job.UUID).Field("type", job.Type).Field("state", job.State).
		Field("entities", []portage.ShownJob{job}), nil
}

func (c *call) exportFiles() (*wire.Reply, error) {
	return c.files(entity.Management, entity.JobExport)
}

func (c *call) files(app entity.AppID, kind entity.JobKind) (*wire.Reply, error) {
	from, err := strconv.ParseUint(firstText(c.req.Query("from"), "0"), 10, 32)
	if err != nil {
		return nil, bad("from must be a number")
	}
	files, err := c.Portage.Files(c.req.Context(), app, kind, c.org.ID, c.segment("job"), uint32(from))
	if err != nil {
		return nil, err
	}
	return wire.Management("get files").Field("entities", files).Field("count", len(files)), nil
}

func (c *call) startImport() (*wire.Reply, error) {
	body, err := c.jobBody()
	if err != nil {
		return nil, err
	}
	job, err := c.Portage.StartImport(c.req.Context(), body, &portage.Subject{
		Number: c.app.Number, Application: c.app.ID, Organization: c.org.ID, Open: c.app.Open, Replace: body.GetBool("replace"),
	})
	if err != nil {
		return nil, err
	}
	return c.imports(job), nil
}

func (c *call) imports(jobs ...portage.ShownJob) *wire.Reply {
	return wire.Management(c.req.Action()).Field("application", c.app.ID.String()).Field("entities", jobs).Field("count", len(jobs))
}

func (c *call) listImports() (*wire.Reply, error) {
	jobs, err := c.Portage.Imports(c.req.Context(), c.app.Number)
	if err != nil {
		return nil, err
	}
	return c.imports(jobs...), nil
}

func (c *call) showImport() (*wire.Reply, error) {
	job, err := c.Portage.Job(c.req.Context(), c.app.Number, entity.JobImport, c.org.ID, c.segment("job"))
	if err != nil {
		return nil, err
	}
	return c.imports(job), nil
}

func (c *call) importFiles() (*wire.Reply, error) { return c.files(c.app.Number, entity.JobImport) }

func (c *call) importFile() (*wire.Reply, error) {
	file, _, err := c.Portage.File(c.req.Context(), c.app.Number, c.org.ID, c.segment("job"), c.segment("file"))
	if err != nil {
		return nil, err
	}
	return wire.Management("get file").Field("entities", []portage.ShownFile{file}).Field("count", 1), nil
}

func (c *call) importErrors() (*wire.Reply, error) {
	_, errs, err := c.Portage.File(c.req.Context(), c.app.Number, c.org.ID, c.segment("job"), c.segment("file"))
	if err != nil {
		return nil, err
	}
	return wire.Management("get errors").Field("entities", errs).Field("count", len(errs)), nil
}
