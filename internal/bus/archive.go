package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// ArchiveEnabled is the one state an archive has here: it takes events from
// the moment its creation is answered.
const ArchiveEnabled = "ENABLED"

// MaxRetentionDays bounds an archive's retention.
const MaxRetentionDays = 36500

// archiveDoc is an archive as stored.
type archiveDoc struct {
	Bus         int64  `json:"bus"` // the bus's number: a later one of the same name is another
	Source      string `json:"source"`
	Description string `json:"description,omitzero"`
	Pattern     string `json:"pattern,omitzero"`
	Retention   int    `json:"retention_days,omitzero"` // 0 keeps for good
	ARN         string `json:"arn"`
}

// Archive is a bus's archive.
type Archive struct {
	Name, ARN   string
	SourceARN   string // of the bus
	Description string
	Pattern     string // "" archives all
	Retention   int    // days; 0 keeps for good
	State       string
	Created     time.Time
	Count, Size int64 // events and their bytes; set where one archive is described or listed
}

// NewArchive asks for an archive.
type NewArchive struct {
	Name, SourceARN, Description, Pattern string
	Retention                             int
}

// ArchiveChange changes what is not nil.
type ArchiveChange struct {
	Name                 string
	Description, Pattern *string
	Retention            *int
}

// CreateArchive begins to archive a bus's events.
func (s *Service) CreateArchive(ctx context.Context, c account.AWSCaller, p NewArchive) (*Archive, error) {
	var v checks
	v.nameUpTo("archiveName", p.Name, 48)
	v.arn("eventSourceArn", p.SourceARN)
	v.length("description", p.Description, 0, 512)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := checkRetention(p.Retention); err != nil {
		return nil, err
	}
	bus, err := s.busOf(ctx, c, p.SourceARN)
	if err != nil {
		return nil, err
	}
	if err := checkArchivePattern(p.Pattern); err != nil {
		return nil, err
	}
	doc := &archiveDoc{
		Bus: bus.Number, Source: p.SourceARN, Description: p.Description, Pattern: p.Pattern,
		Retention: p.Retention, ARN: arn(c, "archive/"+p.Name),
	}
	r := &store.Resource{ResourceKey: key(c, store.KindArchive, 0, p.Name)}
	if err := put(r, doc); err != nil {
		return nil, err
	}
	if err := s.change(ctx, r); errors.Is(err, store.ErrExists) {
		return nil, exists("Archive %s already exists.", p.Name)
	} else if err != nil {
		return nil, err
	}
	return archiveOf(r, doc), nil
}

