package account

import (
	"context"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// Resources are what a restricted key can be granted access to. Below events
// are their types: events/charge is about charge.failed and its like.
var Resources = []string{
	"audit_log", "deliveries", "event_destinations", "events", "objects", "replays", "stripecli_sessions", "webhook_endpoints",
}

// maxOverlap is for how long a key can be good after it was rolled.
const maxOverlap = 7 * 24 * time.Hour

// Key is an API key as it may be shown.
type Key struct {
	ID   string // key_…
	Hint string // sk_test_…x7Qa
	Name string
	Live bool
	// Grants is what a restricted key may do; "" is a secret key.
	Grants   Grants
	Created  time.Time
	Expires  time.Time // zero is never
	LastUsed time.Time // to about an hour; zero is never

	hash [32]byte
}

// NewKey is a key to be made.
type NewKey struct {
	Name string
	Live bool
	// Restricted keys may do only what Allow says, such as events:read.
	Restricted bool
	Allow      []string
	Expires    time.Time // zero is never
}

// CreateKey gives an account a key, whose text is not shown again.
func (s *Service) CreateKey(ctx context.Context, a store.Account, n NewKey) (text string, made Key, err error) {
	prefix := secretPrefix
	var grants Grants
	switch {
	case n.Live && a.SandboxOf != 0:
		return "", made, fault.Invalidf("live", "%s is a sandbox and has no live mode. Make a test key.", a.ID)
	case !n.Restricted && len(n.Allow) > 0:
		return "", made, fault.Invalidf("allow", "A secret key may do everything. Make it a restricted key.")
	case n.Restricted && len(n.Allow) == 0:
		return "", made, fault.Invalidf("allow", "Say what the key may do, such as events:read.")
	case n.Restricted:
		prefix = restrictedPrefix
		if grants, err = ParseGrants(n.Allow, Resources); err != nil {
			return "", made, fault.Invalidf("allow", "%v.", err)
		}
	}
	if n.Name != "" {
		if err := checkName(n.Name); err != nil {
			return "", made, err
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(s.now()) {
		return "", made, fault.Invalidf("expires", "The key would have expired already. Give a time to come.")
	}
	text = newKey(prefix, n.Live)
	row := s.newRow(text, &store.APIKey{Live: n.Live, Name: n.Name, Grants: string(grants), Expires: n.Expires})
	if err := s.changeKeys(doing(ctx, "api_key.create"), &store.ChangeKeys{Account: a.Number, Add: row}); err != nil {
		return "", made, err
	}
	return text, shown(row), nil
}

// newRow is a key like another.
func (s *Service) newRow(text string, like *store.APIKey) *store.APIKey {
	return &store.APIKey{
		Hash: hashKey(text), Live: like.Live, Hint: hint(text), Name: like.Name, Grants: like.Grants,
		Created: s.now().UTC().Truncate(time.Millisecond), Expires: like.Expires,
	}
}

func shown(k *store.APIKey) Key {
	return Key{
		ID: keyID(k.Hash), Hint: k.Hint, Name: k.Name, Live: k.Live, Grants: Grants(k.Grants),
		Created: k.Created, Expires: k.Expires, LastUsed: k.LastUsed, hash: k.Hash,
	}
}

func (s *Service) changeKeys(ctx context.Context, p *store.ChangeKeys) error {
	if err := s.store.ChangeKeys(ctx, p); err != nil {
		return failed("change keys", err)
	}
	s.forget()
	return nil
}

// ListKeys returns an account's API keys, oldest first, those that expired too.
func (s *Service) ListKeys(ctx context.Context, account int64) ([]Key, error) {
	rows, err := s.store.KeysOf(ctx, account)
	if err != nil {
		return nil, failed("list keys", err)
	}
	keys := make([]Key, len(rows))
	for i := range rows {
		keys[i] = shown(&rows[i])
	}
	return keys, nil
}

// goodKey finds a key of an account that has not expired, by its id or itself.
func (s *Service) goodKey(ctx context.Context, account int64, id string) (Key, error) {
	keys, err := s.ListKeys(ctx, account)
	if err != nil {
		return Key{}, err
	}
	for _, k := range keys {
		if k.ID != id && k.hash != hashKey(id) {
			continue
		}
		if !k.Expires.IsZero() && !k.Expires.After(s.now()) {
			return k, fault.Invalidf("key", "The key %s (%s) has expired or was revoked already.", k.ID, k.Hint)
		}
		return k, nil
	}
	if !strings.HasPrefix(id, "key_") {
		return Key{}, fault.NotFoundf("The account has no such key. Give its id, key_…; see `waybill keys list`.")
	}
	return Key{}, fault.NotFoundf("The account has no key %s. See `waybill keys list`.", id)
}

// RollKey gives an account another key in the place of one, which stays good
// for overlap.
func (s *Service) RollKey(ctx context.Context, account int64, id string, overlap time.Duration) (text string, made Key, err error) {
	if overlap < 0 || overlap > maxOverlap {
		return "", made, fault.Invalidf("overlap", "The overlap must be between 0 and %s.", maxOverlap)
	}
	old, err := s.goodKey(ctx, account, id)
	if err != nil {
		return "", made, err
	}
	end := s.now().Add(overlap)
	if !old.Expires.IsZero() && old.Expires.Before(end) {
		end = old.Expires
	}
	text = newKey(old.Hint[:len(secretPrefix)], old.Live)
	row := s.newRow(text, &store.APIKey{Live: old.Live, Name: old.Name, Grants: string(old.Grants)})
	err = s.changeKeys(doing(ctx, "api_key.roll"), &store.ChangeKeys{Account: account, Add: row, End: &old.hash, At: end})
	if err != nil {
		return "", made, err
	}
	return text, shown(row), nil
}

// RevokeKey makes a key useless: at once here, within about a second on other
// nodes.
func (s *Service) RevokeKey(ctx context.Context, account int64, id string) (Key, error) {
	k, err := s.goodKey(ctx, account, id)
	if err != nil {
		return k, err
	}
	k.Expires = s.now()
	return k, s.changeKeys(doing(ctx, "api_key.revoke"), &store.ChangeKeys{Account: account, End: &k.hash, At: k.Expires})
}
