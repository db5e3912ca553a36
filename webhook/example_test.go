package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/waybill-dev/waybill/webhook"
)

func Example() {
	verifier, err := webhook.NewStripe(secret) // from the environment, and both while one replaces the other
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /hook", webhook.Handler(verifier, func(_ context.Context, e *webhook.Event) error {
		switch e.Type {
		case "invoice.paid":
			var invoice struct {
				ID    string
				Total json.Number
			}
			if err := json.Unmarshal(e.Object, &invoice); err != nil {
				return err
			}
			fmt.Println(invoice.ID, "is paid:", invoice.Total)
		default: // what you do not know is no error: there will be new types
		}
		return nil
	}))

	for range 2 { // the second is a duplicate
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, delivery(snapshot))
		fmt.Println(answer.Code)
	}
	// Output:
	// in_1 is paid: 1.50
	// 200
	// 200
}

func ExampleNewStandard() {
	// A shared secret, and the public key of a sender that signs with ed25519.
	verifier, err := webhook.NewStandard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
	if err != nil {
		log.Fatal(err)
	}
	verifier.Now = func() time.Time { return time.Unix(1614265330, 0) } // not in your program

	header := http.Header{}
	header.Set("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("Webhook-Timestamp", "1614265330")
	header.Set("Webhook-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")

	fmt.Println(verifier.Verify(header, []byte(`{"test": 2432232314}`)))
	err = verifier.Verify(header, []byte(`{"test":2432232314}`))
	fmt.Println(errors.Is(err, webhook.ErrBadSignature))
	// Output:
	// <nil>
	// true
}

func ExampleParse() {
	e, err := webhook.Parse([]byte(`{"id":"evt_1","object":"v2.core.event","type":"v1.invoice.paid","created":"2026-01-02T03:04:05.678Z",` +
		`"livemode":false,"related_object":{"id":"in_1","type":"invoice","url":"/v1/invoices/in_1"}}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Kind, e.Type, e.Created, e.RelatedObject.URL)
	// Output: thin v1.invoice.paid 2026-01-02 03:04:05.678 +0000 UTC /v1/invoices/in_1
}

func ExampleRetryAfter() {
	verifier, err := webhook.NewStripe(secret)
	if err != nil {
		log.Fatal(err)
	}
	hook := webhook.Handler(verifier, func(context.Context, *webhook.Event) error {
		return webhook.RetryAfter(time.Minute, errors.New("the warehouse is closed"))
	}, webhook.WithLogger(quiet))

	answer := httptest.NewRecorder()
	hook.ServeHTTP(answer, delivery(snapshot))
	fmt.Println(answer.Code, answer.Header().Get("Retry-After"))
	// Output: 503 60
}
