package query

// arena gives copies their memory, many of them in one piece. It belongs to whoever has
// one of them.
type arena struct {
	free []byte
	size int // of the block it is a part of
}

// Blocks are asked for in these sizes, each twice the one before. What is larger than a
// part of a block has memory of its own, so that little is wasted.
const firstBlock, lastBlock = 2 << 10, 32 << 10

func (a *arena) clone(b []byte) []byte {
	n := len(b)
	if n > firstBlock/2 {
		return append(make([]byte, 0, n), b...)
	}
	if n > len(a.free) {
		a.size = min(max(2*a.size, firstBlock), lastBlock)
		a.free = make([]byte, a.size)
	}
	copied := a.free[:n:n]
	a.free = a.free[n:]
	copy(copied, b)
	return copied
}
