package bus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// trimBatch is how much one transaction removes: little enough that the
// committer does not wait for it.
const trimBatch = 500

// replayKept is how long a replay that has ended stays listed.
const replayKept = 90 * 24 * time.Hour

// TrimShelves removes what has outlived the retention of its archive or log
// group, and replays that ended long ago. It is to be called now and then; an
// error is not the end of anything, the next call goes on.
func (s *Service) TrimShelves(ctx context.Context) error {
	return errors.Join(
		trimKind(ctx, s, store.KindArchive, func(d *archiveDoc) int { return d.Retention }, s.store.TrimArchive),
		trimKind(ctx, s, store.KindLogGroup, func(d *logGroupDoc) int { return d.Retention }, s.store.TrimLog),
		s.forgetReplays(ctx),
	)
}

func trimKind[T any](
	ctx context.Context, s *Service, kind store.ResourceKind, retention func(*T) int,
	trim func(ctx context.Context, number int64, before time.Time, limit int) (int, error),
) error {
	all, err := s.everywhere(ctx, kind)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		doc, err := decode[T](r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		days := retention(doc)
		if days == 0 {
			continue
		}
		before := s.now().Add(-time.Duration(days) * 24 * time.Hour)
		for ctx.Err() == nil {
			n, err := trim(ctx, r.Number, before, trimBatch)
			if err != nil {
				errs = append(errs, failed("trim "+string(kind), err))
			}
			if err != nil || n < trimBatch {
				break
			}
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// everywhere lists all resources of a kind, of all accounts and regions.
func (s *Service) everywhere(ctx context.Context, kind store.ResourceKind) ([]*store.Resource, error) {
	page, err := s.store.ListResources(ctx, store.ListResources{AllScopes: true, AllRegions: true, Kind: kind, Parent: -1})
	if err != nil {
		return nil, failed("list "+string(kind), err)
	}
	return page.Items, nil
}

// pageOf lists a page of the resources at a place whose names begin with its
// name, by name, after one. next is the name to go on after, "" at the end. show
// may return nil, which leaves one out.
func pageOf[T, V any](
	ctx context.Context, s *Service, at store.ResourceKey, after string, limit int, show func(*store.Resource, *T) (*V, error),
) (shown []*V, next string, err error) {
	limit = pageSize(limit)
	for {
		page, err := s.store.ListResources(ctx, store.ListResources{
			Scope: at.Scope, Region: at.Region, Kind: at.Kind, Parent: at.Parent, Prefix: at.Name, After: after, Limit: limit,
		})
		if err != nil {
			return nil, "", failed("list "+string(at.Kind), err)
		}
		for i, r := range page.Items {
			doc, err := decode[T](r)
			if err != nil {
				return nil, "", err
			}
			v, err := show(r, doc)
			if err != nil {
				return nil, "", err
			}
			after = r.Name
			if v == nil {
				continue
			}
			if shown = append(shown, v); len(shown) == limit {
				if i == len(page.Items)-1 && !page.More {
					after = ""
				}
				return shown, after, nil
			}
		}
		if !page.More {
			return shown, "", nil
		}
	}
}

// pageSize is how much a page holds.
func pageSize(limit int) int {
	if limit <= 0 || limit > 100 {
		return 100
	}
	return limit
}

// busOf finds the caller's bus that an ARN names.
func (s *Service) busOf(ctx context.Context, c account.AWSCaller, text string) (*store.Resource, error) {
	a, ok := ParseARN(text)
	name, isBus := strings.CutPrefix(a.Resource, "event-bus/")
	if !ok || a.Service != "events" || !isBus {
		return nil, invalid("Parameter EventSourceArn is not valid. Reason: Must contain an event bus ARN.")
	}
	if a.Account != c.AccountID || a.Region != c.Region {
		return nil, notFound("Event bus %s does not exist.", name)
	}
	r, _, err := s.bus(ctx, c, name)
	return r, err
}

func exists(format string, args ...any) error {
	return fault.New(fault.Conflict, codeExists, format, args...)
}

func countSet(values ...string) int {
	n := 0
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	return n
}

func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

// bury marks a resource deleted, with what it sealed.
func bury(r *store.Resource) {
	r.Status, r.Secrets = event.Deleted, nil
}
