package peer

import (
	"net"
	"time"
)

// unacknowledged is how long sent bytes may stay unacknowledged before the
// connection counts as broken, where the system can be told. Linux counts the
// time in which the receiver's window stays shut, too: see the package.
const unacknowledged = 2 * time.Second

// keepAlive finds idle connections to a machine that is gone.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}
}

// The sockets of both sides have TCP_NODELAY, which the net package sets.

func listenConfig() *net.ListenConfig {
	return &net.ListenConfig{Control: limitUnacknowledged, KeepAliveConfig: keepAlive()}
}

func dialConfig() net.Dialer {
	return net.Dialer{Control: limitUnacknowledged, KeepAliveConfig: keepAlive()}
}
