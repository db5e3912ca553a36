package account

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// maxName is the longest name of an account or a key, in characters.
const maxName = 256

// NewAccount is an account to be made.
type NewAccount struct {
	Name string
	// TestKey and LiveKey are its first keys; "" has them generated.
	TestKey, LiveKey string
	// IsOrganization makes it an organisation.
	IsOrganization bool
	// Platform, Organization and SandboxOf are the ids of the accounts that it
	// is a connected account, a member or a sandbox of; "" is none.
	Platform, Organization, SandboxOf string
	// APIVersion labels its snapshots; "" is the installation's.
	APIVersion string
}

// Changes of an account; nil leaves as it is, and "" takes away.
type Changes struct{ Name, Platform, Organization, APIVersion *string }

// Create makes an account with the keys given, or generated for "". Its error
// is a fault for a name or key that cannot be used.
func (s *Service) Create(ctx context.Context, name, testKey, liveKey string) (*Created, error) {
	return s.CreateAccount(ctx, NewAccount{Name: name, TestKey: testKey, LiveKey: liveKey})
}

// CreateAccount makes an account. Its error is a fault for what cannot be used.
func (s *Service) CreateAccount(ctx context.Context, n NewAccount) (*Created, error) {
	created, err := s.create(ctx, n, false)
	if errors.Is(err, store.ErrExists) {
		return nil, fault.New(fault.Conflict, "api_key_exists",
			"One of these keys belongs to an account already. Give keys that are not in use, or none to have them generated.")
	}
	return created, err
}

func (s *Service) create(ctx context.Context, n NewAccount, onlyFirst bool) (*Created, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	prefix := "acct_"
	if n.IsOrganization {
		prefix = orgPrefix
	}
	p := &store.CreateAccount{Account: store.Account{ID: event.NewID(prefix, 16), Created: now}, OnlyFirst: onlyFirst}
	if err := s.place(ctx, &p.Account, &Changes{Name: &n.Name, Platform: &n.Platform, Organization: &n.Organization, APIVersion: &n.APIVersion}); err != nil {
		return nil, err
	}
	if n.SandboxOf != "" {
		of, err := s.find(ctx, "sandbox_of", n.SandboxOf, false)
		switch {
		case err != nil:
			return nil, err
		case of.SandboxOf != 0 || n.IsOrganization:
			return nil, fault.Invalidf("sandbox_of", "Only accounts have sandboxes: no organisation, and no other sandbox.")
		}
		p.Account.SandboxOf = of.Number
	}
	made := &Created{}
	for _, k := range []struct {
		param, given string
		live         bool
		out          *string
	}{{"test_key", n.TestKey, false, &made.TestKey}, {"live_key", n.LiveKey, true, &made.LiveKey}} {
		if k.live && n.SandboxOf != "" {
			if k.given != "" {
				return nil, fault.Invalidf(k.param, "A sandbox has no live mode. Leave the key out.")
			}
			continue
		}
		if k.given == "" {
			k.given = newKey(secretPrefix, k.live)
		}
		if err := checkKey(k.param, k.given, k.live); err != nil {
			return nil, err
		}
		*k.out = k.given
		p.Keys = append(p.Keys, store.APIKey{Hash: hashKey(k.given), Hint: hint(k.given), Created: now, Live: k.live})
	}
	if onlyFirst {
		p.Account.AWSID = s.firstAWSID
	}
	if id := p.Account.AWSID; id != "" && !isAWSID(id) {
		return nil, fault.Invalidf("bootstrap_aws_account_id", "An AWS account id has 12 digits. Give one like 123456789012, or none to have one drawn.")
	}
	if err := s.store.CreateAccount(doing(ctx, "account.create"), p); err != nil {
		return nil, failed("create account", err)
	}
	// Someone may have tried the keys before they were good.
	s.forget()
	made.Account = p.Account
	return made, nil
}

// Update changes an account, by its id.
func (s *Service) Update(ctx context.Context, id string, c Changes) (store.Account, error) {
	a, err := s.Find(ctx, id)
	if err != nil {
		return a, err
	}
	if err := s.place(ctx, &a, &c); err != nil {
		return a, err
	}
	var fields []string
	for _, f := range []struct {
		name  string
		given *string
	}{{"name", c.Name}, {"platform", c.Platform}, {"organization", c.Organization}, {"api_version", c.APIVersion}} {
		if f.given != nil {
			fields = append(fields, f.name)
		}
	}
	if err := s.store.UpdateAccount(doing(ctx, "account.update", fields...), &a); err != nil {
		return a, failed("update account", err)
	}
	s.forget()
	return a, nil
}

const orgPrefix = "org_"

func isOrganization(a *store.Account) bool { return strings.HasPrefix(a.ID, orgPrefix) }

