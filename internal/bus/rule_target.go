package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/transform"
)

// What AWS gives a target that asks for nothing else.
const (
	DefaultRetryAttempts = 185
	DefaultEventAge      = 86400 // seconds
)

const (
	maxTargets   = 5 // of a rule
	maxPut       = 10
	maxTemplate  = 8192
	maxConstant  = 8192
	maxInputPath = 256
	maxPaths     = 100
)

// targetDoc is a rule's target as stored. Its id is the resource's name.
type targetDoc struct {
	ARN           string           `json:"arn"`
	RoleARN       string           `json:"role_arn,omitzero"`
	Input         *transform.Input `json:"input,omitempty"`
	RetryAttempts *int             `json:"retry_attempts,omitempty"`
	EventAge      *int             `json:"event_age,omitempty"` // seconds
	// HasRetry tells a policy that was given without members from none.
	HasRetry      bool              `json:"has_retry,omitzero"`
	DeadLetterARN string            `json:"dead_letter_arn,omitzero"`
	GroupID       string            `json:"group_id,omitzero"`
	PathValues    []string          `json:"path_values,omitempty"`
	Header        map[string]string `json:"header,omitempty"`
	Query         map[string]string `json:"query,omitempty"`
	// Extra are parameters for what Waybill cannot send to, given back as
	// they came, by their names in AWS's model.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
}

// Target is a target of a rule.
type Target struct {
	ID, ARN string
	RoleARN string
	// Input says what the target gets. Its Template is set with its Paths or
	// without.
	Input transform.Input
	// RetryAttempts and EventAge (seconds) are nil where not given.
	RetryAttempts, EventAge *int
	HasRetry                bool // a retry policy was given, with members or without
	DeadLetterARN           string
	GroupID                 string // for a FIFO queue
	// HTTP is for API destinations.
	PathValues    []string
	Header, Query map[string]string
	Extra         map[string]json.RawMessage
}

// Failed says of an element of a request why it was not carried out.
type Failed struct{ ID, Code, Message string }

// checkTargets finds what is wrong with targets as such.
func checkTargets(accountID, rule, bus string, targets []Target) error {
	var v checks
	v.name("rule", rule)
	checkBusRef(&v, "eventBusName", bus)
	v.count("targets", len(targets), 1, maxPut)
	for i := range targets {
		t := &targets[i]
		at := fmt.Sprintf("targets.%d.member.", i+1)
		v.name(at+"id", t.ID)
		v.length(at+"arn", t.ARN, 1, 1600)
		v.length(at+"roleArn", t.RoleARN, 0, 1600)
		if t.Input.Constant != nil {
			v.length(at+"input", *t.Input.Constant, 0, maxConstant)
		}
		v.length(at+"inputPath", t.Input.Path, 0, maxInputPath)
		v.length(at+"inputTransformer.inputTemplate", t.Input.Template, 0, maxTemplate)
		if len(t.Input.Paths) > maxPaths {
			v.add("Value at '%sinputTransformer.inputPathsMap' failed to satisfy constraint: Member must have length less than or equal to %d", at, maxPaths)
		}
		v.between(at+"retryPolicy.maximumRetryAttempts", t.RetryAttempts, 0, DefaultRetryAttempts)
		v.between(at+"retryPolicy.maximumEventAgeInSeconds", t.EventAge, 60, DefaultEventAge)
	}
	if err := v.err(); err != nil {
		return err
	}
	for i := range targets {
		if err := targets[i].check(accountID); err != nil {
			return err
		}
	}
	return nil
}

