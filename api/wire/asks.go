package wire

// Asks reports whether the query string says anything of what is asked for: credentials
// and the name of a JSONP function do not.
func (r *Request) Asks() bool {
	for _, p := range r.params() {
		if !secret(p.name) && p.name != "callback" {
			return true
		}
	}
	return false
}
