package bus_test

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/transform"
)

func TestAnotherAccountsBusGetsNoInputOfARule(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	forged := `{"source":"aws.s3","account":"111122223333","detail-type":"x","detail":{}}`
	theirs := f.createBus(f.two, "theirs")
	f.putRule(f.one, "", "r", `{"source":["shop"]}`)
	for what, input := range map[string]transform.Input{
		"a constant": {Constant: &forged},
		"a path":     {Path: "$.detail"},
		"a template": {Template: forged},
	} {
		_, err := f.PutTargets(t.Context(), f.one, "", "r", []bus.Target{{ID: "1", ARN: theirs.ARN, Input: input}})
		if err == nil {
			t.Errorf("%s was taken", what)
		} else {
			wantFault(t, err, "ValidationException", "gets the event as it is")
		}
	}
	f.putTargets(f.one, "", "r", bus.Target{ID: "1", ARN: theirs.ARN})
}

func TestDenialsByAnyWildcardCount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.createBus(f.two, "shared")
	for action, denied := range map[string]bool{
		"*": true, "events:*": true, "events:Put*": true, "events:PutEvents": true, "EVENTS:putevents": true,
		"events:P*": true, "events:*Events": true, "e*": true, "events:PutEvent?": true,
		"events:PutRule": false, "events:Describe*": false, "sqs:*": false,
	} {
		if err := f.PutPermission(t.Context(), f.two, bus.NewPermission{Bus: "shared", Policy: `{"Version":"2012-10-17","Statement":[
			{"Sid":"all","Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"*"},
			{"Sid":"not","Effect":"Deny","Principal":"*","Action":"` + action + `","Resource":"*"}]}`}); err != nil {
			t.Fatal(err)
		}
		results, err := f.PutEvents(t.Context(), f.one, []bus.Entry{{Source: "s", DetailType: "t", Detail: []byte("{}"), Bus: b.ARN}})
		if err != nil {
			t.Fatal(err)
		}
		if got := results[0].Code == "AccessDeniedException"; got != denied {
			t.Errorf("%s denied: %t, want %t", action, got, denied)
		}
	}
}