// check finds what is wrong with a target of a rule of an account.
func (t *Target) check(accountID string) error {
	a, ok := ParseARN(t.ARN)
	if !ok {
		return invalid("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", t.ARN)
	}
	fifo := a.Service == "sqs" && strings.HasSuffix(a.Resource, ".fifo")
	switch {
	case fifo && t.GroupID == "":
		return invalid("Parameter(s) SqsParameters must be specified for target: %s.", t.ID)
	case !fifo && t.GroupID != "":
		return invalid("Parameter(s) SqsParameters is not supported for target: %s. Only a FIFO queue has message groups.", t.ID)
	}
	if len(t.GroupID) > 128 {
		return invalid("Parameter MessageGroupId is not valid for target %s. Reason: it is longer than 128 characters.", t.ID)
	}
	if len(t.PathValues)+len(t.Header)+len(t.Query) > 0 && (a.Service != "events" && a.Service != "execute-api") {
		return invalid("Parameter(s) HttpParameters is not supported for target: %s.", t.ID)
	}
	if t.DeadLetterARN != "" {
		q, ok := ParseARN(t.DeadLetterARN)
		if !ok || q.Service != "sqs" {
			return invalid("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", t.DeadLetterARN)
		}
		if strings.HasSuffix(q.Resource, ".fifo") {
			return invalid("Parameter %s is not valid. Reason: the dead-letter queue of a target must be a standard queue.", t.DeadLetterARN)
		}
	}
	if t.doc().Input != nil && a.Account != accountID && a.Service == "events" && strings.HasPrefix(a.Resource, "event-bus/") {
		return invalid("Parameter(s) Input, InputPath and InputTransformer are not supported for target: %s. The event bus of another account gets the event as it is.", t.ID)
	}
	return t.checkInput()
}

func (t *Target) checkInput() error {
	_, err := transform.Compile(t.Input)
	var (
		path        *transform.PathError
		placeholder *transform.PlaceholderError
		template    *transform.TemplateError
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transform.ErrOnlyOne):
		return invalid("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	case errors.Is(err, transform.ErrNoTemplate):
		return invalid("InputTemplate must be provided for target %s.", t.ID)
	case errors.Is(err, transform.ErrConstant):
		return invalid("JSON syntax error in input for target %s.", t.ID)
	case errors.As(err, &placeholder):
		return invalid("InputTemplate for target %s contains invalid placeholder %s.", t.ID, placeholder.Name)
	case errors.As(err, &template):
		return invalid("Invalid InputTemplate for target %s : %s.", t.ID, strings.TrimSuffix(template.Reason, "."))
	case errors.As(err, &path) && path.Name == "":
		return invalid("Invalid InputPath for target %s.", t.ID)
	case errors.As(err, &path):
		return invalid("Invalid InputPathsMap for target %s : key %s, %s.", t.ID, path.Name, path.Reason)
	}
	return invalid("Invalid input for target %s : %s.", t.ID, err)
}

func (t *Target) doc() *targetDoc {
	d := &targetDoc{
		ARN: t.ARN, RoleARN: t.RoleARN, RetryAttempts: t.RetryAttempts, EventAge: t.EventAge, HasRetry: t.HasRetry,
		DeadLetterARN: t.DeadLetterARN, GroupID: t.GroupID, PathValues: t.PathValues, Header: t.Header, Query: t.Query,
		Extra: t.Extra,
	}
	if in := t.Input; in.Constant != nil || in.Path != "" || in.Template != "" {
		d.Input = &in
	}
	return d
}

func targetOfDoc(r *store.Resource, d *targetDoc) *Target {
	t := &Target{
		ID: r.Name, ARN: d.ARN, RoleARN: d.RoleARN, RetryAttempts: d.RetryAttempts, EventAge: d.EventAge, HasRetry: d.HasRetry,
		DeadLetterARN: d.DeadLetterARN, GroupID: d.GroupID, PathValues: d.PathValues, Header: d.Header, Query: d.Query,
		Extra: d.Extra,
	}
	if d.Input != nil {
		t.Input = *d.Input
	}
	return t
}

// targetsOf returns a rule's targets by id.
func (s *Service) targetsOf(ctx context.Context, rule *store.Resource) (map[string]*store.Resource, error) {
	page, err := s.store.ListResources(ctx, store.ListResources{
		Scope: rule.Scope, Region: rule.Region, Kind: store.KindRuleTarget, Parent: rule.Number,
	})
	if err != nil {
		return nil, failed("list targets", err)
	}
	byID := make(map[string]*store.Resource, len(page.Items))
	for _, t := range page.Items {
		byID[t.Name] = t
	}
	return byID, nil
}

