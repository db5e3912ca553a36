package sandbox

import (
	"regexp"
	"strconv"
	"strings"
)

// Parameters of API v1 are text. Which of them mean numbers follows from their
// names, which Stripe uses alike everywhere.
var (
	numberNames = regexp.MustCompile(`^(amount|quantity|created|unit_cost|exp_month|exp_year|iterations|frozen_time|date|timestamp|` +
		`interval_start|interval_end|limit|max_redemptions|duration_in_months|percent_off|percentage|position|day|month|year|up_to|balance|` +
		`tip|minimum|maximum|start|end|trial_end|cancel_at|billing_cycle_anchor|tos_acceptance_date|days_until_due|amount_.+|.+_amount|.+_at|.+_days|.+_count|.+_date)$`)
	number = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?$`)
)

// typed gives a parameter's text the type that its name asks for. What is below
// metadata stays text.
func typed(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if name != "metadata" {
				v[k] = typed(k, child)
			}
		}
	case []any:
		for i, child := range v {
			v[i] = typed(name, child)
		}
	case string:
		switch {
		case name == "metadata":
		case v == "true" || v == "false":
			return v == "true"
		case numberNames.MatchString(name) && number.MatchString(v):
			n, _ := strconv.ParseFloat(v, 64) // it matched
			return n
		}
	}
	return v
}

// input types the parameters of a request, and makes payment methods of the
// names of test cards.
func (s *session) input(params map[string]any) (map[string]any, error) {
	in := clone(params).(map[string]any) //nolint:forcetypeassert // a clone has its type
	for k, v := range in {
		if strings.HasPrefix(k, "_") { // the sandbox's own fields
			delete(in, k)
			continue
		}
		in[k] = typed(k, v)
	}
	if s.request.Method != Post { // reading makes nothing
		return in, nil
	}
	return in, s.mintAll(in)
}

func (s *session) mintAll(v any) error {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if name, ok := child.(string); ok && strings.HasPrefix(name, "pm_") && loadTable().cards[name] != nil {
				e, err := s.mint(name)
				if err != nil {
					return err
				}
				v[k] = e.id()
				continue
			}
			if err := s.mintAll(child); err != nil {
				return err
			}
		}
	case []any:
		for _, child := range v {
			if err := s.mintAll(child); err != nil {
				return err
			}
		}
	}
	return nil
}

// mint makes the payment method that the name of a test card stands for.
func (s *session) mint(name string) (*entry, error) {
	if e := s.minted[name]; e != nil {
		return e, nil
	}
	e, err := s.create(loadTable().byObject["payment_method"], map[string]any{"type": "card", "card": map[string]any{"token": name}})
	if err != nil {
		return nil, err
	}
	if s.minted == nil {
		s.minted = map[string]*entry{}
	}
	s.minted[name] = e
	return e, nil
}

// clone copies JSON values.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, child := range v {
			c[k] = clone(child)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, child := range v {
			c[i] = clone(child)
		}
		return c
	}
	return v
}
