package bus

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/pattern"
	"github.com/waybill-dev/waybill/internal/schedule"
	"github.com/waybill-dev/waybill/internal/store"
)

// States of a rule. The third differs from ENABLED for events that only AWS
// itself sends.
const (
	RuleEnabled      = "ENABLED"
	RuleDisabled     = "DISABLED"
	RuleEnabledTrail = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
)

// maxRules is AWS's quota of rules on a bus, maxPattern of a pattern's length.
const (
	maxRules   = 300
	maxPattern = 4096
)

// ruleDoc is a rule as stored. At least one of Pattern and Schedule is set.
type ruleDoc struct {
	ARN         string            `json:"arn"`
	BusName     string            `json:"bus"`
	Pattern     string            `json:"pattern,omitzero"`
	Schedule    string            `json:"schedule,omitzero"`
	State       string            `json:"state"`
	Description string            `json:"description,omitzero"`
	RoleARN     string            `json:"role_arn,omitzero"`
	CreatedBy   string            `json:"created_by,omitzero"` // an account
	Tags        map[string]string `json:"tags,omitempty"`
}

// Rule is a rule of a bus.
type Rule struct {
	Number      int64
	Name, ARN   string
	BusName     string
	Pattern     string
	Schedule    string
	State       string
	Description string
	RoleARN     string
	CreatedBy   string
	Created     time.Time
}

// NewRule is what a rule is to be. One that exists is replaced, but keeps its
// targets, and its tags too.
type NewRule struct {
	Name, Bus   string // the bus by name or ARN
	Pattern     string
	Schedule    string
	State       string // "" is ENABLED
	Description string
	RoleARN     string
	Tags        map[string]string
}

