package stripeapi

import (
	"context"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// Replays are Waybill's own resource, in the manner of API v2.

// Replays are the verbs of destination.Replays.
type Replays interface {
	Start(ctx context.Context, c account.Caller, destinationID string, p destination.ReplayParams) (*destination.Replay, error)
	List(ctx context.Context, c account.Caller, destinationID string, older int64, limit int) (journal.Page[*destination.Replay], error)
	Retrieve(ctx context.Context, c account.Caller, destinationID, id string) (*destination.Replay, error)
	Pause(ctx context.Context, c account.Caller, destinationID, id string) (*destination.Replay, error)
	Resume(ctx context.Context, c account.Caller, destinationID, id string) (*destination.Replay, error)
	Cancel(ctx context.Context, c account.Caller, destinationID, id string) (*destination.Replay, error)
}

type replayObject struct {
	ID               string       `json:"id"`
	Object           string       `json:"object"`
	EventDestination string       `json:"event_destination"`
	Status           string       `json:"status"`
	StatusReason     *string      `json:"status_reason"`
	Filters          replayFilter `json:"filters"`
	Throttle         *int         `json:"throttle"`
	Counts           replayCounts `json:"counts"`
	Progress         float64      `json:"progress"`
	Position         *string      `json:"position"`
	Created          string       `json:"created"`
	Updated          string       `json:"updated"`
	CompletedAt      *string      `json:"completed_at"`
	Livemode         bool         `json:"livemode"`
}

type replayFilter struct {
	Created struct {
		From string `json:"gte"`
		To   string `json:"lte"`
	} `json:"created"`
	Types  []string `json:"types"`
	States []string `json:"delivery_status"`
}

type replayCounts struct {
	Selected int64 `json:"selected"`
	Sent     int64 `json:"sent"`
	Skipped  int64 `json:"skipped"`
}

func newReplay(r *destination.Replay) replayObject {
	o := replayObject{
		ID: r.ID, Object: "waybill.replay", EventDestination: r.DestinationID, Status: r.Status, StatusReason: textOrNull(r.Reason),
		Filters: replayFilter{Types: r.Types, States: r.States}, Throttle: intOrNull(r.Throttle),
		// What is selected is enqueued in the same transaction.
		Counts:   replayCounts{Selected: r.Selected, Sent: r.Selected, Skipped: r.Skipped},
		Progress: r.Progress(), Created: timeText(r.Created), Updated: timeText(r.Updated), CompletedAt: timeOrNull(r.Completed),
		Livemode: r.Scope.Live(),
	}
	o.Filters.Created.From, o.Filters.Created.To = timeText(r.From), timeText(r.To)
	if o.Filters.Types == nil {
		o.Filters.Types = []string{}
	}
	if r.After != 0 {
		o.Position = timeOrNull(r.After.Time())
	}
	return o
}

func (c *call) startReplay() ([]byte, error) {
	var p destination.ReplayParams
	bound := func(read func(t time.Time)) field {
		return orNull(func(s *rawjson.Scanner, path string) error {
			t, err := moment(s, path)
			if err == nil {
				read(t)
			}
			return err
		})
	}
	const step = time.Millisecond // the finest that created shows
	err := c.readJSON(fields{
		"created": orNull(object(fields{
			"gte": bound(func(t time.Time) { p.From = later(p.From, t) }),
			"gt":  bound(func(t time.Time) { p.From = later(p.From, t.Truncate(step).Add(step)) }),
			"lte": bound(func(t time.Time) { p.To = earlier(p.To, t) }),
			"lt":  bound(func(t time.Time) { p.To = earlier(p.To, t.Add(-1).Truncate(step)) }),
		})),
		"types": orNull(func(s *rawjson.Scanner, path string) error {
			if err := texts(&p.Types)(s, path); err != nil {
				return err
			}
			for i, t := range p.Types {
				if err := checkTypeFilter(path+"["+strconv.Itoa(i)+"]", t, true); err != nil {
					return err
				}
			}
			return nil
		}),
		"delivery_status": orNull(func(s *rawjson.Scanner, path string) error {
			if s.Kind() == rawjson.Array {
				return texts(&p.States)(s, path)
			}
			p.States = make([]string, 1)
			return text(&p.States[0])(s, path)
		}),
		"throttle": orNull(func(s *rawjson.Scanner, _ string) (err error) {
			if p.Throttle, err = s.Int64(); err == nil && p.Throttle == 0 {
				p.Throttle = -1 // which no throttle is
			}
			return err
		}),
	})
	if err != nil {
		return nil, err
	}
	r, err := c.api.replays.Start(c.r.Context(), c.caller, c.arg, p)
	if err != nil {
		return nil, err
	}
	return encode(newReplay(r))
}

// moment reads a time: Unix seconds, or RFC 3339.
func moment(s *rawjson.Scanner, path string) (time.Time, error) {
	var written string
	if s.Kind() == rawjson.Number {
		n, err := s.Int64()
		if err != nil {
			return time.Time{}, badJSON(path, err)
		}
		written = strconv.FormatInt(n, 10)
	} else {
		var err error
		if written, err = s.String(); err != nil {
			return time.Time{}, badJSON(path, err)
		}
	}
	t, _, err := parseMoment(path, written)
	return t, err
}

func (c *call) listReplays() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	l, err := c.newListing("replays", q)
	if err != nil {
		return nil, err
	}
	if err := q.done("limit, page"); err != nil {
		return nil, err
	}
	page, err := c.api.replays.List(c.r.Context(), c.caller, c.arg, l.at.key, l.limit)
	if err != nil {
		return nil, err
	}
	reply := pageObject[replayObject]{Data: make([]replayObject, len(page.Items))}
	for i, r := range page.Items {
		reply.Data[i] = newReplay(r)
	}
	// This list is read forwards only.
	if page.More {
		reply.Next = l.url(cursor{key: page.Items[len(page.Items)-1].Number})
	}
	return encode(reply)
}

func (c *call) retrieveReplay() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	if err := q.done(""); err != nil {
		return nil, err
	}
	r, err := c.api.replays.Retrieve(c.r.Context(), c.caller, c.arg, c.arg2)
	if err != nil {
		return nil, err
	}
	return encode(newReplay(r))
}

func (c *call) pauseReplay() ([]byte, error)  { return c.turnReplay(c.api.replays.Pause) }
func (c *call) resumeReplay() ([]byte, error) { return c.turnReplay(c.api.replays.Resume) }
func (c *call) cancelReplay() ([]byte, error) { return c.turnReplay(c.api.replays.Cancel) }

func (c *call) turnReplay(verb func(ctx context.Context, c account.Caller, destinationID, id string) (*destination.Replay, error)) ([]byte, error) {
	if err := c.readJSON(fields{}); err != nil {
		return nil, err
	}
	r, err := verb(c.r.Context(), c.caller, c.arg, c.arg2)
	if err != nil {
		return nil, err
	}
	return encode(newReplay(r))
}
