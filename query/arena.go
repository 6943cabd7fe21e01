package query

// arena gives copies their memory, many of them in one piece. It belongs to whoever has
// one of them.
type arena struct{ free []byte }

// arenaBlock is how much is asked for at once. What is larger than a part of it has
// memory of its own, so that little is wasted.
const arenaBlock = 16 << 10

func (a *arena) clone(b []byte) []byte {
	n := len(b)
	if n > arenaBlock/4 {
		return append(make([]byte, 0, n), b...)
	}
	if n > len(a.free) {
		a.free = make([]byte, arenaBlock)
	}
	copied := a.free[:n:n]
	a.free = a.free[n:]
	copy(copied, b)
	return copied
}
