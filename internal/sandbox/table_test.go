package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// Every name that a step mentions is one.
func TestTable(t *testing.T) {
	t.Parallel()
	table := loadTable()
	if len(table.resources) < 40 || len(table.events) < 265 || len(table.cards) < 50 {
		t.Fatalf("%d resources, %d events, %d cards", len(table.resources), len(table.events), len(table.cards))
	}
	actions := map[string]bool{"update": true, "delete": true}
	for _, r := range table.resources {
		for name := range r.Actions {
			actions[name] = true
		}
	}
	for _, r := range table.resources {
		t.Run(strings.ReplaceAll(r.Path, "/", "_"), func(t *testing.T) {
			t.Parallel()
			check := &checker{t: t, table: table, resource: r, actions: actions}
			check.template(r.Defaults)
			check.steps(r.Create)
			check.steps(r.Update)
			check.steps(r.Delete)
			for _, steps := range r.Actions {
				check.steps(steps)
			}
			if r.Prefix == "" && !r.Single && table.byObject[r.Object] == nil {
				t.Errorf("there is no %q to show", r.Object)
			}
		})
	}
}

type checker struct {
	t        *testing.T
	table    *table
	resource *resource
	actions  map[string]bool
}

func (c *checker) steps(steps []step) {
	for i := range steps {
		st := &steps[i]
		c.steps(st.Then)
		c.steps(st.Else)
		for key := range st.If {
			if _, operator, _ := strings.Cut(key, " "); !slices.Contains([]string{"", "!=", "<", ">="}, operator) {
				c.t.Errorf("condition %q", key)
			}
		}
		for _, object := range []string{st.Make, st.Each} {
			if object != "" && c.table.byObject[object] == nil {
				c.t.Errorf("there is no %q", object)
			}
		}
		// Inside of each, this is another object.
		if st.Do != "" && !c.actions[st.Do] {
			c.t.Errorf("there is no action %q", st.Do)
		}
		if name := st.Emit; name != "" && !strings.HasPrefix(name, ".") && !c.table.events[name] {
			c.t.Errorf("there is no event %q", name)
		}
		for _, v := range []any{st.If, st.Set, st.Append, st.Var, st.On, st.With, st.Where, st.Of, st.Answer, st.Refuse} {
			c.template(v)
		}
	}
}

func (c *checker) template(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if strings.HasPrefix(k, "$") && functions[k] == nil {
				c.t.Errorf("there is no function %q", k)
			}
			c.template(child)
		}
	case []any:
		for _, child := range v {
			c.template(child)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, object, id, action string }{
		{"/v1/payment_intents", "payment_intent", "", ""},
		{"/v1/payment_intents/pi_1/capture", "payment_intent", "pi_1", "capture"},
		{"/v1/customers/cus_1", "customer", "cus_1", ""},
		{"/v1/customers/cus_1/sources", "card", "", ""},
		{"/v1/customers/cus_1/sources/card_1", "card", "card_1", ""},
		{"/v1/customers/cus_1/discount", "customer", "cus_1", "discount"},
		{"/v1/test_helpers/customers/cus_1/fund_cash_balance", "customer", "cus_1", "fund_cash_balance"},
		{"/v1/test_helpers/test_clocks/clock_1", "test_helpers.test_clock", "clock_1", ""},
		{"/v1/issuing/cards/ic_1/test/authorizations", "issuing.card", "ic_1", "test/authorizations"},
		{"/v1/payment_pages/cs_1/confirm", "checkout.session", "cs_1", "confirm"},
		{"/v1/tax/registrations/taxreg_1", "tax.registration", "taxreg_1", ""},
		{"/v1/reviews", "review", "", ""},
		{"/v1/country_specs/us", "country_spec", "us", ""},
		{"/v1/addresses", "address", "", ""},
		{"/v1/entries", "entry", "", ""},
	} {
		found := find(tt.path)
		if found == nil {
			t.Errorf("%s: nothing", tt.path)
			continue
		}
		if got := [3]string{found.Object, found.id, found.action}; got != [3]string{tt.object, tt.id, tt.action} {
			t.Errorf("%s: %v", tt.path, got)
		}
	}
	if found := find("/v1/customers/cus_1/sources"); found.parents["customer"] != "cus_1" {
		t.Errorf("parents %v", found.parents)
	}
}
