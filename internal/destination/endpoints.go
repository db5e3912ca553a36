package destination

import (
	"context"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Endpoint tells whether API v1 knows the destination, as a webhook endpoint.
func (d *Destination) Endpoint() bool {
	return d.Type == TypeWebhookEndpoint && d.Payload == event.Snapshot
}

// The ids of a destination in both APIs differ in their prefix only.
const (
	idPrefix         = "ed_"
	endpointIDPrefix = "we_"
)

// EndpointID is the id of the destination in API v1.
func (d *Destination) EndpointID() string {
	return endpointIDPrefix + strings.TrimPrefix(d.ID, idPrefix)
}

// IDOf returns the id of the destination that API v1 calls we_…. Any other id is
// returned as it is.
func IDOf(id string) string {
	if rest, ok := strings.CutPrefix(id, endpointIDPrefix); ok {
		return idPrefix + rest
	}
	return id
}

// Endpoints is List for those destinations that are Endpoint.
func (s *Service) Endpoints(ctx context.Context, c account.Caller, p ListParams) (store.Page[*Destination], error) {
	want := p.Limit
	var found store.Page[*Destination]
	for {
		// One more than is wanted tells whether there are more of this kind.
		p.Limit = MaxLimit
		page, err := s.List(ctx, c, p)
		if err != nil {
			return store.Page[*Destination]{}, err
		}
		kept := slices.DeleteFunc(slices.Clone(page.Items), func(d *Destination) bool { return !d.Endpoint() })
		if p.Newer != 0 {
			found.Items = append(kept, found.Items...)
		} else {
			found.Items = append(found.Items, kept...)
		}
		if len(found.Items) > want || !page.More {
			break
		}
		if p.Newer != 0 {
			p.Newer = page.Items[0].Number
		} else {
			p.Older = page.Items[len(page.Items)-1].Number
		}
	}
	if found.More = len(found.Items) > want; !found.More {
		return found, nil
	}
	if p.Newer != 0 {
		found.Items = found.Items[len(found.Items)-want:]
	} else {
		found.Items = found.Items[:want]
	}
	return found, nil
}
