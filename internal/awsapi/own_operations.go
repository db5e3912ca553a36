package awsapi

import (
	"context"

	"github.com/waybill-dev/waybill/internal/account"
)

// own are Waybill's additions to EventBridge, a service of their own so that
// nothing of AWS's can be taken for one. They are called as EventBridge's are,
// and signed for it.
func (a *api) own() *service {
	return &service{signing: "events", json: json11, operations: map[string]operation{"ExplainRule": a.explainRule}}
}

// explainRule says field by field why a rule takes an event or does not. Event
// is JSON in a text, as TestEventPattern has it.
func (a *api) explainRule(ctx context.Context, c account.AWSCaller, body []byte) (any, error) {
	in, err := decode[struct{ Rule, EventBusName, Event string }](body)
	if err != nil {
		return nil, err
	}
	return a.o.Buses.Explain(ctx, c, in.EventBusName, in.Rule, []byte(in.Event))
}
