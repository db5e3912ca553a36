package webhook

import (
	"net/http"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// judge decides what an answer means. A refusal stands by its status alone,
// but a 2xx only counts once its body has ended or was long enough: broken, why
// it has not, is returned then.
func judge(r *target.Result, a *wire.Answer) (broken error) {
	switch {
	case a.Status >= 200 && a.Status <= 299:
		return a.Broken
	case a.Status >= 300 && a.Status <= 399:
		r.Class = event.ClassRedirect
		r.Message = wire.RedirectMessage(a.Status, a.Location)
		return nil
	case a.Status == http.StatusGone:
		r.Class = event.ClassGone
		r.Permanent = true
	default:
		r.Class = event.ClassStatus
	}
	r.Message = "The endpoint answered " + wire.StatusText(a.Status) + hint(a.Status)
	if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
		r.RetryAfter = retry.ParseRetryAfter(a.RetryAfter, r.Started.Add(r.FirstByte))
	}
	return nil
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