// DescribeArchive returns an archive with its size.
func (s *Service) DescribeArchive(ctx context.Context, c account.AWSCaller, name string) (*Archive, error) {
	r, doc, err := s.archive(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return s.weigh(ctx, r, doc)
}

// UpdateArchive changes an archive. Events it holds already stay, unless a
// shorter retention lets go of them.
func (s *Service) UpdateArchive(ctx context.Context, c account.AWSCaller, p ArchiveChange) (*Archive, error) {
	var v checks
	v.optional("description", p.Description, 0, 512)
	if err := v.err(); err != nil {
		return nil, err
	}
	if p.Retention != nil {
		if err := checkRetention(*p.Retention); err != nil {
			return nil, err
		}
	}
	if p.Pattern != nil {
		if err := checkArchivePattern(*p.Pattern); err != nil {
			return nil, err
		}
	}
	var changed *Archive
	err := again(func() error {
		r, doc, err := s.archive(ctx, c, p.Name)
		if err != nil {
			return err
		}
		set(&doc.Description, p.Description)
		set(&doc.Pattern, p.Pattern)
		set(&doc.Retention, p.Retention)
		if err := put(r, doc); err != nil {
			return err
		}
		changed = archiveOf(r, doc)
		return s.change(ctx, r)
	})
	return changed, err
}

// DeleteArchive deletes an archive and what it holds.
func (s *Service) DeleteArchive(ctx context.Context, c account.AWSCaller, name string) error {
	return again(func() error {
		r, _, err := s.archive(ctx, c, name)
		if err != nil {
			return err
		}
		bury(r)
		return s.change(ctx, r)
	})
}

// ArchiveFilter selects archives: at most one of its members is set.
type ArchiveFilter struct{ Prefix, SourceARN, State string }

// ListArchives returns a page of archives by name. after is the name that the
// page before ended with; next is to be given as the next one's, "" if there
// is none.
func (s *Service) ListArchives(ctx context.Context, c account.AWSCaller, f ArchiveFilter, after string, limit int) (archives []*Archive, next string, err error) {
	if countSet(f.Prefix, f.SourceARN, f.State) > 1 {
		return nil, "", invalid("At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.")
	}
	if f.State != "" && f.State != ArchiveEnabled {
		if err := checkEnum("state", f.State, "ENABLED", "DISABLED", "CREATING", "UPDATING", "CREATE_FAILED", "UPDATE_FAILED"); err != nil {
			return nil, "", err
		}
		return nil, "", nil
	}
	return pageOf(ctx, s, key(c, store.KindArchive, 0, f.Prefix), after, limit, func(r *store.Resource, doc *archiveDoc) (*Archive, error) {
		if f.SourceARN != "" && doc.Source != f.SourceARN {
			return nil, nil
		}
		return s.weigh(ctx, r, doc)
	})
}

func (s *Service) archive(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *archiveDoc, error) {
	r, doc, err := get[archiveDoc](ctx, s, key(c, store.KindArchive, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("Archive %s does not exist.", name)
	}
	return r, doc, err
}

func archiveOf(r *store.Resource, doc *archiveDoc) *Archive {
	return &Archive{
		Name: r.Name, ARN: doc.ARN, SourceARN: doc.Source, Description: doc.Description, Pattern: doc.Pattern,
		Retention: doc.Retention, State: ArchiveEnabled, Created: r.Created,
	}
}

func (s *Service) weigh(ctx context.Context, r *store.Resource, doc *archiveDoc) (*Archive, error) {
	a := archiveOf(r, doc)
	var err error
	if a.Count, a.Size, err = s.store.ArchiveSize(ctx, r.Number); err != nil {
		return nil, failed("measure archive", err)
	}
	return a, nil
}

// archiveSubscription compiles an archive. What a replay put on the bus is not
// archived again: a replay of its own archive would never end.
func archiveSubscription(r *store.Resource) (event.Subscription, error) {
	if isDeleted(r) {
		return event.Subscription{ID: r.Number, Name: r.Name, Scope: r.Scope, Status: event.Deleted, Kind: event.OnBus}, nil
	}
	doc, err := decode[archiveDoc](r)
	if err != nil {
		return event.Subscription{}, err
	}
	p, err := withoutReplays(doc.Pattern)
	if err != nil {
		return event.Subscription{}, fmt.Errorf("compile archive %s: %w", r.Name, err)
	}
	return event.Subscription{
		ID: r.Number, Name: r.Name, Scope: r.Scope, Status: r.Status,
		Kind: event.OnBus, Bus: doc.Bus, Pattern: p,
		Target: event.Target{Kind: event.TargetArchive, Archive: &event.ArchiveTarget{Number: r.Number}},
	}, nil
}

// withoutReplays adds to a pattern that there is no replay-name.
func withoutReplays(text string) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if text != "" {
		// A decoder, because text may follow a pattern.
		if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&fields); err != nil {
			return nil, fmt.Errorf("read pattern: %w", err)
		}
	}
	fields["replay-name"] = json.RawMessage(`[{"exists":false}]`)
	return json.Marshal(fields)
}

func checkArchivePattern(text string) error {
	if text == "" {
		return nil
	}
	var v checks
	v.length("eventPattern", text, 0, maxPattern)
	if err := v.err(); err != nil {
		return err
	}
	if _, err := parsePattern(text); err != nil {
		return err
	}
	if _, err := withoutReplays(text); err != nil {
		return fault.New(fault.Invalid, codePattern, "Event pattern is not valid. Reason: it is not JSON that can be archived by")
	}
	return nil
}

func checkRetention(days int) error {
	if days < 0 || days > MaxRetentionDays {
		return invalid("Parameter RetentionDays is not valid. Reason: it must be from 0, which keeps events for good, to %d.", MaxRetentionDays)
	}
	return nil
}
