package bus

import (
	"context"
	"maps"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/store"
)

// Tags returns the tags of a bus or a rule of the caller's.
func (s *Service) Tags(ctx context.Context, c account.AWSCaller, resourceARN string) (map[string]string, error) {
	var found map[string]string
	err := s.tagged(ctx, c, resourceARN, func(tags map[string]string) (map[string]string, bool) {
		found = tags
		return nil, false
	})
	return found, err
}

// Tag adds or replaces tags of a bus or a rule.
func (s *Service) Tag(ctx context.Context, c account.AWSCaller, resourceARN string, added map[string]string) error {
	var v checks
	v.tags(added)
	if err := v.err(); err != nil {
		return err
	}
	return s.tagged(ctx, c, resourceARN, func(tags map[string]string) (map[string]string, bool) {
		all := map[string]string{}
		maps.Copy(all, tags)
		maps.Copy(all, added)
		return all, true
	})
}

// Untag removes tags of a bus or a rule. One that there is not is no error.
func (s *Service) Untag(ctx context.Context, c account.AWSCaller, resourceARN string, keys []string) error {
	return s.tagged(ctx, c, resourceARN, func(tags map[string]string) (map[string]string, bool) {
		left := maps.Clone(tags)
		for _, k := range keys {
			delete(left, k)
		}
		return left, len(left) < len(tags)
	})
}

// tagged finds what an ARN names and gives it the tags that edit returns, if it
// reports true.
func (s *Service) tagged(ctx context.Context, c account.AWSCaller, text string, edit func(map[string]string) (map[string]string, bool)) error {
	var v checks
	v.length("resourceARN", text, 1, 1600)
	if err := v.err(); err != nil {
		return err
	}
	a, ok := ParseARN(text)
	if !ok || a.Service != "events" {
		return invalid("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", text)
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	mine := a.Account == c.AccountID && a.Region == c.Region
	switch kind {
	case "event-bus":
		if !mine {
			return notFound("Event bus %s does not exist.", name)
		}
		return again(func() error {
			r, doc, err := s.bus(ctx, c, name)
			if err != nil {
				return err
			}
			return s.retag(ctx, r, doc, &doc.Tags, edit)
		})
	case "rule":
		bus := DefaultBus
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			bus, name = name[:i], name[i+1:]
		}
		if !mine {
			return notFound("Rule %s does not exist on EventBus %s.", name, bus)
		}
		return again(func() error {
			r, doc, err := s.rule(ctx, c, bus, name)
			if err != nil {
				return err
			}
			return s.retag(ctx, r, doc, &doc.Tags, edit)
		})
	}
	return invalid("Parameter %s is not valid. Reason: only event buses and rules have tags.", text)
}

func (s *Service) retag(ctx context.Context, r *store.Resource, doc any, tags *map[string]string, edit func(map[string]string) (map[string]string, bool)) error {
	changed, write := edit(*tags)
	if !write {
		return nil
	}
	var v checks
	v.tags(changed)
	if err := v.err(); err != nil {
		return err
	}
	*tags = changed
	if err := put(r, doc); err != nil {
		return err
	}
	// Nothing is routed by tags.
	r.Updated = s.now().UTC()
	if err := s.store.ChangeResources(ctx, []*store.Resource{r}, true); err != nil {
		return failed("change tags", meanwhile(err))
	}
	return nil
}
