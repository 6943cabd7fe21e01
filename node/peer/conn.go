package peer

import (
	"net"

	"github.com/trellisdb/trellis/storage/entity"
)

// conn is a connection whose two ends have proved themselves.
type conn struct {
	net.Conn
	remote entity.NodeID
}

// RemoteID returns the id of the node at the other end of a connection that
// Dial or Accept of a lane returned, and false for every other connection, one
// wrapped around such a one included. The id is what the other node, which
// knows the cluster secret, says of itself.
func RemoteID(c net.Conn) (entity.NodeID, bool) {
	if c, ok := c.(*conn); ok {
		return c.remote, true
	}
	return "", false
}
