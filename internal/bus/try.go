package bus

import (
	"context"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/pattern"
)

// TestEventPattern tells whether an event matches a pattern.
func (s *Service) TestEventPattern(patternText, event string) (bool, error) {
	var v checks
	v.length("eventPattern", patternText, 1, maxPattern)
	v.required("event", event)
	if err := v.err(); err != nil {
		return false, err
	}
	p, err := parsePattern(patternText)
	if err != nil {
		return false, err
	}
	if pattern.CheckEvent([]byte(event)) != nil {
		return false, errEvent()
	}
	return p.Matches([]byte(event)), nil
}

func errEvent() error { return invalid("Parameter Event is not valid.") }

// Explain says field by field why an event matches a rule's pattern or does
// not. The event needs not be complete.
func (s *Service) Explain(ctx context.Context, c account.AWSCaller, bus, rule string, event []byte) (pattern.Explanation, error) {
	r, err := s.DescribeRule(ctx, c, bus, rule)
	if err != nil {
		return pattern.Explanation{}, err
	}
	if r.Pattern == "" {
		return pattern.Explanation{}, invalid("Rule %s has a schedule and no event pattern, so no event matches it.", rule)
	}
	p, err := parsePattern(r.Pattern)
	if err != nil {
		return pattern.Explanation{}, err
	}
	x, err := p.Explain(event)
	if err != nil {
		return pattern.Explanation{}, errEvent()
	}
	return x, nil
}

// GlobalEndpoint refuses what is about global endpoints: they switch between
// regions of AWS, of which an installation has none.
func (s *Service) GlobalEndpoint() error {
	return fault.New(fault.Invalid, codeUnsupported, "Waybill has no global endpoints: all regions are in one installation. Put events on the event bus itself.")
}