func (p *NewRule) check() error {
	var v checks
	v.name("name", p.Name)
	checkBusRef(&v, "eventBusName", p.Bus)
	v.length("description", p.Description, 0, 512)
	v.length("scheduleExpression", p.Schedule, 0, 256)
	v.length("roleArn", p.RoleARN, 0, 1600)
	v.length("eventPattern", p.Pattern, 0, maxPattern)
	if p.State != "" {
		v.enum("state", p.State, RuleEnabled, RuleDisabled, RuleEnabledTrail)
	}
	v.tags(p.Tags)
	if err := v.err(); err != nil {
		return err
	}
	if p.Pattern == "" && p.Schedule == "" {
		return invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if p.Pattern != "" {
		if _, err := parsePattern(p.Pattern); err != nil {
			return err
		}
	}
	if p.Schedule != "" {
		if name := p.Bus; name != "" && name != DefaultBus {
			if a, ok := ParseARN(name); !ok || a.Resource != "event-bus/"+DefaultBus {
				return invalid("ScheduleExpression is supported only on the default event bus.")
			}
		}
		if _, err := schedule.Parse(p.Schedule); err != nil {
			return invalid("Parameter ScheduleExpression is not valid.")
		}
	}
	return nil
}

func parsePattern(text string) (*pattern.Pattern, error) {
	p, err := pattern.Parse([]byte(text))
	if err != nil {
		return nil, fault.New(fault.Invalid, codePattern, "%s", err)
	}
	return p, nil
}

// PutRule makes or replaces a rule and returns its ARN.
func (s *Service) PutRule(ctx context.Context, c account.AWSCaller, p NewRule) (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	if p.State == "" {
		p.State = RuleEnabled
	}
	var doc *ruleDoc
	err := again(func() error {
		bus, busDoc, err := s.bus(ctx, c, p.Bus)
		if err != nil {
			return err
		}
		k := key(c, store.KindRule, bus.Number, p.Name)
		r, was, err := get[ruleDoc](ctx, s, k)
		doc = &ruleDoc{
			ARN: ruleARN(busDoc, bus.Name, c, p.Name), BusName: bus.Name, Pattern: p.Pattern, Schedule: p.Schedule,
			State: p.State, Description: p.Description, RoleARN: p.RoleARN, CreatedBy: c.AccountID, Tags: p.Tags,
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
			page, err := s.store.ListResources(ctx, store.ListResources{
				Scope: c.Scope, Region: c.Region, Kind: store.KindRule, Parent: bus.Number, Limit: maxRules,
			})
			if err != nil {
				return failed("count rules", err)
			}
			if len(page.Items) >= maxRules {
				return fault.New(fault.Invalid, codeLimit, "The requested resource exceeds the maximum number allowed.")
			}
			r = &store.Resource{ResourceKey: k}
		case err != nil:
			return err
		default:
			doc.Tags, doc.CreatedBy = was.Tags, was.CreatedBy
		}
		if err := put(r, doc); err != nil {
			return err
		}
		if err := s.change(ctx, r); errors.Is(err, store.ErrExists) {
			return store.ErrConflict // somebody else made it just now; go on from theirs
		} else if err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return doc.ARN, nil
}

func ruleARN(bus *busDoc, busName string, c account.AWSCaller, name string) string {
	if busName == DefaultBus {
		return "arn:aws:events:" + c.Region + ":" + bus.Account + ":rule/" + name
	}
	return "arn:aws:events:" + c.Region + ":" + bus.Account + ":rule/" + busName + "/" + name
}

// rule finds a rule of the caller's.
func (s *Service) rule(ctx context.Context, c account.AWSCaller, busRef, name string) (*store.Resource, *ruleDoc, error) {
	bus, _, err := s.bus(ctx, c, busRef)
	if err != nil {
		return nil, nil, err
	}
	r, doc, err := get[ruleDoc](ctx, s, key(c, store.KindRule, bus.Number, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("Rule %s does not exist on EventBus %s.", name, bus.Name)
	}
	return r, doc, err
}

func checkRuleRef(member, name, busRef string) error {
	var v checks
	v.name(member, name)
	checkBusRef(&v, "eventBusName", busRef)
	return v.err()
}

// DescribeRule returns a rule of the bus with this name or ARN.
func (s *Service) DescribeRule(ctx context.Context, c account.AWSCaller, bus, name string) (*Rule, error) {
	if err := checkRuleRef("name", name, bus); err != nil {
		return nil, err
	}
	r, doc, err := s.rule(ctx, c, bus, name)
	if err != nil {
		return nil, err
	}
	return ruleOf(r, doc), nil
}

// SetRuleState enables or disables a rule.
func (s *Service) SetRuleState(ctx context.Context, c account.AWSCaller, bus, name string, enabled bool) error {
	if err := checkRuleRef("name", name, bus); err != nil {
		return err
	}
	state := RuleDisabled
	if enabled {
		state = RuleEnabled
	}
	return again(func() error {
		r, doc, err := s.rule(ctx, c, bus, name)
		if err != nil || doc.State == state || enabled && doc.State == RuleEnabledTrail {
			return err
		}
		doc.State = state
		if err := put(r, doc); err != nil {
			return err
		}
		return s.change(ctx, r)
	})
}

// DeleteRule deletes a rule without targets; that there is none such is no
// error.
func (s *Service) DeleteRule(ctx context.Context, c account.AWSCaller, bus, name string) error {
	if err := checkRuleRef("name", name, bus); err != nil {
		return err
	}
	return again(func() error {
		b, _, err := s.bus(ctx, c, bus)
		if err != nil {
			return err
		}
		r, err := s.store.Resource(ctx, key(c, store.KindRule, b.Number, name))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return failed("read rule", err)
		}
		targets, err := s.targetsOf(ctx, r)
		if err != nil {
			return err
		}
		if len(targets) > 0 {
			return invalid("Rule can't be deleted since it has targets.")
		}
		bury(r)
		return s.change(ctx, r)
	})
}

// ListRules returns a page of a bus's rules by name, and the name to go on
// after.
func (s *Service) ListRules(ctx context.Context, c account.AWSCaller, bus, prefix, after string, limit int) ([]*Rule, string, error) {
	var v checks
	checkBusRef(&v, "eventBusName", bus)
	if prefix != "" {
		v.name("namePrefix", prefix)
	}
	if err := v.err(); err != nil {
		return nil, "", err
	}
	b, _, err := s.bus(ctx, c, bus)
	if err != nil {
		return nil, "", err
	}
	return pageOf(ctx, s, key(c, store.KindRule, b.Number, prefix), after, limit, func(r *store.Resource, doc *ruleDoc) (*Rule, error) {
		return ruleOf(r, doc), nil
	})
}

// ListRuleNamesByTarget returns a page of the names of those of a bus's rules
// that send to an ARN.
func (s *Service) ListRuleNamesByTarget(ctx context.Context, c account.AWSCaller, bus, targetARN, after string, limit int) ([]string, string, error) {
	var v checks
	v.length("targetArn", targetARN, 1, 1600)
	checkBusRef(&v, "eventBusName", bus)
	if err := v.err(); err != nil {
		return nil, "", err
	}
	b, _, err := s.bus(ctx, c, bus)
	if err != nil {
		return nil, "", err
	}
	names, err := s.rulesWithTarget(ctx, b.Number, targetARN)
	if err != nil {
		return nil, "", err
	}
	for len(names) > 0 && names[0] <= after {
		names = names[1:]
	}
	if n := pageSize(limit); len(names) > n {
		return names[:n], names[n-1], nil
	}
	return names, "", nil
}

func ruleOf(r *store.Resource, doc *ruleDoc) *Rule {
	return &Rule{
		Number: r.Number, Name: r.Name, ARN: doc.ARN, BusName: doc.BusName, Pattern: doc.Pattern, Schedule: doc.Schedule,
		State: doc.State, Description: doc.Description, RoleARN: doc.RoleARN, CreatedBy: doc.CreatedBy, Created: r.Created,
	}
}
