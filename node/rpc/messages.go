package rpc

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Proposal is a command on its way to the leader of its partition.
type Proposal struct {
	Partition entity.Partition
	Data      []byte // as command.AppendCommand encodes it
}

// Verdict is what the asked node made of a proposal.
type Verdict struct {
	Outcome command.Outcome
	// Fault is why there is no outcome: Overloaded and Stopping mean that nothing
	// was done, any other that it is not known.
	Fault *fault.Error
	// NotLeader: the node does not lead the partition and did nothing. Leader is
	// who it thinks does, or empty.
	NotLeader bool
	Leader    entity.NodeID
}

// Index is a read index of a partition: whoever has applied it sees all that was
// acknowledged before the question.
type Index struct {
	OK        bool
	Server    string // name of the leading replica
	Term      uint64 // in which it leads
	Index     uint64
	IndexTerm uint64        // of the log entry at Index; 0: not known
	Leader    entity.NodeID // if not OK: who is thought to lead, or empty
}

// Replica names a replica.
type Replica struct {
	Partition entity.Partition
	Server    string // entity.Replica.ServerID
}

// Standing is how far a replica is. A zero one means that it does not run here.
type Standing struct {
	Term    uint64
	Applied uint64
}

// Limits of what one call may carry.
const (
	MaxProposals = 1024
	MaxBytes     = 8 << 20 // of a call's proposals, unless one alone is larger
	maxAsked     = 8192
)

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendProposals appends a list of proposals.
//
//	count uvarint · partition uvarint · length of data uvarint · data, each
func AppendProposals(dst []byte, list []Proposal) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, p := range list {
		dst = binary.AppendUvarint(dst, uint64(p.Partition))
		dst = append(binary.AppendUvarint(dst, uint64(len(p.Data))), p.Data...)
	}
	return dst
}

// DecodeProposals is the inverse of AppendProposals. The data aliases b.
func DecodeProposals(b []byte) ([]Proposal, error) {
	r := reader{b: b}
	list := make([]Proposal, r.count(2, MaxProposals))
	for i := range list {
		list[i] = Proposal{Partition: entity.Partition(r.number()), Data: r.bytes()}
	}
	return list, r.end("proposals")
}

const (
	verdictOutcome   = 0
	verdictFault     = 1
	verdictNotLeader = 2
)

// AppendVerdicts appends a list of verdicts.
//
//	count uvarint · kind 1 · recorded outcome, or code and message, or leader; each
func AppendVerdicts(dst []byte, list []Verdict) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		switch v := &list[i]; {
		case v.NotLeader:
			dst = appendText(append(dst, verdictNotLeader), string(v.Leader))
		case v.Fault != nil:
			dst = appendText(append(dst, verdictFault), string(v.Fault.Code))
			dst = appendText(dst, v.Fault.Message)
		default:
			dst = append(dst, verdictOutcome)
			outcome := command.AppendRecord(nil, &command.Record{
				Outcome: v.Outcome, Collections: make([]entity.CollectionID, len(v.Outcome.Entities)),
			})
			dst = append(binary.AppendUvarint(dst, uint64(len(outcome))), outcome...)
		}
	}
	return dst
}

// DecodeVerdicts is the inverse of AppendVerdicts. JSON of entities aliases b.
func DecodeVerdicts(b []byte) ([]Verdict, error) {
	r := reader{b: b}
	list := make([]Verdict, r.count(2, MaxProposals))
	for i := range list {
		v := &list[i]
		switch r.byte() {
		case verdictOutcome:
			rec, err := command.DecodeRecord(r.bytes())
			if err != nil {
				return nil, err
			}
			v.Outcome = rec.Outcome
		case verdictFault:
			v.Fault = &fault.Error{Code: fault.Code(r.text()), Message: r.text()}
		case verdictNotLeader:
			v.NotLeader, v.Leader = true, entity.NodeID(r.text())
		default:
			r.failed = true
		}
	}
	return list, r.end("verdicts")
}

// AppendPartitions appends the partitions whose read index is asked for.
//
//	count uvarint · partition uvarint, each
func AppendPartitions(dst []byte, list []entity.Partition) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, p := range list {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

// DecodePartitions is the inverse of AppendPartitions.
func DecodePartitions(b []byte) ([]entity.Partition, error) {
	r := reader{b: b}
	list := make([]entity.Partition, r.count(1, maxAsked))
	for i := range list {
		list[i] = entity.Partition(r.number())
	}
	return list, r.end("partitions")
}

// AppendIndexes appends read indexes.
//
//	count uvarint · 1 · server · term, index, its term, uvarints; or 0 · leader; each
func AppendIndexes(dst []byte, list []Index) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		x := &list[i]
		if !x.OK {
			dst = appendText(append(dst, 0), string(x.Leader))
			continue
		}
		dst = appendText(append(dst, 1), x.Server)
		dst = binary.AppendUvarint(dst, x.Term)
		dst = binary.AppendUvarint(dst, x.Index)
		dst = binary.AppendUvarint(dst, x.IndexTerm)
	}
	return dst
}

// DecodeIndexes is the inverse of AppendIndexes.
func DecodeIndexes(b []byte) ([]Index, error) {
	r := reader{b: b}
	list := make([]Index, r.count(2, maxAsked))
	for i := range list {
		switch r.byte() {
		case 0:
			list[i] = Index{Leader: entity.NodeID(r.text())}
		case 1:
			list[i] = Index{OK: true, Server: r.text(), Term: r.uvarint(), Index: r.uvarint(), IndexTerm: r.uvarint()}
		default:
			r.failed = true
		}
	}
	return list, r.end("read indexes")
}

// AppendReplicas appends the replicas whose standing is asked for.
//
//	count uvarint · partition uvarint · server, each
func AppendReplicas(dst []byte, list []Replica) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = binary.AppendUvarint(dst, uint64(list[i].Partition))
		dst = appendText(dst, list[i].Server)
	}
	return dst
}

// DecodeReplicas is the inverse of AppendReplicas.
func DecodeReplicas(b []byte) ([]Replica, error) {
	r := reader{b: b}
	list := make([]Replica, r.count(2, maxAsked))
	for i := range list {
		list[i] = Replica{Partition: entity.Partition(r.number()), Server: r.text()}
	}
	return list, r.end("replicas")
}

// AppendStandings appends standings.
//
//	count uvarint · term uvarint · applied uvarint, each
func AppendStandings(dst []byte, list []Standing) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = binary.AppendUvarint(dst, list[i].Term)
		dst = binary.AppendUvarint(dst, list[i].Applied)
	}
	return dst
}

// DecodeStandings is the inverse of AppendStandings.
func DecodeStandings(b []byte) ([]Standing, error) {
	r := reader{b: b}
	list := make([]Standing, r.count(2, maxAsked))
	for i := range list {
		list[i] = Standing{Term: r.uvarint(), Applied: r.uvarint()}
	}
	return list, r.end("standings")
}

// reader takes values off the front of b and remembers that one was missing.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) end(what string) error {
	if r.failed || len(r.b) != 0 {
		return fault.New(fault.Corrupt, "message between nodes: damaged %s", what)
	}
	return nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.failed = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) number() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.failed = true
	}
	return uint32(v)
}

// count reads the length of a list of at most most elements of at least size
// bytes each.
func (r *reader) count(size, most uint64) int {
	n := r.uvarint()
	if n > most || n > uint64(len(r.b))/size {
		r.b, r.failed = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.failed = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }
