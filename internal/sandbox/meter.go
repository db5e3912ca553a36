package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

// MeterEvent is what API v2 takes of a use that is metered.
type MeterEvent struct {
	Name       string
	Identifier string
	Payload    map[string]string
}

// MeterEvents takes uses. It adds nothing up: what it has is the thin events
// about those that no meter counts, or that no customer is named in.
func (s *Service) MeterEvents(ctx context.Context, c account.Caller, events []MeterEvent) error {
	if c.Scope.Live() {
		return fault.New(fault.Forbidden, "testmode_only", "Waybill takes meter events in test mode only. Use a test key (sk_test_…).")
	}
	session := &session{service: s, ctx: ctx, caller: c, now: s.now(), entries: map[string]*entry{}}
	meters, err := session.list(loadTable().byObject["billing.meter"], map[string]any{"status": "active"}, 0, 0, func(int) bool { return false })
	if err != nil {
		return toFault(err)
	}
	byName := map[string]*entry{}
	for _, m := range meters {
		name, _ := m.value["event_name"].(string)
		byName[name] = m
	}
	var orphans []MeterEvent
	anonymous := map[*entry][]MeterEvent{}
	for _, e := range events {
		m := byName[e.Name]
		if m == nil {
			orphans = append(orphans, e)
			continue
		}
		key, _ := lookup(m.value, "customer_mapping.event_payload_key").(string)
		if e.Payload[key] == "" {
			anonymous[m] = append(anonymous[m], e)
		}
	}
	if len(orphans) > 0 {
		session.report("v1.billing.meter.no_meter_found", "no_meter", "There is no active meter with this event name", orphans, []byte("null"), "")
	}
	for m, list := range anonymous {
		related := fmt.Appendf(nil, `{"id":%q,"type":"billing.meter","url":%q}`, m.id(), "/v1/billing/meters/"+m.id())
		session.report("v1.billing.meter.error_report_triggered", "meter_event_no_customer_defined", "The payload names no customer", list, related, m.id())
	}
	return toFault(session.save(answer{}))
}

// report drafts the thin event about meter events that did not count.
func (s *session) report(name, code, message string, events []MeterEvent, related []byte, meter string) {
	samples := make([]any, 0, len(events))
	for _, e := range events[:min(len(events), 10)] {
		samples = append(samples, map[string]any{"error_message": message + ": " + e.Name, "request": map[string]any{"identifier": e.Identifier}})
	}
	at := strings.Trim(string(event.AppendTime(nil, s.now)), `"`)
	data, _ := json.Marshal(map[string]any{ // strings and numbers always encode
		"developer_message_summary": fmt.Sprintf("%d meter events were not counted.", len(events)),
		"reason": map[string]any{"error_count": len(events), "error_types": []any{
			map[string]any{"code": code, "error_count": len(events), "sample_errors": samples},
		}},
		"validation_start": at, "validation_end": string(event.AppendTime(nil, s.now.Add(10*time.Second))),
	})
	s.drafts = append(s.drafts, &event.Draft{Type: name, Created: s.now, RelatedObject: related, ObjectID: meter, Data: data})
}
