package awsapi_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func TestExplainRule(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	f.rule("big", `{"detail":{"amount":[{"numeric":[">",100]}]}}`, types.Target{Arn: f.arn("sqs", "orders")})
	for _, tc := range []struct {
		in         in
		code, want string
	}{
		{in{"Rule": "big", "Event": `{"detail":{"amount":250}}`}, "", `{"matched":true,"branches":[{"matched":true,"fields":[{"path":"detail.amount","wanted":[{"numeric":[">",100]}],"saw":[250],"ok":true,`},
		{in{"Rule": "big", "EventBusName": "default", "Event": `{"detail":{"amount":5}}`}, "", `{"matched":false,`},
		{in{"Rule": "big", "Event": "no"}, codeValidation, `"message":"Parameter Event is not valid."`},
		{in{"Rule": "none", "Event": "{}"}, codeNotFound, "Rule none does not exist on EventBus default."},
	} {
		if code, answer := f.call("events", "Waybill.ExplainRule", tc.in); code != tc.code || !strings.Contains(string(answer), tc.want) {
			t.Errorf("%v: %s, want %s %s", tc.in, answer, tc.code, tc.want)
		}
	}
}
