package webhook

import (
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// refuse says what an answer means that is no success and no redirect.
func refuse(r *target.Result, wait time.Duration) {
	r.Class = event.ClassStatus
	r.Message = "The endpoint answered " + wire.StatusText(r.Status) + hint(r.Status)
	switch r.Status {
	case http.StatusGone:
		r.Class, r.Permanent = event.ClassGone, true
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		r.RetryAfter = wait
	}
}

func hint(status int) string {
	switch status {
	case http.StatusGone:
		return ": it is gone for good and gets no more events."
	case http.StatusUnauthorized, http.StatusForbidden:
		return "; let Waybill's requests through and check their signature instead."
	case http.StatusNotFound:
		return "; check the path of the destination's URL."
	case http.StatusMethodNotAllowed:
		return "; it must accept POST."
	case http.StatusRequestEntityTooLarge:
		return "; raise its limit for request bodies."
	}
	return "; only 2xx counts as delivered."
}
