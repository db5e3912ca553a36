package destination

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/store"
)

// MaxOverlap is how long a replaced signing secret can go on signing.
const MaxOverlap = 24 * time.Hour

// maxSecrets bounds how many secrets sign at a time: each is a signature more
// in every request.
const maxSecrets = 5

// vault is what is sealed of a destination.
type vault struct {
	Signing []secret          `json:"signing"` // newest first
	Headers map[string]string `json:"headers,omitempty"`
	opened  []byte            // what it was read from
}

// secret is one signing secret. Several are live while one replaces another.
type secret struct {
	Secret  string    `json:"secret"`
	Key     []byte    `json:"key,omitempty"` // seed of an Ed25519 key; none if it was never needed
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero is never
}

func (s *secret) live(now time.Time) bool { return s.Expires.IsZero() || s.Expires.After(now) }

// needKey gives the secret a key to sign with, which it then keeps.
func (s *secret) needKey() {
	if s.Key == nil {
		s.Key = make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(s.Key) // never fails
	}
}

func (s *secret) privateKey() ed25519.PrivateKey {
	if len(s.Key) != ed25519.SeedSize {
		return nil
	}
	return ed25519.NewKeyFromSeed(s.Key)
}

// sealContext ties sealed secrets to their destination, so that those of one
// cannot be used for another by copying them in the database.
func sealContext(scope event.Scope, id string) []byte {
	return []byte("event_destination/" + strconv.FormatInt(int64(scope), 10) + "/" + id)
}

// seal puts a vault into its destination's row, unless it is as it was there.
// What holds no headers is written as a list alone, which earlier versions read.
func (s *Service) seal(row *store.Destination, v *vault) error {
	var doc any = v
	if len(v.Headers) == 0 {
		doc = v.Signing
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode signing secrets: %w", err)
	}
	if !bytes.Equal(plain, v.opened) {
		row.Secrets = s.key.Seal(plain, sealContext(row.Scope, row.ID))
	}
	return nil
}

// unseal returns a stored destination's vault. Its errors say nothing of what
// was sealed.
func (s *Service) unseal(row *store.Destination) (*vault, error) {
	plain, err := s.key.Open(row.Secrets, sealContext(row.Scope, row.ID))
	if err != nil {
		return nil, fmt.Errorf("open signing secrets of %s: %w", row.ID, err)
	}
	v := &vault{opened: plain}
	var doc any = v
	if bytes.HasPrefix(plain, []byte("[")) {
		doc = &v.Signing
	}
	if json.Unmarshal(plain, doc) != nil { // its error could quote the plaintext
		return nil, fmt.Errorf("decode signing secrets of %s: not a list of secrets", row.ID)
	}
	slices.SortStableFunc(v.Signing, func(a, b secret) int { return b.Created.Compare(a.Created) })
	now := s.now()
	v.Signing = slices.DeleteFunc(v.Signing, func(one secret) bool { return !one.live(now) })
	if len(v.Signing) == 0 {
		return nil, fmt.Errorf("open signing secrets of %s: none is live", row.ID)
	}
	return v, nil
}

// signing returns the secrets as the target signs with them.
func (v *vault) signing() []event.Secret {
	secrets := make([]event.Secret, len(v.Signing))
	for i := range v.Signing {
		one := &v.Signing[i]
		secrets[i] = event.Secret{Text: one.Secret, Key: one.privateKey(), Until: one.Expires}
	}
	return secrets
}

// RollSecret gives a webhook endpoint a new signing secret and returns the
// destination with it, which nothing shows again but the replay of the same
// idempotent request. Every older secret signs beside it for as long as overlap,
// at most MaxOverlap, and no longer than it would have.
func (s *Service) RollSecret(ctx context.Context, c account.Caller, id string, overlap time.Duration) (*Destination, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return nil, fault.Invalidf("expires_after", "The old secret can go on signing for 0 to %d seconds.", int(MaxOverlap/time.Second))
	}
	idem, err := s.record(c, id)
	if err != nil {
		return nil, err
	}
	var rolled *Destination
	earlier, err := s.once(ctx, idem, func() error {
		var err error
		rolled, err = s.change(ctx, c.Scope, id, idem, func(d *Destination, row *store.Destination) error {
			return s.roll(d, row, overlap)
		})
		return err
	})
	if err != nil || earlier == "" {
		return rolled, err
	}
	return s.withSecret(ctx, c.Scope, earlier)
}

