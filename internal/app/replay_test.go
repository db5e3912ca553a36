package app_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// replay is what the API tells of one.
type replay struct {
	ID, Status   string
	StatusReason string `json:"status_reason"`
	Progress     float64
	CompletedAt  *string `json:"completed_at"`
	Counts       struct{ Selected, Sent, Skipped int }
}

func (c client) replay(destination string, body object) replay {
	c.t.Helper()
	var r replay
	c.post("/v2/core/event_destinations/"+destination+"/replay", body).ok().into(&r)
	return r
}

func (c client) awaitReplay(destination, id, status string) replay {
	c.t.Helper()
	var r replay
	until(c.t, "the replay is "+status, func() bool {
		c.get("/v2/core/event_destinations/" + destination + "/replays/" + id).ok().into(&r)
		return r.Status == status
	})
	return r
}

// What a destination did not get can be sent again in bulk: what failed, and
// what was discarded while it was disabled, in a range, of some types.
func TestReplaySendsWhatWasNotDelivered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var broken atomic.Bool
	r := newReceiver(t, func(post) reply {
		if broken.Load() {
			return reply{status: http.StatusInternalServerError}
		}
		return reply{}
	})
	d := s.destination(r, "/a", object{"retry_schedule": []int{}})
	s.awaitDelivery(s.publish(customer("customer.created", "cus_0")), "delivered")
	broken.Store(true)
	var missed []string
	for i := range 5 {
		id := s.publish(customer("customer.updated", fmt.Sprint("cus_", i)))
		s.awaitDelivery(id, "failed")
		missed = append(missed, id)
	}
	s.post("/v2/core/event_destinations/"+d+"/disable", object{}).ok()
	for i := range 300 {
		id := s.publish(customer("customer.deleted", fmt.Sprint("cus_", i)))
		missed = append(missed, id)
	}
	s.post("/v2/core/event_destinations/"+d+"/replay", object{}).refused(http.StatusBadRequest, "disabled", "Enable it")
	s.post("/v2/core/event_destinations/"+d+"/enable", object{}).ok()
	broken.Store(false)
	before := len(r.received("/a"))

	made := s.with("Idempotency-Key", "once").replay(d, object{"types": []string{"customer.up*"}})
	if again := s.with("Idempotency-Key", "once").replay(d, object{"types": []string{"customer.up*"}}); again.ID != made.ID {
		t.Errorf("the same request made %s and %s", made.ID, again.ID)
	}
	s.with("Idempotency-Key", "once").post("/v2/core/event_destinations/"+d+"/replay", object{}).refused(http.StatusConflict, "other parameters")
	if got := s.awaitReplay(d, made.ID, "completed"); got.Counts.Sent != 5 || got.Counts.Skipped != 0 || got.Progress != 1 || got.CompletedAt == nil {
		t.Errorf("%+v, want 5 sent", got)
	}
	made = s.replay(d, object{"delivery_status": "discarded"})
	if got := s.awaitReplay(d, made.ID, "completed"); got.Counts.Sent != 300 || got.Counts.Skipped != 6 {
		t.Errorf("%+v, want 300 sent and 6 skipped", got)
	}
	until(t, "all arrive", func() bool { return len(r.received("/a")) == before+305 })
	if got := r.received("/a")[before:]; !same(got, missed) {
		t.Errorf("%d arrived, which are not those that were missed", len(got))
	}
	for _, id := range missed {
		s.awaitDelivery(id, "delivered")
	}
	if got := s.get("/v2/core/event_destinations/" + d + "/replays?limit=1").ok(); len(got.ids()) != 1 || got.ids()[0] != made.ID || got.at("next_page_url") == nil {
		t.Errorf("listed: %s", got.body)
	}
	s.post("/v2/core/event_destinations/"+d+"/replays/"+made.ID+"/pause", object{}).refused(http.StatusBadRequest, "has ended")
	s.as(liveKey).get("/v2/core/event_destinations/"+d+"/replays/"+made.ID).refused(http.StatusNotFound, "No such replay")
}

