package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/fault"
)

// serve carries out the request and returns what it is answered with.
func (s *session) serve(t *target) (any, error) {
	in, err := s.input(s.request.Params)
	if err != nil {
		return nil, err
	}
	var value any
	switch {
	case t.Single && s.request.Method == Get && t.id == "":
		value, err = (&frame{session: s, vars: map[string]any{}}).eval(t.Defaults)
	case s.request.Method == Get && t.id == "":
		value, err = s.page(t, in)
	case s.request.Method == Get:
		value, err = s.retrieve(t)
	case t.id == "" && s.request.Method == Post && t.Prefix != "":
		for field, v := range t.parents {
			in[field] = v
		}
		var e *entry
		if e, err = s.create(t.resource, in); err == nil {
			value = shown(e.value)
		}
	case t.id == "":
		err = fault.NotFoundf("%s is not possible at %s.", s.request.Method, s.request.Path)
	default:
		value, err = s.change(t, in)
	}
	if err != nil {
		return nil, err
	}
	for _, path := range paths(in["expand"]) {
		if value, err = s.expand(value, strings.Split(path, ".")); err != nil {
			return nil, err
		}
	}
	return value, nil
}

func missing(t *target) error {
	return refuse(fault.NotFound, "resource_missing", "id", "No such "+strings.ReplaceAll(t.Object, ".", "_")+": '"+t.id+"'")
}

// object loads what a path names.
func (s *session) object(t *target) (*entry, error) {
	e, err := s.load(t.id)
	if err != nil {
		return nil, err
	}
	if e == nil || e.Object != t.Object {
		return nil, missing(t)
	}
	for field, v := range t.parents {
		if e.value[field] != v {
			return nil, missing(t)
		}
	}
	return e, nil
}

// retrieve answers GET of an object, or of a list inside it. What the sandbox
// does not have, the events may.
func (s *session) retrieve(t *target) (any, error) {
	var value map[string]any
	e, err := s.object(t)
	var refused *Refusal
	switch {
	case err == nil:
		value = shown(e.value)
	case errors.As(err, &refused):
		if value, err = s.service.mirror(s.ctx, s.caller.Scope, t.Object, t.id); value == nil && err == nil {
			err = missing(t)
		}
	}
	if err != nil || t.action == "" {
		return value, err
	}
	if list, ok := value[t.action].(map[string]any); ok && list["object"] == "list" {
		return list, nil
	}
	return nil, fault.NotFoundf("There is nothing at GET %s.", s.request.Path)
}

// change answers POST and DELETE below an id.
func (s *session) change(t *target, in map[string]any) (any, error) {
	if strings.HasPrefix(t.action, "_") { // for other transitions only
		return nil, fault.NotFoundf("There is nothing at %s %s.", s.request.Method, s.request.Path)
	}
	if steps := t.Actions["*"+t.id]; steps != nil && t.action == "" {
		f := &frame{session: s, this: &entry{resource: t.resource, value: map[string]any{}}, in: in, vars: map[string]any{}}
		err := f.transition(steps)
		return f.vars["answer"], err
	}
	e, err := s.object(t)
	if err != nil {
		return nil, err
	}
	f := &frame{session: s, this: e, in: in, vars: map[string]any{}}
	name := t.action
	switch {
	case s.request.Method == Delete && name == "":
		name = "delete"
	case s.request.Method == Delete:
		name = "delete:" + name
	case name == "":
		name = "update"
	}
	if err := f.do(name); err != nil {
		return nil, err
	}
	if answer, ok := f.vars["answer"]; ok {
		return answer, nil
	}
	if e.removed {
		return map[string]any{"id": e.id(), "object": e.Object, "deleted": true}, nil
	}
	return shown(e.value), nil
}

