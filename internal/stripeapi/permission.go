package stripeapi

import (
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/journal"
)

// permission is what a restricted key needs at an endpoint. A resource is one
// of account.Resources.
type permission struct {
	resource string
	access   account.Access
}

func reads(resource string) permission  { return permission{resource, account.Read} }
func writes(resource string) permission { return permission{resource, account.Write} }

// permit refuses a restricted key that lacks a permission. Where events are
// concerned a grant for some types is enough to come in; permitType then looks
// at each.
func (c *call) permit(caller *account.Caller, need permission) error {
	if caller.Grants == "" || caller.Grants.Allows(need.resource, need.access) || need.resource == "events" && caller.Grants.AllowsBelow(need.resource, need.access) {
		return nil
	}
	return lacks(caller, need)
}

func lacks(caller *account.Caller, need permission) error {
	return fault.New(fault.Forbidden, "more_permissions_required",
		"The API key %s does not have the required permission for this on account %s. Having the permission %s:%s would allow the request to continue.",
		caller.KeyHint, caller.AccountID, need.resource, need.access)
}

// ofType is what governs the events of a type: events/charge for charge.failed
// and v1.charge.failed.
func ofType(typ string) string {
	typ = strings.TrimPrefix(typ, "v1.")
	if i := strings.LastIndexByte(typ, '.'); i > 0 {
		typ = typ[:i]
	}
	return "events/" + typ
}

// permitTypes refuses a restricted key that may not use events of these types.
func permitTypes[T any](caller *account.Caller, access account.Access, all []T, typ func(T) string) error {
	if caller.Grants == "" {
		return nil
	}
	for _, one := range all {
		if need := (permission{ofType(typ(one)), access}); !caller.Grants.Allows(need.resource, access) {
			return lacks(caller, need)
		}
	}
	return nil
}

func draftType(d *event.Draft) string { return d.Type }

// permitList refuses a list of events of which some are none of the key's
// business: whoever may see some types has to name them.
func (c *call) permitList(types []string) error {
	grants := c.caller.Grants
	if grants == "" {
		return nil
	}
	if len(types) == 0 {
		types = []string{""}
	}
	for _, typ := range types {
		name := "events"
		if typ != "" && typ != "*" {
			name = ofType(typ)
		}
		if !grants.AllowsAll(name, account.Read) {
			return lacks(&c.caller, permission{name, account.Read})
		}
	}
	return nil
}

// event finds an event that the key may see.
func (c *call) event(kind event.Kind) (journal.View, error) {
	v, err := c.api.journal.Event(c.r.Context(), c.caller, c.arg, kind)
	if err != nil {
		return v, err
	}
	return v, permitTypes(&c.caller, account.Read, []string{v.Type}, func(typ string) string { return typ })
}
