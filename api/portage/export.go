package portage

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/dump"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// LinesType is the content type of an export that is not zipped.
const LinesType = "application/x-ndjson"

// Export answers with all that an application holds, of one moment: a zip file, or if
// the client accepts LinesType, or asks for format=ndjson, the lines themselves. It is
// made while the client takes it. credentials says whether hashes of passwords go with
// it, noData that the data of entities does not, only names the one collection that does.
func (h *Handlers) Export(req *wire.Request, app *wire.Application, credentials, noData bool, only string) (*wire.Reply, error) {
	if h.running.Add(1) > int64(h.cfg.Exports) {
		h.running.Add(-1)
		return nil, fault.New(fault.Overloaded, "this node streams %d exports already, try again", h.cfg.Exports)
	}
	view, err := h.cluster.LongView(req.Context(), app.Number)
	if err != nil {
		h.running.Add(-1)
		return nil, err
	}
	plain := strings.EqualFold(req.Query("format"), "ndjson") || strings.Contains(req.Header("Accept"), LinesType)
	name := fmt.Sprintf("%s_%s_%d", strings.ToLower(app.OrganizationName), app.Name, req.Time().UnixMilli())
	s := &stream{
		view: view, name: name, zipped: !plain,
		options: dump.Options{App: app.Number, Only: only, Credentials: credentials, NoData: noData, Objects: h.data.Open, Header: portable.Header{
			Organization: app.OrganizationName, Application: app.Name, UUID: app.ID.String(), Exported: req.Time().UnixMilli(),
		}},
		release: func() { h.running.Add(-1) },
	}
	s.ctx, s.cancel = context.WithTimeoutCause(req.StreamContext(), h.cfg.Longest,
		fault.New(fault.Timeout, "the export took longer than %s", h.cfg.Longest))
	content, suffix := "application/zip", ".zip"
	if plain {
		content, suffix = LinesType, ".ndjson"
	}
	return wire.Stream(content, s).Header("Content-Disposition", `attachment; filename="`+name+suffix+`"`), nil
}

// stream is an export that is made while it is read. Its goroutine begins with the
// first Read, and has ended when Close returns.
type stream struct {
	ctx     context.Context // kept because whoever reads the stream knows of none
	cancel  context.CancelFunc
	view    *storage.View
	name    string
	zipped  bool
	options dump.Options
	release func()

	once   sync.Once
	closed sync.Once
	pipe   *io.PipeReader
	done   chan struct{}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	s.once.Do(func() {
		var w *io.PipeWriter
		s.pipe, w = io.Pipe()
		s.done = make(chan struct{})
		stop := context.AfterFunc(s.ctx, func() { _ = w.CloseWithError(context.Cause(s.ctx)) }) // never fails
		go func() {
			defer close(s.done)
			defer stop()
			_ = w.CloseWithError(s.write(w)) // never fails; nil ends the stream properly
		}()
	})
	if s.pipe == nil {
		return 0, io.ErrClosedPipe
	}
	return s.pipe.Read(p)
}

// write writes the whole export. A panic in it breaks this stream, and not the node.
func (s *stream) write(w io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("export: panic: %v", p)
		}
	}()
	buffered := bufio.NewWriterSize(w, 64<<10)
	if !s.zipped {
		err = dump.Write(s.ctx, s.view, s.options, portable.NewWriter(buffered))
		return errors.Join(err, buffered.Flush())
	}
	z := zip.NewWriter(buffered)
	f, err := z.Create(s.name + ".ndjson")
	if err == nil {
		err = dump.Write(s.ctx, s.view, s.options, portable.NewWriter(f))
	}
	if err != nil {
		return err // without its directory the file is none
	}
	return errors.Join(z.Close(), buffered.Flush())
}

// Close ends the export, however far it is.
func (s *stream) Close() (err error) {
	s.closed.Do(func() {
		s.cancel()
		s.once.Do(func() {}) // it does not begin any more
		if s.pipe != nil {
			_ = s.pipe.Close() // never fails
			<-s.done
		}
		err = s.view.Close()
		s.release()
	})
	return err
}