// do runs a transition by its name.
func (f *frame) do(name string) error {
	r := f.this.resource
	var steps []step
	switch name {
	case "update":
		f.this.merge(f.in)
		if steps = r.Update; steps == nil {
			steps = []step{{Emit: ".updated"}}
		}
	case "delete":
		if steps = r.Delete; steps == nil {
			steps = []step{{Delete: true}, {Emit: ".deleted"}}
		}
	default:
		if steps = r.Actions[name]; steps == nil {
			word := past(name)
			if strings.Contains(name, ":") || r.Path != "" && loadTable().byObject[r.Object] != nil && !loadTable().events[r.Event+"."+word] {
				return fault.NotFoundf("%s of a %s is not known here. Check the path.", name, r.Object)
			}
			f.this.merge(f.in)
			f.this.value["status"] = word
			steps = []step{{Emit: "." + word}}
		}
	}
	return f.transition(steps)
}

// errStop ends a transition early.
var errStop = errors.New("stop")

// deepest is how many transitions may call each other.
const deepest = 16

func (f *frame) transition(steps []step) error {
	f.depth++
	defer func() { f.depth-- }()
	if f.depth > deepest {
		return errors.New("sandbox table: transitions call each other in a circle")
	}
	if err := f.run(steps); !errors.Is(err, errStop) {
		return err
	}
	return nil
}

