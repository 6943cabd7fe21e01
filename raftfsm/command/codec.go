package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// entryVersion is the first byte of every entry this version writes.
const entryVersion = 1

// minCommand is the size of the smallest command in an entry.
const minCommand = 1 + 16 + 1 + 1 + 4

// AppendEntry appends the data of one Raft entry, which carries one or more
// commands.
//
//	version 1 · count uvarint · commands
func AppendEntry(dst []byte, cmds []Command) []byte {
	dst = append(dst, entryVersion)
	dst = binary.AppendUvarint(dst, uint64(len(cmds)))
	for i := range cmds {
		dst = AppendCommand(dst, &cmds[i])
	}
	return dst
}

// AppendEncoded is AppendEntry of commands that AppendCommand has encoded one
// by one: proposers encode, whoever forms the entry only copies.
func AppendEncoded(dst []byte, cmds [][]byte) []byte {
	dst = append(dst, entryVersion)
	dst = binary.AppendUvarint(dst, uint64(len(cmds)))
	for _, c := range cmds {
		dst = append(dst, c...)
	}
	return dst
}

// AppendCommand appends one command of an entry.
//
//	kind 1 · request 16 · time varint · application uvarint · size of body 4 · body
func AppendCommand(dst []byte, c *Command) []byte {
	dst = append(dst, byte(c.Op.kind()))
	dst = append(dst, c.Request[:]...)
	dst = binary.AppendVarint(dst, c.Time)
	dst = binary.AppendUvarint(dst, uint64(c.App))
	dst = append(dst, 0, 0, 0, 0)
	start := len(dst)
	dst = c.Op.appendBody(dst)
	binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst
}

// DecodeEntry reads what AppendEntry wrote, and refuses with fault.Corrupt
// what it does not know or what is not whole. Byte strings in the commands
// alias b, which must not change while they are used.
func DecodeEntry(b []byte) ([]Command, error) {
	var d Decoder
	return d.Decode(nil, b)
}

// maxRules bounds how many different rules a decoder remembers, maxRulesSize
// how long the encoded form of one may be.
const (
	maxRules     = 256
	maxRulesSize = 4096
)

// Decoder decodes entries and shares the rules that occur in them again and
// again. Its zero value is ready; it is not safe for concurrent use.
type Decoder struct {
	rules map[string]Rules // by their encoded form
}

// Decode is DecodeEntry with the commands appended to dst.
func (d *Decoder) Decode(dst []Command, b []byte) ([]Command, error) {
	if len(b) == 0 || b[0] != entryVersion {
		return dst, corrupt("log entry: unknown version")
	}
	r := reader{b: b[1:]}
	n := r.count(minCommand)
	if n == 0 {
		return dst, corrupt("log entry: no commands")
	}
	for range n {
		kind := Kind(r.byte())
		var c Command
		copy(c.Request[:], r.take(16))
		c.Time = r.varint()
		c.App = entity.AppID(r.number())
		var size uint32
		if head := r.take(4); head != nil {
			size = binary.BigEndian.Uint32(head)
		}
		body := reader{b: r.take(uint64(size))}
		if r.failed {
			return dst, corrupt("log entry: cut short")
		}
		c.Op = d.op(kind, &body)
		if c.Op == nil {
			return dst, corrupt("log entry: unknown command kind %d", kind)
		}
		if !body.done() {
			return dst, corrupt("log entry: command of kind %d is damaged", kind)
		}
		dst = append(dst, c)
	}
	if !r.done() {
		return dst, corrupt("log entry: %d bytes after the last command", len(r.b))
	}
	return dst, nil
}

// Kind returns the kind of the command's operation.
func (c *Command) Kind() Kind { return c.Op.kind() }

