package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// session is one run of a request: what it read, changed and is to publish.
type session struct {
	service *Service
	ctx     context.Context //nolint:containedctx // a session is a part of one call
	caller  account.Caller
	request Request
	now     time.Time

	entries map[string]*entry
	order   []*entry
	minted  map[string]*entry // payment methods, by the test card
	drafts  []*event.Draft
	depth   int
}

// entry is an object in a session.
type entry struct {
	*resource
	stored  *store.Object
	value   map[string]any
	before  map[string]any // as read, or as last published
	removed bool
}

func (e *entry) id() string { return e.stored.ID }

// shown is an object without the fields that are the sandbox's own.
func shown(value map[string]any) map[string]any {
	out := make(map[string]any, len(value))
	for k, v := range value {
		if !strings.HasPrefix(k, "_") {
			out[k] = v
		}
	}
	return out
}

// load finds an object, or nil. The name of a test card is a new payment
// method.
func (s *session) load(id string) (*entry, error) {
	if e, ok := s.entries[id]; ok {
		if e.removed {
			return nil, nil //nolint:nilnil // absence is an ordinary answer here
		}
		return e, nil
	}
	if s.request.Method == Post && strings.HasPrefix(id, "pm_") && loadTable().cards[id] != nil {
		return s.mint(id)
	}
	o, err := s.service.store.Object(s.ctx, s.caller.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, err
	}
	e, err := decode(o)
	if err != nil {
		return nil, err
	}
	s.keep(e)
	return e, nil
}

func (s *session) keep(e *entry) {
	s.entries[e.id()] = e
	s.order = append(s.order, e)
}

// decode makes an entry of a stored object.
func decode(o *store.Object) (*entry, error) {
	e := &entry{resource: loadTable().byObject[o.Kind], stored: o}
	if e.resource == nil {
		e.resource = &resource{Object: o.Kind, Event: loadTable().eventName(o.Kind)}
	}
	if err := json.Unmarshal(o.Body, &e.value); err != nil {
		return nil, fmt.Errorf("read object %s: %w", o.ID, err)
	}
	e.before = clone(e.value).(map[string]any) //nolint:forcetypeassert // a clone has its type
	return e, nil
}

// list returns objects of a kind whose fields are as in where, newest first,
// those of this session before those that are stored. It ends when enough says so.
func (s *session) list(r *resource, where map[string]any, older, newer int64, enough func(n int) bool) (found []*entry, err error) {
	matches := func(e *entry) bool {
		for field, want := range where {
			got := lookup(e.value, field)
			if bounds, ok := want.(map[string]any); ok && field == "created" {
				if !within(numeric(got), bounds) {
					return false
				}
			} else if !reflect.DeepEqual(got, want) {
				return false
			}
		}
		return !e.removed
	}
	for _, e := range slices.Backward(s.order) {
		if e.Object == r.Object && e.stored.Revision == 0 && matches(e) {
			found = append(found, e)
		}
	}
	parent, _ := where[r.Parent].(string)
	for !enough(len(found)) {
		page, err := s.service.store.ListObjects(s.ctx, store.ListObjects{
			Scope: s.caller.Scope, Kind: r.Object, Parent: parent, Older: older, Newer: newer, Limit: 100,
		})
		if err != nil {
			return nil, err
		}
		items := page.Items
		if newer != 0 { // towards the newest, which come first in a page
			slices.Reverse(items)
		}
		for _, o := range items {
			e := s.entries[o.ID]
			if e == nil {
				if e, err = decode(o); err != nil {
					return nil, err
				}
			}
			if matches(e) && !enough(len(found)) {
				s.keep(e)
				found = append(found, e)
			}
			if newer != 0 {
				newer = o.Made
			} else {
				older = o.Made
			}
		}
		if !page.More {
			break
		}
	}
	return found, nil
}

// within tests the bounds of a range: gt, gte, lt and lte.
func within(n float64, bounds map[string]any) bool {
	for operator, v := range bounds {
		bound, ok := numeric(v), false
		switch operator {
		case "gt":
			ok = n > bound
		case "gte":
			ok = n >= bound
		case "lt":
			ok = n < bound
		case "lte":
			ok = n <= bound
		}
		if !ok {
			return false
		}
	}
	return true
}

