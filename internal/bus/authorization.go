package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// SetAuthorizer gives the service a way to ask an authorization server for a
// first token. refused means that asking again cannot help; err says why there
// is no token, without secrets. Without an authorizer connections stay
// AUTHORIZING.
func (s *Service) SetAuthorizer(ask func(ctx context.Context, e Endpoint) (refused bool, err error)) {
	s.works.authorizer = ask
}

// connectionsChanged makes changed connections count at once.
func (s *Service) connectionsChanged() {
	s.works.endpoints.forget()
	s.works.authorizations.ring()
}

// takeConnection takes up a change that was loaded. One that waits for its
// first try begins it; the outcome of a try, which is a change too, does not
// lead to the next.
func (s *Service) takeConnection(r *store.Resource) error {
	s.works.endpoints.forget()
	if isDeleted(r) {
		return nil
	}
	doc, err := decode[connectionDoc](r)
	if err == nil && doc.State == ConnectionAuthorizing && doc.Reason == "" {
		s.works.authorizations.ring()
	}
	return err
}

// Connections that could not be authorized are tried again after this.
const (
	authorizeAgain   = 30 * time.Second
	authorizeAtATime = 8
)

// RunConnections authorizes connections until ctx ends. A connection that a
// process before left AUTHORIZING is taken up again.
func (s *Service) RunConnections(ctx context.Context) {
	for {
		if err := s.authorizeWaiting(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("connections could not be authorized; trying again soon", "error", err)
		}
		if !s.works.authorizations.wait(ctx, authorizeAgain) {
			return
		}
	}
}

// authorizeWaiting tries each connection that is AUTHORIZING once.
func (s *Service) authorizeWaiting(ctx context.Context) error {
	if s.works.authorizer == nil {
		return nil
	}
	all, err := s.everywhere(ctx, store.KindConnection)
	if err != nil {
		return err
	}
	// At a time, because an endpoint that does not answer takes a while.
	var wg sync.WaitGroup
	turns := make(chan struct{}, authorizeAtATime)
	errs := make([]error, len(all))
	for i, r := range all {
		doc, err := decode[connectionDoc](r)
		if errs[i] = err; err != nil || doc.State != ConnectionAuthorizing {
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			errs[i] = s.authorizeOne(ctx, r, doc)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Service) authorizeOne(ctx context.Context, r *store.Resource, doc *connectionDoc) error {
	var e Endpoint
	if err := s.addCredentials(&e, r, doc); err != nil {
		return err
	}
	refused, err := s.works.authorizer(ctx, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	before := *doc
	switch {
	case err == nil:
		doc.State, doc.Reason, doc.Authorized = ConnectionAuthorized, "", s.now().UTC().Truncate(time.Millisecond)
	case refused:
		doc.State, doc.Reason = ConnectionDeauthorized, err.Error()
	default:
		doc.Reason = err.Error()
	}
	if before.State == doc.State && before.Reason == doc.Reason {
		return nil
	}
	if err := put(r, doc); err != nil {
		return err
	}
	// A conflict means that it was changed meanwhile, which rang the bell.
	if err := s.change(ctx, r); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	s.works.endpoints.forget()
	return nil
}
