package index

// Flattener is Flatten for many entities, one after the other: it keeps the memory that
// a walk needs. Its zero value is ready. It is not safe for concurrent use.
type Flattener struct{ walk flattener }

// Flatten is the function Flatten.
func (f *Flattener) Flatten(json []byte, v Visitor) error {
	f.walk.visitor = v
	err := f.walk.run(json)
	f.walk.visitor = nil
	return err
}