func (f *frame) run(steps []step) error {
	for i := range steps {
		if err := f.perform(&steps[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *frame) perform(st *step) error {
	if st.If != nil {
		ok, err := f.holds(st.If)
		if err != nil {
			return err
		}
		if !ok {
			return f.run(st.Else)
		}
	}
	if err := f.assign(st); err != nil {
		return err
	}
	if st.Make != "" || st.Do != "" {
		if err := f.call(st); err != nil {
			return err
		}
	}
	if st.Delete {
		f.this.removed = true
	}
	if st.Emit != "" {
		if err := f.publish(st); err != nil {
			return err
		}
	}
	if st.Each != "" {
		if err := f.forEach(st); err != nil {
			return err
		}
	} else if err := f.run(st.Then); err != nil {
		return err
	}
	if st.Answer != nil {
		v, err := f.eval(st.Answer)
		if err != nil {
			return err
		}
		f.vars["answer"] = v
	}
	if st.Refuse != nil {
		return f.refuse(st.Refuse)
	}
	if st.Stop {
		return errStop
	}
	return nil
}

// assign evaluates everything before it sets anything.
func (f *frame) assign(st *step) error {
	values := func(templates map[string]any) (map[string]any, error) {
		out := make(map[string]any, len(templates))
		for k, t := range templates {
			v, err := f.eval(t)
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
		return out, nil
	}
	vars, err := values(st.Var)
	if err != nil {
		return err
	}
	fields, err := values(st.Set)
	if err != nil {
		return err
	}
	more, err := values(st.Append)
	if err != nil {
		return err
	}
	maps.Copy(f.vars, vars)
	for path, v := range fields {
		set(f.this.value, path, v)
	}
	for path, v := range more {
		list, _ := lookup(f.this.value, path).([]any)
		set(f.this.value, path, append(slices.Clone(list), v))
	}
	return nil
}

// call makes an object, or runs a transition of one.
func (f *frame) call(st *step) error {
	in := f.in
	if st.With != nil {
		v, err := f.eval(st.With)
		if err != nil {
			return err
		}
		in, _ = v.(map[string]any)
		for k, v := range in {
			if v == nil {
				delete(in, k)
			}
		}
	}
	var e *entry
	var err error
	if st.Make != "" {
		r := loadTable().byObject[st.Make]
		if r == nil {
			return fmt.Errorf("sandbox table: there is no %q", st.Make)
		}
		e, err = f.create(r, in)
	} else {
		e = f.this
		if st.On != nil {
			id, evalErr := f.eval(st.On)
			if evalErr != nil {
				return evalErr
			}
			if e, err = f.load(fmt.Sprint(id)); err == nil && e == nil {
				err = refuse(fault.Invalid, "resource_missing", "", fmt.Sprintf("No such object: '%v'", id))
			}
		}
		if err == nil {
			err = (&frame{session: f.session, this: e, in: in, vars: map[string]any{}}).do(st.Do)
		}
	}
	var refused *Refusal
	if errors.As(err, &refused) && st.Catch != "" {
		f.vars[st.Catch], err = refused.Body, nil
	}
	if st.As != "" && e != nil {
		f.vars[st.As] = e
	}
	return err
}

func (f *frame) forEach(st *step) error {
	where, err := f.eval(st.Where)
	if err != nil {
		return err
	}
	r := loadTable().byObject[st.Each]
	if r == nil {
		return fmt.Errorf("sandbox table: there is no %q", st.Each)
	}
	fields, _ := where.(map[string]any)
	found, err := f.list(r, fields, 0, 0, func(int) bool { return false })
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(found) { // oldest first
		inner := &frame{session: f.session, this: e, in: f.in, vars: f.vars}
		outer, had := f.vars["outer"]
		f.vars["outer"] = f.this
		err := inner.transition(st.Then)
		if delete(f.vars, "outer"); had {
			f.vars["outer"] = outer
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *frame) publish(st *step) error {
	name := st.Emit
	if strings.HasPrefix(name, ".") {
		name = f.this.Event + name
	}
	if st.Of == nil {
		return f.emit(name, f.this.value, f.this)
	}
	v, err := f.eval(st.Of)
	if err != nil {
		return err
	}
	about, _ := v.(map[string]any)
	return f.emit(name, about, nil)
}

func (f *frame) refuse(template any) error {
	v, err := f.eval(template)
	if err != nil {
		return err
	}
	body, _ := v.(map[string]any)
	return &Refusal{Declined: body["type"] == "card_error", Kind: fault.Invalid, Body: body}
}

// The page sizes of API v1 lists.
const (
	standardPage = 10
	largestPage  = 100
)

// page answers GET of a collection. Parameters that are none of a list's are
// what the fields must be.
func (s *session) page(t *target, in map[string]any) (any, error) {
	limit := standardPage
	if n, ok := in["limit"].(float64); ok {
		limit = int(n)
	}
	if _, given := in["limit"]; given && (limit < 1 || limit > largestPage) {
		return nil, fault.Invalidf("limit", "The limit must be a whole number from 1 to %d.", largestPage)
	}
	place := func(param string) (int64, error) {
		id, _ := in[param].(string)
		if id == "" {
			return 0, nil
		}
		e, err := s.load(id)
		if err != nil {
			return 0, err
		}
		if e == nil || e.Object != t.Object {
			return 0, refuse(fault.Invalid, "resource_missing", param, "No such "+t.Object+": '"+id+"'")
		}
		return e.stored.Made, nil
	}
	older, err := place("starting_after")
	if err != nil {
		return nil, err
	}
	newer, err := place("ending_before")
	if err != nil {
		return nil, err
	}
	where := map[string]any{}
	for k, v := range in {
		switch k {
		case "limit", "starting_after", "ending_before", "expand":
		default:
			where[k] = v
		}
	}
	for field, v := range t.parents {
		where[field] = v
	}
	found, err := s.list(t.resource, where, older, newer, func(n int) bool { return n > limit })
	if err != nil {
		return nil, err
	}
	more := len(found) > limit
	found = found[:min(len(found), limit)]
	if newer != 0 {
		slices.Reverse(found)
	}
	data := make([]any, len(found))
	for i, e := range found {
		data[i] = shown(e.value)
	}
	return map[string]any{"object": "list", "url": s.request.Path, "has_more": more, "data": data}, nil
}

func paths(v any) (list []string) {
	items, _ := v.([]any)
	for _, item := range items {
		if text, ok := item.(string); ok {
			list = append(list, text)
		}
	}
	return list
}

// expand puts objects where their ids are.
func (s *session) expand(v any, path []string) (any, error) {
	if id, ok := v.(string); ok {
		e, err := s.load(id)
		if e == nil || err != nil {
			return v, err
		}
		v = shown(e.value)
	}
	if len(path) == 0 {
		return v, nil
	}
	switch at := v.(type) {
	case map[string]any:
		child, err := s.expand(at[path[0]], path[1:])
		if err != nil || child == nil {
			return v, err
		}
		out := clone(at).(map[string]any) //nolint:forcetypeassert // a clone has its type
		out[path[0]] = child
		return out, nil
	case []any:
		out := make([]any, len(at))
		for i := range at {
			var err error
			if out[i], err = s.expand(at[i], path); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