func (s *Service) roll(d *Destination, row *store.Destination, overlap time.Duration) error {
	if d.Type != TypeWebhookEndpoint {
		return fault.Invalidf("type", "A destination of type %s has no signing secret.", d.Type)
	}
	v, err := s.unseal(row)
	if err != nil {
		if row.Secrets != nil && overlap > 0 {
			return err
		}
		v = &vault{} // what cannot be opened is replaced
	}
	now := s.timestamp()
	fresh := secret{Secret: sign.NewSecret(), Created: now}
	d.PreviousSecretsEnd = time.Time{}
	if overlap == 0 {
		v.Signing = nil
	}
	for i := range v.Signing {
		old := &v.Signing[i]
		if end := now.Add(overlap); old.Expires.IsZero() || old.Expires.After(end) {
			old.Expires = end
		}
		if old.Expires.After(d.PreviousSecretsEnd) {
			d.PreviousSecretsEnd = old.Expires
		}
		if !old.Created.Before(fresh.Created) { // a clock that jumped back
			fresh.Created = old.Created.Add(time.Millisecond)
		}
	}
	if len(v.Signing) >= maxSecrets {
		return fault.New(fault.Invalid, "too_many_signing_secrets",
			"%d secrets sign for this destination already. Wait until one of them ends, or roll with expires_after 0.", len(v.Signing))
	}
	v.Signing = slices.Insert(v.Signing, 0, fresh)
	if err := d.Settings.fitSecrets(v); err != nil {
		return err
	}
	d.SigningSecret = fresh.Secret
	return s.seal(row, v)
}

// withSecret reads a destination with its newest signing secret.
func (s *Service) withSecret(ctx context.Context, scope event.Scope, id string) (*Destination, error) {
	row, err := s.read(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	d, err := decode(row)
	if err != nil || d.Type != TypeWebhookEndpoint {
		return d, err
	}
	v, err := s.unseal(row)
	if err != nil {
		return nil, err
	}
	d.SigningSecret = v.Signing[0].Secret
	return d, nil
}

// overlaps are the destinations whose replaced secrets will end, by id, as of
// the last Load.
type overlaps struct {
	mu   sync.Mutex
	byID map[string]overlap
}

type overlap struct {
	scope event.Scope
	ends  time.Time
}

// take takes up a change that was loaded.
func (o *overlaps) take(scope event.Scope, d *Destination) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d.PreviousSecretsEnd.IsZero() {
		delete(o.byID, d.ID)
		return
	}
	if o.byID == nil {
		o.byID = map[string]overlap{}
	}
	o.byID[d.ID] = overlap{scope, d.PreviousSecretsEnd}
}

func (o *overlaps) over(now time.Time) map[string]event.Scope {
	o.mu.Lock()
	defer o.mu.Unlock()
	over := map[string]event.Scope{}
	for id, one := range o.byID {
		if !one.ends.After(now) {
			over[id] = one.scope
		}
	}
	return over
}

// DropSecrets removes replaced secrets that have ended from the store. They
// sign nothing any more, whether it is called or not.
func (s *Service) DropSecrets(ctx context.Context) error {
	var errs []error
	for id, scope := range s.overlaps.over(s.now()) {
		_, err := s.change(ctx, scope, id, nil, func(d *Destination, row *store.Destination) error {
			if d.PreviousSecretsEnd.After(s.now()) {
				return nil
			}
			v, err := s.unseal(row)
			if err != nil {
				return err
			}
			d.PreviousSecretsEnd = time.Time{}
			return s.seal(row, v)
		})
		if !isNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
