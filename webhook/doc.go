// Package webhook receives Waybill's deliveries in your own Go program: it
// tells genuine ones from others, reads them, and sees to it that each event
// is handled once.
//
//	verifier, err := webhook.NewStripe(os.Getenv("WEBHOOK_SECRET"))
//	if err != nil {
//		log.Fatal(err)
//	}
//	http.Handle("POST /hook", webhook.Handler(verifier, func(ctx context.Context, e *webhook.Event) error {
//		switch e.Type {
//		case "invoice.paid":
//			return ship(ctx, e.Object) // an error: it will be delivered again
//		}
//		return nil
//	}))
//
// It needs nothing but the standard library, and works with any sender that
// signs as Stripe does ([NewStripe], which is how Waybill signs) or as
// Standard Webhooks specifies ([NewStandard]).
//
// # What Handler answers
//
//	2xx  the event was handled, now or before
//	400  the signature or the body is not what it should be; the log says why,
//	     the answer does not, since it may go to a stranger
//	405  no POST
//	413  the body is larger than allowed (WithMaxBody)
//	500  your function returned an error or panicked: Waybill tries again by
//	     its schedule
//	503  the same, but not before the time you asked for (RetryAfter)
//
// # Once
//
// A delivery can arrive twice: its answer may be lost, or the sender may have
// been killed before it noted the answer. [Handler] leaves out events that were
// handled, and lets a second delivery wait while the first is being handled.
// An event that failed is handled again when it is delivered again.
//
// What was handled is remembered in memory ([NewMemory]), unless you say where
// ([WithSeen]). Memory forgets when the program ends, and several programs
// behind one address do not share it. In an SQL database the memory and the
// effects of an event are committed in one transaction, and then handling is
// exactly once: see the example of [Seen].
//
// # Without Handler
//
// [Verifier.Event] verifies and reads a delivery, [Verifier.Verify] does no
// more than verify, [Parse] no more than read. Give them the body exactly as it
// was received: JSON that was parsed and encoded again has other bytes, and
// its signature does not match.
package webhook
