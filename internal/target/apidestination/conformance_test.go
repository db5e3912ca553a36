package apidestination_test

import (
	"net/http"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/apidestination"
	"github.com/waybill-dev/waybill/internal/target/targettest"
)

const destinationARN = "arn:aws:events:us-east-1:123456789012:api-destination/shop/1"

// open returns a target that resolves to what endpoint returns, and may reach
// this machine.
func open(tb testing.TB, endpoint func() apidestination.Endpoint, to event.APIDestinationTarget, o apidestination.Options) (*apidestination.Client, target.Target) {
	tb.Helper()
	o.Guard.AllowPrivate = true
	return openGuarded(tb, endpoint, to, o)
}

func openGuarded(tb testing.TB, endpoint func() apidestination.Endpoint, to event.APIDestinationTarget, o apidestination.Options) (*apidestination.Client, target.Target) {
	tb.Helper()
	o.Resolve = func(scope event.Scope, arn string) (apidestination.Endpoint, error) {
		if scope != to.Scope || arn != destinationARN {
			tb.Errorf("asked for %s of %d", arn, scope)
		}
		return endpoint(), nil
	}
	c := apidestination.New(o)
	tb.Cleanup(c.Close)
	to.ARN = destinationARN
	t, err := c.Open(event.Target{Kind: event.TargetAPIDestination, APIDestination: &to})
	if err != nil {
		tb.Fatal(err)
	}
	return c, t
}

func always(e apidestination.Endpoint) func() apidestination.Endpoint {
	return func() apidestination.Endpoint { return e }
}

// Not parallel: the suite measures memory.
func TestConformance(t *testing.T) {
	targettest.RunHTTP(t, targettest.HTTPHarness{Open: func(t *testing.T, e targettest.Endpoint) target.Target {
		_, to := openGuarded(t, always(apidestination.Endpoint{URL: e.URL, Method: http.MethodPost}), event.APIDestinationTarget{},
			apidestination.Options{Guard: e.Guard, Timeout: e.Timeout, RootCAs: e.RootCAs})
		return to
	}})
}
