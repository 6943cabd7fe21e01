// Package command is what goes through Raft: logical, deterministic
// descriptions of changes, and the outcomes they have.
//
// A command carries every choice that apply must not make: ids, times,
// password hashes, the rules of the entity's type. Formats are versioned; a
// decoder refuses what it does not know rather than guess. docs/format/log.md
// draws the bytes.
//
// The package is pure.
package command

import (
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// RequestID identifies one request of a client through all its retries: the
// state machine remembers recent ids and answers the recorded outcome.
type RequestID [16]byte

// Command is one change of one application.
type Command struct {
	Request RequestID
	Time    int64 // proposer's clock, ms since the epoch
	App     entity.AppID
	Op      Op
}

// Op is what a command does. The types below implement it.
type Op interface {
	kind() Kind
	appendBody(dst []byte) []byte
}

// Kind is the byte that names an operation in the log.
type Kind byte

// Kinds in the log. Numbers are never reused.
const (
	KindTermStart          Kind = 1
	KindCreateEntities     Kind = 2
	KindUpdateEntity       Kind = 3
	KindDeleteEntity       Kind = 4
	KindCreateCollections  Kind = 5
	KindSetCredential      Kind = 6
	KindPutToken           Kind = 7
	KindRevokeToken        Kind = 8
	KindInitCluster        Kind = 9
	KindCreateOrganization Kind = 10
	KindCreateApplication  Kind = 11
	KindDeleteApplication  Kind = 12
	KindPutMember          Kind = 13
	KindSetMemberState     Kind = 14
	KindSetPlacements      Kind = 15
	KindSetProtocol        Kind = 16
	KindPutTask            Kind = 20
	KindStepTask           Kind = 21
	KindFailTask           Kind = 22
	KindCancelTask         Kind = 23
	KindRetryTask          Kind = 24
	KindPurgeApplication   Kind = 25
	KindForgetApplication  Kind = 26
	KindExpireTokens       Kind = 27
	KindConnect            Kind = 28
	KindDisconnect         Kind = 29
	KindDropEdges          Kind = 30
	KindDeleteEntities     Kind = 31
	KindUpdateEntities     Kind = 32
	KindPutSettings        Kind = 33
	KindClearSettings      Kind = 34
	KindReindex            Kind = 35
	KindReindexStep        Kind = 36
	KindClearStep          Kind = 37
	KindTogether           Kind = 38
	KindSetPermissions     Kind = 39
	KindSeedRoles          Kind = 40
	KindSetMembership      Kind = 41
	KindRestoreApplication Kind = 42
	KindTouchToken         Kind = 43
	KindCount              Kind = 44
	KindCreateEvents       Kind = 45
	KindCountEvent         Kind = 46
	KindPost               Kind = 47
	KindDeliver            Kind = 48
	KindUnlist             Kind = 49
	KindBeginBlob          Kind = 50
	KindPutChunk           Kind = 51
	KindAttachBlob         Kind = 52
	KindDropBlob           Kind = 53
	KindDoomBlob           Kind = 54
	KindImportEntities     Kind = 55
	KindImportEdges        Kind = 56
	KindNoteJob            Kind = 57
	KindPutJob             Kind = 58
	KindDropJobs           Kind = 59
	KindImportFeeds        Kind = 60
	KindImportCounters     Kind = 61
	KindReviseEntity       Kind = 62
	KindScheduleTask       Kind = 63
	KindQueueDeliveries    Kind = 64
	KindSettleDeliveries   Kind = 65
	KindClearDeliveries    Kind = 66
	KindImportData         Kind = 67
)

// TermStart is proposed by a new leader in each of its partitions. Once it is
// applied, the leader's commit index is a safe read index (design section 5).
type TermStart struct {
	Term uint64
	Node string
}

// MaxEntity is how large the JSON of an entity may be, in bytes (spec
// data-model section 11). Apply decides by it, so it is no setting.
const MaxEntity = 5_000_000

// Rules are what apply must know of an entity's type. They travel with the
// command so that apply depends on nothing but state and command.
type Rules struct {
	Collection string   // canonical plural, lower case
	Type       string   // singular, for messages
	Unique     []string // properties whose values no two entities share, most specific first
	Required   []string // properties a patch cannot remove
}

// Credential is a secret to be stored beside an entity.
type Credential struct {
	Kind  byte   // entity.CredentialPassword …
	Value []byte // a password hash in its own text form, or a client secret
}

// NewEntity is an entity to be created. JSON is a compact object of client
// properties, without system properties and nulls, keys unique ignoring case.
type NewEntity struct {
	ID          entity.ID
	Created     int64 // ms since the epoch
	Modified    int64
	JSON        []byte
	Credentials []Credential
}

// CreateEntities creates entities of one collection, and the collection with
// them. If Partial, an item that fails is skipped and reported in
// Outcome.Errors; otherwise the first failure refuses all. No items: the
// collection is created alone. Outcome.Entities holds what was created, in
// order. Faults: Duplicate, EntityTooLarge.
type CreateEntities struct {
	Rules   Rules
	Items   []NewEntity
	Partial bool
}

// Target names an existing entity: by ID if it is not zero, else by the first
// alias that some entity has.
type Target struct {
	ID      entity.ID
	Aliases []Alias
}

// Alias is a value of a unique property.
type Alias struct{ Property, Value string }

// UpdateEntity merges Patch, a compact JSON object, into an entity at the top
// level: null or "" removes a property, unless Rules.Required names it; keys
// are matched ignoring case and keep their stored spelling; modified becomes
// max(Command.Time, previous+1). If nothing matches Target, Create (if not
// nil) is created instead and Outcome.Created is set. Outcome.Entities holds
// the entity after the change. Faults: ServiceResourceNotFound (no entity and
// no Create), Duplicate, EntityTooLarge, UnexpectedEntityType (Target.ID is an
// entity of another collection of the application).
type UpdateEntity struct {
	Rules  Rules
	Target Target
	Patch  []byte
	Create *NewEntity
}

// DeleteEntity removes an entity with its unique values and credentials.
// Outcome.Entities holds its last state. Fault: ServiceResourceNotFound.
type DeleteEntity struct {
	Collection string
	Target     Target
}

// CreateCollections registers empty collections. Names that exist are left alone.
type CreateCollections struct{ Names []string }

// SetCredential replaces a credential of an entity. If Expect is not nil the
// stored value must equal it, or the command is refused with Conflict: the
// proposer has verified an old password against it. A Credential without a
// value leaves the stored one and is used with RevokeTokens: tokens issued to
// the owner up to Command.Time become invalid. Fault:
// ServiceResourceNotFound if the owner does not exist.
type SetCredential struct {
	Collection   string
	Owner        entity.ID
	Credential   Credential
	Expect       []byte
	RevokeTokens bool
}

// PutToken stores a token's record.
type PutToken struct {
	Hash  [32]byte
	Token entity.Token
}

// RevokeToken removes a token's record. An unknown token is no error.
type RevokeToken struct{ Hash [32]byte }

// InitCluster gives the cluster its identity, once: a later one changes
// nothing. The record can be read with storage.ReadCluster.
type InitCluster struct{ Cluster entity.Cluster }

// NewApplication is the record of an application to be created. Its number is
// given in apply; the stored JSON is
//
//	{"name":"org/app","organization":"uuid","number":17,"partition":3,"open":true}
type NewApplication struct {
	ID        entity.ID
	Name      string // bare name, lower case
	Partition entity.Partition
	Secret    string
	Open      bool // guests may do everything: the sandbox
}

// CreateOrganization creates an organisation, its owner (or takes an existing
// admin user), and its first application in one step. Outcome.Entities holds
// organisation, owner and application, in this order. Faults: Duplicate;
// ServiceResourceNotFound if OwnerID does not exist.
type CreateOrganization struct {
	Organization NewEntity // JSON has "name"; its credential is the client secret
	Name         string    // as given at creation; keys of applications take its lower case
	Owner        *NewEntity
	OwnerID      entity.ID // if Owner is nil
	Application  *NewApplication
}

// CreateApplication adds an application to an organisation. Faults:
// ApplicationExists, ServiceResourceNotFound (no such organisation).
type CreateApplication struct {
	Organization entity.ID
	Application  NewApplication
}

// DeleteApplication moves an application's record from the live to the deleted
// ones, and records the task that will purge what it holds, under the id of the
// application. Faults: EntityNotFound; Conflict if a deleted application has the name.
type DeleteApplication struct {
	Organization entity.ID
	Application  entity.ID
	PurgeAt      int64 // when the purge may begin, ms since the epoch; 0: never
}

// PutMember enters a node into the table of members, or changes what is known
// of it: a state other than Removed and the time of joining stay as they were.
// If Replaces is not empty that member, which has the same name, is removed in
// the same step: its disk is gone. Faults: Conflict if the id was removed, or
// another member that is not removed has the name; IllegalArgument.
type PutMember struct {
	Member   entity.Member
	Replaces entity.NodeID
}

// SetMemberState drains a member, or removes it, which is final, or takes it
// back into service. Faults: EntityNotFound, Conflict (it was removed).
type SetMemberState struct {
	ID    entity.NodeID
	State entity.MemberState
}

// SetPlacements replaces placements, all or none. The version of each must be
// one above that of what it replaces: whoever planned it had seen the latest.
// Faults: Conflict, IllegalArgument (a replica occurs twice or has no number).
type SetPlacements struct{ Placements []entity.Placement }

// SetProtocol allows what commands and messages of a version bring. It never
// goes down: a lower one changes nothing. The proposer has made sure that every
// member understands it. The version can be read with storage.ReadProtocol.
type SetProtocol struct{ Version uint32 }

func (TermStart) kind() Kind          { return KindTermStart }
func (CreateEntities) kind() Kind     { return KindCreateEntities }
func (UpdateEntity) kind() Kind       { return KindUpdateEntity }
func (DeleteEntity) kind() Kind       { return KindDeleteEntity }
func (CreateCollections) kind() Kind  { return KindCreateCollections }
func (SetCredential) kind() Kind      { return KindSetCredential }
func (PutToken) kind() Kind           { return KindPutToken }
func (RevokeToken) kind() Kind        { return KindRevokeToken }
func (InitCluster) kind() Kind        { return KindInitCluster }
func (CreateOrganization) kind() Kind { return KindCreateOrganization }
func (CreateApplication) kind() Kind  { return KindCreateApplication }
func (DeleteApplication) kind() Kind  { return KindDeleteApplication }
func (PutMember) kind() Kind          { return KindPutMember }
func (SetMemberState) kind() Kind     { return KindSetMemberState }
func (SetPlacements) kind() Kind      { return KindSetPlacements }
func (SetProtocol) kind() Kind        { return KindSetProtocol }

// Protocol is the version of the protocol that brought a kind of command. A command
// is proposed only once all members of the cluster understand its version
// (SetProtocol): a state machine that meets one it does not know ends its node.
func (k Kind) Protocol() uint32 {
	switch {
	case k >= KindPost:
		return 4
	case k >= KindTogether:
		return 3
	case k > KindExpireTokens:
		return 2
	}
	return 1
}

// Protocol is the version that is needed to understand a command: that of its kind, of
// the commands in it, and of the kinds of credential that it sets.
func (c *Command) Protocol() uint32 { return protocol(c.Op) }

func protocol(op Op) uint32 {
	needs := op.kind().Protocol()
	switch op := op.(type) {
	case StepTask:
		if op.Effect != nil {
			needs = max(needs, protocol(op.Effect))
		}
	case Together:
		needs = max(needs, protocol(op.First))
		for _, then := range op.Then {
			if then.kind() == KindPutSettings { // which could not follow another before
				needs = max(needs, 4)
			}
			needs = max(needs, protocol(then))
		}
	case SetCredential:
		needs = max(needs, op.Credential.protocol())
	case CreateEntities:
		for i := range op.Items {
			for j := range op.Items[i].Credentials {
				needs = max(needs, op.Items[i].Credentials[j].protocol())
			}
		}
	}
	return needs
}

// protocol is the version that brought the kind of a credential.
func (c *Credential) protocol() uint32 {
	if c.Kind == entity.CredentialProvider || c.Kind == entity.CredentialNotifier {
		return 4
	}
	return 1
}

// Outcome is what became of a command that was applied. A Fault is an error a
// user can cause; it replicates like success, and then the command changed
// nothing.
type Outcome struct {
	Fault    *fault.Error
	Entities []entity.Entity
	Created  bool        // UpdateEntity or Connect created
	Errors   []ItemError // CreateEntities with Partial: items that were skipped

	Source      entity.ID // Connect and Disconnect: the source
	Collections []string  // Connect and Disconnect: the collection of each of Entities
	Handled     int       // of commands that name many: how many of them were dealt with
}

// ItemError says why one item of a batch was skipped.
type ItemError struct {
	Index   int
	Code    fault.Code
	Message string
}

// Collections of the management application, with their rules.
var (
	admins        = Rules{Collection: "admins", Type: "user", Unique: []string{"username", "email"}, Required: []string{"username", "email"}}
	organizations = Rules{Collection: "organizations", Type: "organization", Unique: []string{"name"}, Required: []string{"name"}}
	applications  = Rules{Collection: "applications", Type: "application", Unique: []string{"name"}, Required: []string{"name"}}
	deletedApps   = Rules{Collection: "deletedapplications", Type: "application", Unique: []string{"name"}, Required: []string{"name"}}
)

// Admins returns the rules of admin users, which live in the management application.
func Admins() Rules { return admins }

// Organizations returns the rules of organisation records.
func Organizations() Rules { return organizations }

// Applications returns the rules of records of live applications.
func Applications() Rules { return applications }

// DeletedApplications returns the rules of records of deleted applications.
func DeletedApplications() Rules { return deletedApps }
