package bus

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// DefaultBus is the bus that every account has in every region.
const DefaultBus = "default"

// maxBuses is AWS's quota of buses for an account and region.
const maxBuses = 100

// busDoc is a bus as stored.
type busDoc struct {
	Account       string            `json:"account"` // 12 digits
	ARN           string            `json:"arn"`
	Source        string            `json:"source,omitzero"` // of a partner
	Description   string            `json:"description,omitzero"`
	KMSKey        string            `json:"kms_key,omitzero"`
	DeadLetterARN string            `json:"dead_letter_arn,omitzero"`
	Log           *LogConfig        `json:"log,omitzero"`
	Policy        json.RawMessage   `json:"policy,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
}

// LogConfig is what a client asked to be logged of a bus. It is kept for it.
type LogConfig struct {
	IncludeDetail string `json:"include_detail,omitzero"` // NONE or FULL
	Level         string `json:"level,omitzero"`          // OFF, ERROR, INFO or TRACE
}

// EventBus is an event bus.
type EventBus struct {
	Number        int64
	Name, ARN     string
	Description   string
	KMSKey        string
	DeadLetterARN string
	Log           *LogConfig
	Policy        string // JSON, or ""
	Created       time.Time
	Updated       time.Time
}

// NewEventBus asks for an event bus.
type NewEventBus struct {
	Name          string
	SourceName    string // of the partner event source it is for, then its name too
	Description   string
	KMSKey        string
	DeadLetterARN string
	Log           *LogConfig
	Tags          map[string]string
}

// EventBusChange changes what is not nil.
type EventBusChange struct {
	Name                               string // "" is the default bus
	Description, KMSKey, DeadLetterARN *string
	Log                                *LogConfig
}

const busNamePattern = `[/\.\-_A-Za-z0-9]+`

var isBusName = regexp.MustCompile(`^` + busNamePattern + `$`).MatchString

func (p *NewEventBus) check() error {
	var v checks
	v.length("name", p.Name, 1, 256)
	v.pattern("name", p.Name, busNamePattern, isBusName)
	if p.SourceName != "" {
		v.sourceName("eventSourceName", p.SourceName)
	}
	v.length("description", p.Description, 0, 512)
	v.length("kmsKeyIdentifier", p.KMSKey, 0, 2048)
	v.deadLetter(p.DeadLetterARN)
	v.log(p.Log)
	v.tags(p.Tags)
	if err := v.err(); err != nil {
		return err
	}
	switch {
	case p.SourceName != "" && p.SourceName != p.Name:
		return invalid("Parameter EventSourceName is not valid. Reason: the event bus of a partner event source has its name; give %s as Name too.", p.SourceName)
	case p.SourceName == "" && strings.HasPrefix(p.Name, "aws.partner/"):
		return invalid("Parameter Name is not valid. Reason: a name that starts with aws.partner/ is for the event bus of a partner event source; give EventSourceName too.")
	case p.SourceName == "" && strings.Contains(p.Name, "/"):
		return invalid("Event bus name must not contain '/'.")
	}
	return nil
}

// CreateEventBus makes a bus. With SourceName it is the bus of a partner event
// source, which becomes ACTIVE.
func (s *Service) CreateEventBus(ctx context.Context, c account.AWSCaller, p NewEventBus) (*EventBus, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	taken := exists("Event bus %s already exists.", p.Name)
	if p.Name == DefaultBus {
		return nil, taken
	}
	page, err := s.store.ListResources(ctx, store.ListResources{Scope: c.Scope, Region: c.Region, Kind: store.KindBus, Limit: maxBuses})
	if err != nil {
		return nil, failed("count event buses", err)
	}
	if len(page.Items) >= maxBuses {
		return nil, fault.New(fault.Invalid, codeLimit, "The requested resource exceeds the maximum number allowed.")
	}
	doc := &busDoc{
		Account: c.AccountID, ARN: arn(c, "event-bus/"+p.Name), Source: p.SourceName, Description: p.Description,
		KMSKey: p.KMSKey, DeadLetterARN: p.DeadLetterARN, Log: p.Log, Tags: p.Tags,
	}
	var r *store.Resource
	err = again(func() error {
		r = &store.Resource{ResourceKey: key(c, store.KindBus, 0, p.Name)}
		if err := put(r, doc); err != nil {
			return err
		}
		changed := []*store.Resource{r}
		if p.SourceName != "" {
			source, err := s.associate(ctx, c, p.SourceName)
			if err != nil {
				return err
			}
			changed = append(changed, source)
		}
		return s.change(ctx, changed...)
	})
	if errors.Is(err, store.ErrExists) {
		return nil, taken
	}
	if err != nil {
		return nil, err
	}
	if p.SourceName != "" {
		s.sourceChanged(ctx, p.SourceName)
	}
	return eventBusOf(r, doc), nil
}

// bus finds the caller's bus by its name, its ARN, or "" for the default one,
// which it makes if it is not there yet.
func (s *Service) bus(ctx context.Context, c account.AWSCaller, nameOrARN string) (*store.Resource, *busDoc, error) {
	name, ok := busName(c, nameOrARN)
	if !ok {
		return nil, nil, notFound("Event bus %s does not exist.", nameOrARN)
	}
	r, doc, err := get[busDoc](ctx, s, key(c, store.KindBus, 0, name))
	if !errors.Is(err, store.ErrNotFound) {
		return r, doc, err
	}
	if name != DefaultBus {
		return nil, nil, notFound("Event bus %s does not exist.", name)
	}
	doc = &busDoc{Account: c.AccountID, ARN: arn(c, "event-bus/"+DefaultBus)}
	r = &store.Resource{ResourceKey: key(c, store.KindBus, 0, DefaultBus)}
	if err := put(r, doc); err != nil {
		return nil, nil, err
	}
	if err := s.change(ctx, r); err == nil {
		return r, doc, nil
	} else if !errors.Is(err, store.ErrExists) {
		return nil, nil, err
	}
	return get[busDoc](ctx, s, key(c, store.KindBus, 0, DefaultBus))
}

// busName reads what a client calls a bus. It reports false for an ARN that is
// of no bus of the caller's.
func busName(c account.AWSCaller, text string) (string, bool) {
	if text == "" {
		return DefaultBus, true
	}
	if !strings.HasPrefix(text, "arn:") {
		return text, true
	}
	a, ok := ParseARN(text)
	name, isBus := strings.CutPrefix(a.Resource, "event-bus/")
	return name, ok && isBus && a.Service == "events" && a.Region == c.Region && a.Account == c.AccountID
}

func checkBusRef(v *checks, member, text string) {
	if text == "" {
		return
	}
	v.length(member, text, 1, 1600)
	name := text
	if a, ok := ParseARN(text); ok {
		name = strings.TrimPrefix(a.Resource, "event-bus/")
	}
	v.pattern(member, name, `(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus/)?`+busNamePattern, isBusName)
}

// DescribeEventBus returns a bus by its name or ARN; "" is the default one.
func (s *Service) DescribeEventBus(ctx context.Context, c account.AWSCaller, name string) (*EventBus, error) {
	var v checks
	checkBusRef(&v, "name", name)
	if err := v.err(); err != nil {
		return nil, err
	}
	r, doc, err := s.bus(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return eventBusOf(r, doc), nil
}

// UpdateEventBus changes a bus.
func (s *Service) UpdateEventBus(ctx context.Context, c account.AWSCaller, p EventBusChange) (*EventBus, error) {
	var v checks
	checkBusRef(&v, "name", p.Name)
	v.optional("description", p.Description, 0, 512)
	v.optional("kmsKeyIdentifier", p.KMSKey, 0, 2048)
	if p.DeadLetterARN != nil {
		v.deadLetter(*p.DeadLetterARN)
	}
	v.log(p.Log)
	if err := v.err(); err != nil {
		return nil, err
	}
	var changed *EventBus
	err := s.changeBus(ctx, c, p.Name, func(r *store.Resource, doc *busDoc) error {
		set(&doc.Description, p.Description)
		set(&doc.KMSKey, p.KMSKey)
		set(&doc.DeadLetterARN, p.DeadLetterARN)
		if p.Log != nil {
			doc.Log = p.Log
		}
		changed = eventBusOf(r, doc)
		return nil
	})
	return changed, err
}

func (s *Service) changeBus(ctx context.Context, c account.AWSCaller, name string, edit func(*store.Resource, *busDoc) error) error {
	return again(func() error {
		r, doc, err := s.bus(ctx, c, name)
		if err != nil {
			return err
		}
		if err := edit(r, doc); err != nil {
			return err
		}
		if err := put(r, doc); err != nil {
			return err
		}
		return s.change(ctx, r)
	})
}

// DeleteEventBus deletes a bus without rules; that there is none such is no
// error. The partner event source of a partner's bus is then PENDING again.
func (s *Service) DeleteEventBus(ctx context.Context, c account.AWSCaller, name string) error {
	var v checks
	v.required("name", name)
	checkBusRef(&v, "name", name)
	if err := v.err(); err != nil {
		return err
	}
	name, ok := busName(c, name)
	if !ok {
		return nil
	}
	if name == DefaultBus {
		return invalid("Cannot delete event bus default.")
	}
	state := ""
	err := again(func() error {
		r, doc, err := get[busDoc](ctx, s, key(c, store.KindBus, 0, name))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		rules, err := s.store.ListResources(ctx, store.ListResources{
			Scope: c.Scope, Region: c.Region, Kind: store.KindRule, Parent: r.Number, Limit: 1,
		})
		if err != nil {
			return failed("list rules", err)
		}
		if len(rules.Items) > 0 {
			return invalid("Event bus can't be deleted since it has rules.")
		}
		bury(r)
		changed := []*store.Resource{r}
		state = ""
		if doc.Source != "" {
			source, err := s.dissociate(ctx, c, doc.Source, &state)
			if err != nil {
				return err
			}
			if source != nil {
				changed = append(changed, source)
			}
		}
		return s.change(ctx, changed...)
	})
	if err == nil && state != "" {
		s.sourceChanged(ctx, name)
	}
	return err
}

// ListEventBuses returns a page of buses by name, and the name to go on after,
// "" at the end.
func (s *Service) ListEventBuses(ctx context.Context, c account.AWSCaller, prefix, after string, limit int) ([]*EventBus, string, error) {
	if _, _, err := s.bus(ctx, c, DefaultBus); err != nil {
		return nil, "", err
	}
	return pageOf(ctx, s, key(c, store.KindBus, 0, prefix), after, limit, func(r *store.Resource, doc *busDoc) (*EventBus, error) {
		return eventBusOf(r, doc), nil
	})
}

func eventBusOf(r *store.Resource, doc *busDoc) *EventBus {
	return &EventBus{
		Number: r.Number, Name: r.Name, ARN: doc.ARN, Description: doc.Description, KMSKey: doc.KMSKey,
		DeadLetterARN: doc.DeadLetterARN, Log: doc.Log, Policy: string(doc.Policy), Created: r.Created, Updated: r.Updated,
	}
}