// A replay has the destination's retries, and a pause, a restart and another
// disabling in its way change nothing of what it sends.
func TestReplayGoesOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var fails atomic.Int32
	r := newReceiver(t, func(post) reply {
		if fails.Add(-1) >= 0 {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{}
	})
	d := s.destination(r, "/a", object{"retry_schedule": []int{1}})
	path := "/v2/core/event_destinations/" + d
	s.post(path+"/disable", object{}).ok()
	var missed []string
	for i := range 40 {
		missed = append(missed, s.publish(customer("customer.created", fmt.Sprint("cus_", i))))
	}
	s.post(path+"/enable", object{}).ok()
	fails.Store(3)
	made := s.replay(d, object{"throttle": 20})
	until(t, "it moves", func() bool {
		var now replay
		s.get(path + "/replays/" + made.ID).ok().into(&now)
		return now.Counts.Sent > 4
	})
	s.post(path+"/replays/"+made.ID+"/pause", object{}).ok()
	s.restart()
	if got := s.awaitReplay(d, made.ID, "paused"); got.Counts.Sent >= 40 || got.Progress == 1 {
		t.Errorf("%+v: it did not pause", got)
	}
	s.post(path+"/replays/"+made.ID+"/resume", object{}).ok()
	s.post(path+"/disable", object{}).ok()
	if got := s.awaitReplay(d, made.ID, "paused"); got.StatusReason != "destination_disabled" {
		t.Errorf("%+v, want a reason", got)
	}
	s.post(path+"/replays/"+made.ID+"/resume", object{}).refused(http.StatusBadRequest, "disabled")
	s.post(path+"/enable", object{}).ok()
	s.post(path+"/replays/"+made.ID+"/resume", object{}).ok()
	s.restart()
	if got := s.awaitReplay(d, made.ID, "completed"); got.Counts.Sent != 40 {
		t.Errorf("%+v, want 40 sent", got)
	}
	// What was on its way when it was disabled may have been discarded again.
	s.awaitReplay(d, s.replay(d, object{}).ID, "completed")
	for _, id := range missed {
		s.awaitDelivery(id, "delivered")
	}
	made = s.replay(d, object{"delivery_status": []string{"all"}, "throttle": 1})
	s.post(path+"/replays/"+made.ID+"/cancel", object{}).ok()
	s.awaitReplay(d, made.ID, "canceled")
}

// On several nodes one carries a replay out, whichever is asked, and when it
// stops another one goes on.
func TestReplayOnNodes(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 3)
	r := newReceiver(t, nil)
	d := nodes[0].destination(r, "/a", object{})
	path := "/v2/core/event_destinations/" + d
	nodes[1].post(path+"/disable", object{}).ok()
	const missed = 400
	var events []object
	for i := range missed {
		events = append(events, customer("customer.created", fmt.Sprint("cus_", i)))
	}
	for i, n := range nodes {
		n.post("/v2/core/events", batch(events[i*missed/3:(i+1)*missed/3]...)).ok()
	}
	nodes[2].post(path+"/enable", object{}).ok()
	made := nodes[2].replay(d, object{"throttle": 100})
	until(t, "it moves", func() bool {
		var now replay
		nodes[1].get(path + "/replays/" + made.ID).ok().into(&now)
		return now.Counts.Sent > missed/10
	})
	nodes[0].stop()
	if got := nodes[1].awaitReplay(d, made.ID, "completed"); got.Counts.Sent != missed {
		t.Errorf("%+v, want %d sent", got, missed)
	}
	until(t, "all is delivered", func() bool { return len(nodes[2].deliveries("status=pending&limit=1")) == 0 })
	if left := nodes[2].deliveries("status=discarded"); len(left) > 0 {
		t.Errorf("%d were not sent", len(left))
	}
}