// lookup returns a field by its path within one object.
func lookup(value any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// create makes an object from parameters.
func (s *session) create(r *resource, in map[string]any) (*entry, error) {
	id := event.NewID(r.Prefix, 24)
	if chosen, _ := in["id"].(string); chosen != "" && r.Chosen {
		taken, err := s.load(chosen)
		if err != nil {
			return nil, err
		}
		if taken != nil {
			return nil, refuse(fault.Invalid, "resource_already_exists", "id", r.Object+" already exists: '"+chosen+"'.")
		}
		id = chosen
	}
	e := &entry{resource: r, value: map[string]any{
		"id": id, "object": r.Object, "created": float64(s.now.Unix()), "livemode": false, "metadata": map[string]any{},
	}}
	e.stored = &store.Object{Scope: s.caller.Scope, ID: id, Kind: r.Object, Made: s.service.next(s.now)}
	s.keep(e)
	f := &frame{session: s, this: e, in: in, vars: map[string]any{}}
	for k, t := range r.Defaults {
		v, err := f.eval(t)
		if err != nil {
			return nil, err
		}
		e.value[k] = v
	}
	e.merge(in)
	steps := r.Create
	if steps == nil {
		steps = []step{{Emit: ".created"}}
	}
	return e, f.transition(steps)
}

// next gives out the places of objects in their order.
func (s *Service) next(now time.Time) int64 {
	for {
		last := s.made.Load()
		next := max(now.UnixNano(), last+1)
		if s.made.CompareAndSwap(last, next) {
			return next
		}
	}
}

// fixed are fields that no parameter changes, and what is no field.
var fixed = []string{"id", "object", "created", "livemode", "expand"}

// merge takes over parameters as fields, but for those that are none.
func (e *entry) merge(in map[string]any) {
	for k, v := range in {
		if slices.Contains(fixed, k) || slices.Contains(e.Hide, k) {
			continue
		}
		switch change, isObject := v.(map[string]any); {
		case v == "":
			e.value[k] = nil
			if k == "metadata" {
				e.value[k] = map[string]any{}
			}
		case isObject:
			e.value[k] = mergeObject(e.value[k], change)
		default:
			e.value[k] = clone(v)
		}
	}
}

func mergeObject(old any, change map[string]any) map[string]any {
	merged, ok := old.(map[string]any)
	if !ok {
		merged = map[string]any{}
	}
	for k, v := range change {
		if child, ok := v.(map[string]any); ok {
			v = mergeObject(merged[k], child)
		}
		if merged[k] = clone(v); v == "" {
			delete(merged, k)
		}
	}
	return merged
}

// emit notes an event about an object. Names that Stripe does not have are
// left out.
func (s *session) emit(name string, about map[string]any, e *entry) error {
	if !loadTable().events[name] {
		return nil
	}
	object := shown(about)
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode object of event: %w", err)
	}
	d := &event.Draft{Type: name, Created: s.now, Object: body, RequestID: s.request.ID, IdempotencyKey: s.caller.IdempotencyKey}
	d.ObjectID, _ = object["id"].(string)
	d.ObjectType, _ = object["object"].(string)
	if e != nil {
		if strings.HasSuffix(name, ".updated") && e.before != nil {
			if d.PreviousAttributes, err = json.Marshal(changed(shown(e.before), object)); err != nil {
				return fmt.Errorf("encode previous attributes: %w", err)
			}
		}
		e.before = clone(e.value).(map[string]any) //nolint:forcetypeassert // a clone has its type
	}
	s.drafts = append(s.drafts, d)
	return nil
}

// changed returns the old values of what differs, null for what is new.
func changed(before, after map[string]any) map[string]any {
	diff := map[string]any{}
	for k, v := range after {
		old := before[k]
		if reflect.DeepEqual(old, v) {
			continue
		}
		was, ok1 := old.(map[string]any)
		now, ok2 := v.(map[string]any)
		if ok1 && ok2 {
			old = changed(was, now)
		}
		diff[k] = old
	}
	for k, old := range before {
		if _, ok := after[k]; !ok {
			diff[k] = old
		}
	}
	return diff
}

// save writes the objects, then publishes the events.
func (s *session) save(a answer) error {
	var changes []store.ObjectChange
	for _, e := range s.order {
		body, err := json.Marshal(e.value)
		if err != nil {
			return fmt.Errorf("encode object: %w", err)
		}
		isNew := e.stored.Revision == 0
		if e.removed && isNew || !e.removed && bytes.Equal(body, e.stored.Body) {
			continue
		}
		e.stored.Body = body
		e.stored.Parent, _ = lookup(e.value, e.Parent).(string)
		changes = append(changes, store.ObjectChange{Object: e.stored, Remove: e.removed})
	}
	var idem *store.Idempotency
	if s.caller.IdempotencyKey != "" {
		result, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		idem = &store.Idempotency{
			Scope: s.caller.Scope, Generation: s.caller.Generation, Key: s.caller.IdempotencyKey,
			Hash: s.caller.RequestHash, Result: result, Created: s.now,
		}
	}
	if len(changes) > 0 || idem != nil {
		if err := s.service.store.ChangeObjects(s.ctx, changes, idem); err != nil {
			return err
		}
	}
	if len(s.drafts) == 0 {
		return nil
	}
	publisher := s.caller
	publisher.IdempotencyKey = "" // it is the objects' already
	_, err := s.service.publisher.Publish(s.ctx, publisher, s.drafts)
	return err
}

// refuse is an invalid request in Stripe's words.
func refuse(kind fault.Kind, code, param, message string) *Refusal {
	body := map[string]any{"type": "invalid_request_error", "code": code, "message": message}
	if param != "" {
		body["param"] = param
	}
	return &Refusal{Kind: kind, Body: body}
}
