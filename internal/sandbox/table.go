package sandbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

//go:embed table
var files embed.FS

// resource is a line of the table.
type resource struct {
	// Path is where its objects are, after /v1/: "payment_intents", or
	// "customers/:customer/sources", whose objects have a field customer.
	Path string
	// Object is the tag of its objects. A resource without a prefix shows
	// another one's objects at a path of its own.
	Object string
	// Prefix is what ids begin with. Chosen tells that a request may choose
	// its id.
	Prefix string
	Chosen bool
	// Event is what its events begin with; "" is Object with dots turned to
	// underscores where Stripe does so.
	Event string
	// Parent is the field that its objects are mostly looked for by.
	Parent string
	// Single tells that there is one object, and no id: Defaults.
	Single   bool
	Defaults map[string]any // templates
	// Hide are parameters that do not become fields.
	Hide []string
	// Transitions. Without Create, Update or Delete the event of that name is
	// emitted, and Delete removes the object. Actions are what may follow the
	// id in a path; with "*" before the name it stands in the id's place, with
	// "delete:" the method is DELETE.
	Create, Update, Delete []step
	Actions                map[string][]step

	pattern []string
}

// step is one thing that a transition does. Values are templates, see
// frame.eval; those that do not mention another object mean fields of this one.
type step struct {
	If map[string]any // see frame.holds
	// Then and Else are run if the condition holds or does not.
	Then, Else []step

	Set    map[string]any // fields of this object
	Append map[string]any // to lists of this object
	Var    map[string]any // names for values
	// Make creates an object of that tag from With, and names it As. Do runs a
	// transition of the object On (this one if there is none) with With or
	// what this one was run with. Catch names a refusal instead of passing it
	// on.
	Make  string
	Do    string
	On    any
	With  any
	As    string
	Catch string
	// Each runs Then for each object of a tag whose fields are as in Where.
	// The one from which this is done is called outer there.
	Each  string
	Where map[string]any
	// Emit publishes an event about Of, or this object. A name that begins
	// with a dot is of the resource's own.
	Emit string
	Of   any
	// Answer is what the request is answered with, instead of the object.
	Answer any
	// Refuse ends the request with {status, type, code, message, …}.
	Refuse any
	Delete bool // removes the object
	Stop   bool // ends the transition
}

type table struct {
	resources []*resource
	byObject  map[string]*resource
	cards     map[string]map[string]any // by the names that stand for them
	events    map[string]bool           // Stripe's snapshot event types
}

// loadTable reads the embedded files. They are part of the program: a mistake
// in them is found by the first test.
var loadTable = sync.OnceValue(func() *table {
	t := &table{byObject: map[string]*resource{}, cards: map[string]map[string]any{}, events: map[string]bool{}}
	names, err := files.ReadDir("table")
	must(err)
	for _, f := range names {
		text, err := files.ReadFile("table/" + f.Name())
		must(err)
		switch f.Name() {
		case "events.txt":
			for name := range strings.FieldsSeq(string(text)) {
				t.events[name] = true
			}
		case "cards.json":
			t.addCards(text)
		default:
			var list []*resource
			strict(f.Name(), text, &list)
			for _, r := range list {
				t.add(r)
			}
		}
	}
	return t
})

func must(err error) {
	if err != nil {
		panic("sandbox table: " + err.Error())
	}
}

func strict(name string, text []byte, into any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		must(fmt.Errorf("%s: %w", name, err))
	}
}

func (t *table) add(r *resource) {
	r.pattern = strings.Split(r.Path, "/")
	if r.Event == "" {
		r.Event = t.eventName(r.Object)
	}
	t.resources = append(t.resources, r)
	if r.Prefix != "" || r.Single {
		t.byObject[r.Object] = r
	}
}

// addCards registers test cards by everything that names them.
func (t *table) addCards(text []byte) {
	var cards []struct {
		Name, Number, Outcome, Code, Decline, Brand, Country string
	}
	strict("cards.json", text, &cards)
	for _, c := range cards {
		if c.Brand == "" {
			c.Brand = "visa"
		}
		if c.Country == "" {
			c.Country = "US"
		}
		last4 := "4242"
		if c.Number != "" {
			last4 = c.Number[len(c.Number)-4:]
		}
		card := map[string]any{
			"outcome": c.Outcome, "code": c.Code, "decline": c.Decline,
			"card": map[string]any{
				"brand": c.Brand, "country": c.Country, "last4": last4, "funding": "credit", "exp_month": 12.0, "exp_year": 2040.0,
				"fingerprint": "Xt5EWLLDS7FJjR1c", "networks": map[string]any{"available": []any{c.Brand}, "preferred": nil},
			},
		}
		t.cards["pm_card_"+c.Name], t.cards["tok_"+c.Name] = card, card
		if c.Number != "" {
			t.cards[c.Number] = card
		}
	}
}

