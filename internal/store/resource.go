package store

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

// Resources is the configuration of the consumer's half: buses, rules,
// queues, … Each is one document with a place in a tree. What a document means
// is its domain's affair; the store keeps identity, order and versions.
type Resources interface {
	// ChangeResources writes several resources in one transaction: all or
	// none. One with Revision 0 is created and gets its Number (unless it has
	// one, from an earlier life); its Parent, if it has one, must exist, else
	// ErrNotFound. Any other is replaced if it still has its Revision, else
	// ErrConflict. Storing one with status Deleted deletes it, and its name is
	// free again; what a queue, log group or archive holds goes with it, and it
	// has no second life. ErrConflict if others are left whose Parent it is.
	// ErrExists if a name is taken.
	//
	// The configuration version is raised once, unless quiet: a quiet change
	// touches nothing that events are routed by.
	ChangeResources(ctx context.Context, changed []*Resource, quiet bool) error
	// Resource finds one that is not deleted, by its place and name.
	Resource(ctx context.Context, key ResourceKey) (*Resource, error)
	// ResourcesByNumber finds several, deleted ones too; absent numbers are
	// absent from the map.
	ResourcesByNumber(ctx context.Context, numbers []int64) (map[int64]*Resource, error)
	// ListResources returns a page of those not deleted, by name.
	ListResources(ctx context.Context, p ListResources) (Page[*Resource], error)
	// ChangedResources returns all resources whose version is above since, of
	// all accounts, deleted ones too, and the current configuration version.
	// since 0 leaves out what was deleted and has nothing waiting.
	ChangedResources(ctx context.Context, since int64) ([]*Resource, int64, error)
	// EmptyDeleted removes what deleted queues, log groups and archives held
	// and still hold, because the process that deleted them was ended.
	EmptyDeleted(ctx context.Context) error
}

// ResourceKind names a kind of resource. The values are stored.
type ResourceKind string

// The kinds of resource, and what their Parent is.
const (
	KindBus            ResourceKind = "event-bus"
	KindRule           ResourceKind = "rule"   // of a bus
	KindRuleTarget     ResourceKind = "target" // of a rule
	KindArchive        ResourceKind = "archive"
	KindReplay         ResourceKind = "replay"
	KindConnection     ResourceKind = "connection"
	KindAPIDestination ResourceKind = "api-destination"
	// KindEventSource is the customer's view of a partner event source,
	// KindPartnerSource the partner's.
	KindEventSource   ResourceKind = "event-source"
	KindPartnerSource ResourceKind = "partner-source"
	KindQueue         ResourceKind = "queue"
	KindLogGroup      ResourceKind = "log-group"
	// KindDestinationReplay is a bulk replay to an event destination.
	KindDestinationReplay ResourceKind = "destination-replay"
	// KindListenSession is a session of `stripe listen`, KindListener what it
	// listens to.
	KindListenSession ResourceKind = "listen-session"
	KindListener      ResourceKind = "listener" // of a session
)

// ResourceKey is a resource's place: no two that are not deleted share one.
type ResourceKey struct {
	Scope  event.Scope
	Region string
	Kind   ResourceKind
	Parent int64 // a resource's number, 0 for none
	Name   string
}

// Resource is one document.
type Resource struct {
	ResourceKey
	// Number is unique among resources and destinations: where a resource
	// compiles to a subscription, it is the subscription's.
	Number int64
	// Version is the configuration version of the last change; Revision
	// counts the changes of this resource.
	Version, Revision int64
	Status            event.Status
	Created, Updated  time.Time
	Config            []byte // JSON without secrets
	Secrets           []byte // sealed by the domain, or nil
}

// ListResources selects resources of one kind.
type ListResources struct {
	Scope event.Scope // ignored if AllScopes
	// AllScopes and AllRegions look everywhere; then After must be "" and
	// Limit 0.
	AllScopes, AllRegions bool
	Region                string
	Kind                  ResourceKind
	Parent                int64 // -1 for any
	Prefix                string
	After                 string // names above this one
	Limit                 int    // 0 for all
}

// AWSKeys are the access keys of the AWS surfaces.
type AWSKeys interface {
	// CreateAWSKey stores a key; ErrExists if its id is taken.
	CreateAWSKey(ctx context.Context, k *AWSKey) error
	// AWSKeyOwner finds a key by its id, and its account.
	AWSKeyOwner(ctx context.Context, id string) (AWSKey, Account, error)
	// AWSKeysOf lists an account's keys, oldest first.
	AWSKeysOf(ctx context.Context, account int64) ([]AWSKey, error)
	// DeleteAWSKey removes a key; ErrNotFound if the account has none such.
	DeleteAWSKey(ctx context.Context, account int64, id string) error
	// AccountByAWSID finds an account by its 12-digit AWS account id.
	AccountByAWSID(ctx context.Context, id string) (Account, error)
}

// AWSKey is an access key as stored. The secret is needed in clear to verify
// a signature, so it is sealed and not hashed.
type AWSKey struct {
	ID      string // AKIA…
	Account int64
	Secret  []byte // sealed by the account domain
	Created time.Time
}