// place applies changes that fit.
func (s *Service) place(ctx context.Context, a *store.Account, c *Changes) error {
	if c.Name != nil {
		if err := checkName(*c.Name); err != nil {
			return err
		}
		a.Name = *c.Name
	}
	if c.APIVersion != nil {
		if v := *c.APIVersion; v != "" && !event.IsAPIVersion(v) {
			return fault.Invalidf("api_version", "%q is not an API version. Give a date with or without a release name, such as 2026-03-25.dahlia.", v)
		}
		a.APIVersion = *c.APIVersion
	}
	for _, up := range []struct {
		param string
		given *string
		org   bool
		to    *int64
	}{{"platform", c.Platform, false, &a.Platform}, {"organization", c.Organization, true, &a.Organization}} {
		if up.given == nil {
			continue
		}
		*up.to = 0
		if *up.given == "" {
			continue
		}
		above, err := s.find(ctx, up.param, *up.given, up.org)
		switch {
		case err != nil:
			return err
		case isOrganization(a) || above.ID == a.ID:
			return fault.Invalidf(up.param, "%s cannot be below %s. Name another account.", a.ID, above.ID)
		}
		*up.to = above.Number
	}
	return nil
}

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "" || !utf8.ValidString(name):
		return fault.Invalidf("name", "The name is missing. Give a text of 1 to %d characters.", maxName)
	case utf8.RuneCountInString(name) > maxName:
		return fault.Invalidf("name", "The name is too long. Shorten it to at most %d characters.", maxName)
	}
	return nil
}

// find returns the account or the organisation that a parameter names.
func (s *Service) find(ctx context.Context, param, id string, org bool) (store.Account, error) {
	a, err := s.store.AccountByID(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return a, fault.Invalidf(param, "There is no account %q. See `waybill accounts list`.", id)
	case err != nil:
		return a, failed("find account", err)
	case isOrganization(&a) && !org:
		return a, fault.Invalidf(param, "%s is an organisation. Name an account, acct_….", id)
	case !isOrganization(&a) && org:
		return a, fault.Invalidf(param, "%s is an account. Name an organisation, org_….", id)
	}
	return a, nil
}

// Act returns the caller as it acts in an account below its own: by the
// account's id, or by the path to it such as org_x/acct_y. Its error is a fault
// that does not tell whether there is such an account.
func (s *Service) Act(ctx context.Context, c Caller, path string) (Caller, error) {
	at, id := c.Scope.Account(), c.AccountID
	acting := c
	for step := range strings.SplitSeq(path, "/") {
		if step == id {
			continue
		}
		a, err := s.account(ctx, step)
		if err != nil {
			return c, err
		}
		if a.Number == 0 || a.Platform != at && a.Organization != at || a.SandboxOf != 0 && c.Scope.Live() {
			return c, fault.New(fault.Forbidden, "account_invalid",
				"The API key belongs to %s, which has no account %q below it. Leave the header out, or send the id of a connected account or a member of the organization.", c.AccountID, path)
		}
		at, id = a.Number, a.ID
		acting.Scope, acting.AccountID, acting.APIVersion = event.NewScope(a.Number, c.Scope.Live()), a.ID, s.version(&a)
	}
	return acting, nil
}

// account finds one by its id, in memory for a short while. It is the zero
// account if there is none.
func (s *Service) account(ctx context.Context, id string) (store.Account, error) {
	hash, now := hashKey(id), s.now()
	if a, ok := s.related.get(hash, now); ok {
		return a, nil
	}
	before := s.changes.Load()
	a, err := s.store.AccountByID(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Account{}, nil
	case err != nil:
		return a, failed("find account", err)
	}
	if s.changes.Load() == before {
		s.related.put(hash, a, now)
	}
	return a, nil
}

func (s *Service) version(a *store.Account) string {
	if a.APIVersion == "" {
		return s.apiVersion
	}
	return a.APIVersion
}

// Load returns the place of the accounts that changed after a configuration
// version, and forgets what is remembered of keys if any did.
func (s *Service) Load(ctx context.Context, since int64) ([]event.Lineage, error) {
	changed, err := s.store.ChangedAccounts(ctx, since)
	if err != nil {
		return nil, failed("load accounts", err)
	}
	lineages := make([]event.Lineage, len(changed))
	for i, a := range changed {
		lineages[i] = event.Lineage{Account: a.Number, ID: a.ID, Platform: a.Platform, Organization: a.Organization}
	}
	if len(changed) > 0 {
		s.forget()
	}
	return lineages, nil
}

// forget clears what is remembered. What is being looked up meanwhile is not
// remembered either.
func (s *Service) forget() {
	s.changes.Add(1)
	s.known.clear()
	s.unknown.clear()
	s.related.clear()
	s.awsKnown.clear()
	s.awsUnknown.clear()
}

// doing names what is done in the audit log, whoever does it.
func doing(ctx context.Context, verb string, fields ...string) context.Context {
	var a store.Actor
	if by := store.ActorOf(ctx); by != nil {
		a = *by
	}
	a.Verb, a.Fields = verb, fields
	return store.WithActor(ctx, &a)
}
