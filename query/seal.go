package query

import "github.com/trellisdb/trellis/query/cursor"

// Mark returns a cursor of a list that is no query of the engine's: what it is bound to,
// and where the next page begins, at most cursor.MaxPosition bytes.
func (e *Engine) Mark(binding, position []byte) string {
	return cursor.Encode(&e.cfg.CursorKey, cursor.Bind([]byte("list"), binding), position)
}

// Place returns the position of a cursor that Mark made with the same binding. Anything
// else is fault.IllegalArgument.
func (e *Engine) Place(binding []byte, text string) ([]byte, error) {
	return cursor.Decode(&e.cfg.CursorKey, cursor.Bind([]byte("list"), binding), text)
}