// PutTargets adds targets to a rule, or replaces those it has by their id. All
// are written, or none. What is returned failed for itself: the API
// destination that a target names must exist.
func (s *Service) PutTargets(ctx context.Context, c account.AWSCaller, bus, rule string, targets []Target) ([]Failed, error) {
	if err := checkTargets(c.AccountID, rule, bus, targets); err != nil {
		return nil, err
	}
	var bad []Failed
	err := s.changeTargets(ctx, c, bus, rule, func(r *store.Resource, have map[string]*store.Resource) (changed []*store.Resource, err error) {
		bad = nil
		added := map[string]int{}
		for i := range targets {
			t := &targets[i]
			missing, err := s.missingAPIDestination(ctx, c, t.ARN)
			if err != nil {
				return nil, err
			}
			if missing {
				bad = append(bad, Failed{t.ID, codeNotFound, "The API destination " + t.ARN + " does not exist."})
				continue
			}
			tr := have[t.ID]
			if tr == nil {
				tr = &store.Resource{ResourceKey: key(c, store.KindRuleTarget, r.Number, t.ID)}
			}
			if err := put(tr, t.doc()); err != nil {
				return nil, err
			}
			if at, twice := added[t.ID]; twice {
				changed[at] = tr // the last of one id counts
				continue
			}
			added[t.ID] = len(changed)
			changed = append(changed, tr)
		}
		total := len(have)
		for id := range added {
			if have[id] == nil {
				total++
			}
		}
		if total > maxTargets {
			return nil, fault.New(fault.Invalid, codeLimit, "The requested resource exceeds the maximum number allowed.")
		}
		return changed, nil
	})
	return bad, err
}

// changeTargets writes what prepare makes of a rule's targets, which it gets by
// id, until no other change gets in between. The rule is written with them, so
// that of two changes at a time the second counts what the first added.
func (s *Service) changeTargets(
	ctx context.Context, c account.AWSCaller, bus, rule string,
	prepare func(rule *store.Resource, have map[string]*store.Resource) ([]*store.Resource, error),
) error {
	return again(func() error {
		r, _, err := s.rule(ctx, c, bus, rule)
		if err != nil {
			return err
		}
		have, err := s.targetsOf(ctx, r)
		if err != nil {
			return err
		}
		changed, err := prepare(r, have)
		if err != nil || len(changed) == 0 {
			return err
		}
		return s.change(ctx, append(changed, r)...)
	})
}

// missingAPIDestination reports whether an ARN is of an API destination of the
// caller's which does not exist.
func (s *Service) missingAPIDestination(ctx context.Context, c account.AWSCaller, text string) (bool, error) {
	a, _ := ParseARN(text)
	rest, is := strings.CutPrefix(a.Resource, "api-destination/")
	if a.Service != "events" || !is || a.Account != c.AccountID || a.Region != c.Region {
		return false, nil
	}
	name, _, _ := strings.Cut(rest, "/") // a UUID follows
	_, err := s.store.Resource(ctx, key(c, store.KindAPIDestination, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, failed("read API destination", err)
	}
	return false, nil
}

// RemoveTargets takes targets from a rule. An id that the rule does not have
// fails for itself.
func (s *Service) RemoveTargets(ctx context.Context, c account.AWSCaller, bus, rule string, ids []string) ([]Failed, error) {
	var v checks
	v.name("rule", rule)
	checkBusRef(&v, "eventBusName", bus)
	v.count("ids", len(ids), 1, 100)
	for i, id := range ids {
		v.name(fmt.Sprintf("ids.%d.member", i+1), id)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	var bad []Failed
	err := s.changeTargets(ctx, c, bus, rule, func(_ *store.Resource, have map[string]*store.Resource) (changed []*store.Resource, _ error) {
		bad = nil
		for _, id := range ids {
			t := have[id]
			if t == nil {
				bad = append(bad, Failed{id, codeNotFound, "Rule " + rule + " does not have a target with the id " + id + "."})
				continue
			}
			delete(have, id)
			bury(t)
			changed = append(changed, t)
		}
		return changed, nil
	})
	return bad, err
}

// ListTargetsByRule returns a page of a rule's targets by id, and the id to go
// on after.
func (s *Service) ListTargetsByRule(ctx context.Context, c account.AWSCaller, bus, rule, after string, limit int) ([]*Target, string, error) {
	if err := checkRuleRef("rule", rule, bus); err != nil {
		return nil, "", err
	}
	r, _, err := s.rule(ctx, c, bus, rule)
	if err != nil {
		return nil, "", err
	}
	return pageOf(ctx, s, key(c, store.KindRuleTarget, r.Number, ""), after, limit, func(t *store.Resource, doc *targetDoc) (*Target, error) {
		return targetOfDoc(t, doc), nil
	})
}

// Input says how an event becomes a target's input.
type Input = transform.Input
