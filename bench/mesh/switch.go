package mesh

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// Layout of an Ethernet frame: destination 6 · source 6 · type 2 · payload.
const (
	headerBytes  = 14
	longestFrame = 1 << 16
	typeARP      = 0x0806
)

// address is the hardware address of a port.
func address(port int) [6]byte { return [6]byte{0x02, 0x54, 0x52, 0, 0, byte(port)} }

// ethernet is a switch: it reads frames from each port and sends them on to
// the one they are for, over the link between the two.
type ethernet struct {
	ports []io.ReadWriteCloser
	links [][]*link // by port from, port to
	stop  chan struct{}
	done  sync.WaitGroup
}

// startSwitch begins to carry frames between ports. It owns them.
func startSwitch(seed uint64, ports []io.ReadWriteCloser) *ethernet {
	e := &ethernet{ports: ports, stop: make(chan struct{}), links: make([][]*link, len(ports))}
	for from := range ports {
		e.links[from] = make([]*link, len(ports))
		for to := range ports {
			l := newLink(seed+uint64(from*len(ports)+to), func(frame []byte) {
				_, _ = ports[to].Write(frame) // a device that is down takes nothing: a lost packet
			})
			e.links[from][to] = l
			e.done.Go(func() { l.run(e.stop) })
		}
	}
	for from := range ports {
		e.done.Go(func() { e.read(from) })
	}
	return e
}

// read carries what comes from one port until that is closed.
func (e *ethernet) read(from int) {
	frame := make([]byte, longestFrame)
	for {
		n, err := e.ports[from].Read(frame)
		if err != nil {
			return
		}
		if n < headerBytes {
			continue
		}
		e.forward(from, frame[:n])
	}
}

func (e *ethernet) forward(from int, frame []byte) {
	exempt := binary.BigEndian.Uint16(frame[12:]) == typeARP
	group := frame[0]&1 != 0 // broadcast and multicast
	for to := range e.ports {
		if to != from && (group || [6]byte(frame[:6]) == address(to)) {
			e.links[from][to].send(frame, exempt)
		}
	}
}

// close ends the switch and closes its ports.
func (e *ethernet) close() error {
	close(e.stop)
	var err error
	for _, p := range e.ports {
		err = errors.Join(err, p.Close())
	}
	e.done.Wait()
	return err
}