// op reads the body of a command, or returns nil if its kind is unknown.
func (d *Decoder) op(kind Kind, r *reader) Op {
	switch kind {
	case KindTermStart:
		return TermStart{Term: r.uvarint(), Node: r.string()}
	case KindCreateEntities:
		return d.createEntities(r)
	case KindUpdateEntity:
		return d.updateEntity(r)
	case KindDeleteEntity:
		return DeleteEntity{Collection: r.string(), Target: r.target()}
	case KindCreateCollections:
		return CreateCollections{Names: r.strings()}
	case KindSetCredential:
		return r.setCredential()
	case KindPutToken:
		return r.putToken()
	case KindRevokeToken:
		return RevokeToken{Hash: r.hash()}
	case KindInitCluster:
		return r.initCluster()
	case KindCreateOrganization:
		return r.createOrganization()
	case KindCreateApplication:
		return CreateApplication{Organization: r.id(), Application: r.application()}
	case KindDeleteApplication:
		return DeleteApplication{Organization: r.id(), Application: r.id(), PurgeAt: r.varint()}
	case KindPutMember:
		return r.putMember()
	case KindSetMemberState:
		return SetMemberState{ID: entity.NodeID(r.string()), State: entity.MemberState(r.byte())}
	case KindSetPlacements:
		return r.setPlacements()
	case KindSetProtocol:
		return SetProtocol{Version: r.number()}
	case KindPutTask:
		return r.putTask()
	case KindStepTask:
		return d.stepTask(r)
	case KindFailTask:
		return r.failTask()
	case KindCancelTask:
		return CancelTask{ID: r.id()}
	case KindRetryTask:
		return RetryTask{ID: r.id()}
	case KindPurgeApplication:
		return PurgeApplication{}
	case KindForgetApplication:
		return ForgetApplication{Application: r.id()}
	case KindExpireTokens:
		return r.expireTokens()
	case KindConnect:
		return d.connect(r)
	case KindDisconnect:
		return r.disconnect()
	case KindDropEdges:
		return r.dropEdges()
	case KindDeleteEntities:
		return r.deleteEntities()
	case KindUpdateEntities:
		return d.updateEntities(r)
	case KindPutSettings:
		return r.putSettings()
	case KindClearSettings:
		return ClearSettings{Collection: r.string(), Task: r.id()}
	case KindReindex:
		return Reindex{Collection: r.string(), Task: r.id(), Updated: r.varint()}
	case KindReindexStep:
		return ReindexStep{Collection: r.string(), Seqs: r.seqs()}
	case KindClearStep:
		return ClearStep{Collection: r.string(), Seqs: r.seqs(), Before: r.varint()}
	case KindTogether:
		return d.together(r)
	case KindSetPermissions:
		return r.setPermissions()
	case KindSeedRoles:
		return d.seedRoles(r)
	case KindSetMembership:
		return SetMembership{Organization: r.id(), Admin: r.id(), Member: r.bool()}
	case KindRestoreApplication:
		return r.restoreApplication()
	case KindTouchToken:
		return r.touchToken()
	case KindCount:
		return Count{Tallies: r.tallies()}
	case KindCreateEvents:
		return d.createEvents(r)
	case KindCountEvent:
		return d.countEvent(r)
	case KindPost:
		return d.post(r)
	case KindDeliver:
		return r.deliver()
	case KindUnlist:
		return r.unlist()
	case KindBeginBlob:
		return r.beginBlob()
	case KindPutChunk:
		return r.putChunk()
	case KindAttachBlob:
		return d.attachBlob(r)
	case KindDropBlob:
		return DropBlob{Blob: r.id()}
	case KindDoomBlob:
		return DoomBlob{Blob: r.id()}
	case KindReviseEntity:
		return d.reviseEntity(r)
	case KindScheduleTask:
		return ScheduleTask{ID: r.id(), NotBefore: r.varint()}
	case KindQueueDeliveries:
		return d.queueDeliveries(r)
	case KindSettleDeliveries:
		return d.settleDeliveries(r)
	case KindClearDeliveries:
		return ClearDeliveries{Number: entity.Seq(r.uvarint())}
	case KindImportEntities:
		return d.importEntities(r)
	case KindImportEdges:
		return r.importEdges()
	case KindNoteJob:
		return NoteJob{Note: r.note()}
	case KindPutJob:
		return r.putJob()
	case KindDropJobs:
		return DropJobs{Jobs: r.ids()}
	case KindImportData:
		return r.importData()
	case KindImportFeeds:
		return r.importFeeds()
	case KindImportCounters:
		return r.importCounters()
	}
	return nil
}