// eventName is what events about an object begin with: issuing.card has
// issuing_card.created, checkout.session has checkout.session.completed.
func (t *table) eventName(object string) string {
	under := strings.ReplaceAll(object, ".", "_")
	for name := range t.events {
		if strings.HasPrefix(name, under+".") {
			return under
		}
	}
	return object
}

// target is what a path names.
type target struct {
	*resource
	parents map[string]any // fields that its path gives
	id      string         // "" is the collection
	action  string
}

// reserved begin paths that are not for the sandbox.
var reserved = map[string]bool{"events": true, "webhook_endpoints": true, "stripecli": true}

// find finds what a path names, or nil.
func find(path string) *target {
	rest, ok := strings.CutPrefix(path, "/v1/")
	segments := strings.Split(rest, "/")
	for _, s := range segments {
		ok = ok && s != ""
	}
	if !ok || reserved[segments[0]] {
		return nil
	}
	t := loadTable()
	if found := t.match(segments); found != nil {
		return found
	}
	// What only tests can do is below a name of its own.
	if segments[0] == "test_helpers" && len(segments) > 1 {
		if found := t.match(segments[1:]); found != nil {
			return found
		}
	}
	return t.guess(segments)
}

// match finds the resource with the longest path that begins the segments.
func (t *table) match(segments []string) *target {
	var best *target
	for _, r := range t.resources {
		if len(r.pattern) > len(segments) || best != nil && len(r.pattern) <= len(best.pattern) {
			continue
		}
		found := &target{resource: r}
		for i, p := range r.pattern {
			if field, ok := strings.CutPrefix(p, ":"); ok {
				if found.parents == nil {
					found.parents = map[string]any{}
				}
				found.parents[field] = segments[i]
			} else if p != segments[i] {
				found = nil
				break
			}
		}
		if found != nil {
			found.rest(segments[len(r.pattern):])
			best = found
		}
	}
	if best != nil && best.Prefix == "" && !best.Single {
		best.resource = t.byObject[best.Object]
	}
	return best
}

func (t *target) rest(segments []string) {
	if len(segments) > 0 {
		t.id, t.action = segments[0], strings.Join(segments[1:], "/")
	}
}

// spaces are the first parts of paths that group resources.
var spaces = map[string]bool{
	"apps": true, "billing": true, "billing_portal": true, "checkout": true, "climate": true, "crypto": true, "entitlements": true,
	"financial_connections": true, "forwarding": true, "gift_cards": true, "identity": true, "issuing": true, "radar": true,
	"reporting": true, "sigma": true, "tax": true, "terminal": true, "test_helpers": true, "treasury": true,
}

// guess makes a resource of a path that the table does not have, or nil if it
// is not formed like one.
func (t *table) guess(segments []string) *target {
	n := 1
	if spaces[segments[0]] {
		n = 2
	}
	if len(segments) < n {
		return nil
	}
	object := strings.Join(segments[:n], ".")
	for _, c := range object {
		if (c < 'a' || c > 'z') && c != '_' && c != '.' {
			return nil
		}
	}
	single, ok := singular(object)
	if !ok {
		return nil
	}
	r := &resource{Path: strings.Join(segments[:n], "/"), Object: single, Event: t.eventName(single)}
	for word := range strings.FieldsFuncSeq(single, func(c rune) bool { return c == '_' || c == '.' }) {
		r.Prefix += word[:1]
	}
	r.Prefix += "_"
	found := &target{resource: r}
	found.rest(segments[n:])
	return found
}

// singular undoes the plural that a path ends with.
func singular(plural string) (string, bool) {
	for _, ending := range []struct{ plural, singular string }{{"ies", "y"}, {"sses", "ss"}, {"xes", "x"}, {"s", ""}} {
		if stem, ok := strings.CutSuffix(plural, ending.plural); ok {
			return stem + ending.singular, stem != "" && !strings.HasSuffix(stem, ".") && !strings.HasSuffix(stem, "_")
		}
	}
	return "", false
}

// past turns an action into what an event of it is called.
func past(verb string) string {
	switch verb {
	case "cancel":
		return "canceled"
	case "submit":
		return "submitted"
	}
	if strings.HasSuffix(verb, "e") {
		return verb + "d"
	}
	return verb + "ed"
}
