// Package inside owns the targets that lie in Waybill's own store: queues, log
// groups, archives. Their Send only prepares what is to be left there; the
// engine writes it in the transaction that records the attempt, so that it is
// there exactly once, whatever is killed when.
package inside

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
)

// Options find queues and log groups by their ARNs. An error means that no
// retry would help, and tells whoever owns the rule why.
type Options struct {
	Queue func(t event.QueueTarget, dedupID string, body []byte) (event.Deposit, error)
	Log   func(t event.LogTarget) (group int64, err error)
}

// Opener opens the three kinds of target.
func (o Options) Opener(t event.Target) (target.Target, error) {
	switch {
	case t.Kind == event.TargetQueue && t.Queue != nil:
		to := *t.Queue
		return prepare(func(m target.Message) (event.Deposit, error) { return o.Queue(to, m.EventID, m.Body) }), nil
	case t.Kind == event.TargetLog && t.Log != nil:
		to := *t.Log
		return prepare(func(m target.Message) (event.Deposit, error) {
			group, err := o.Log(to)
			return event.Deposit{Kind: event.IntoLog, Into: group, Body: m.Body}, err
		}), nil
	case t.Kind == event.TargetArchive && t.Archive != nil:
		into := t.Archive.Number
		return prepare(func(m target.Message) (event.Deposit, error) {
			return event.Deposit{Kind: event.IntoArchive, Into: into, Event: m.Event}, nil
		}), nil
	case t.Kind == event.TargetUnsupported:
		arn := t.Unsupported
		return prepare(func(target.Message) (event.Deposit, error) {
			return event.Deposit{}, errors.New("this installation cannot send to " + arn + "; give the rule a target it can reach, such as a queue or an API destination")
		}), nil
	}
	return nil, errors.New("open target: it names nothing inside this installation")
}

type prepare func(m target.Message) (event.Deposit, error)

// Send prepares the deposit.
func (p prepare) Send(ctx context.Context, m target.Message) target.Result {
	r := target.Result{Started: time.Now()}
	if ctx.Err() != nil {
		r.Interrupt()
		return r
	}
	d, err := p(m)
	r.Total = time.Since(r.Started)
	if err != nil {
		r.Class, r.Message, r.Permanent = event.ClassNoTarget, err.Error(), true
		return r
	}
	r.Deposit = &d
	return r
}
