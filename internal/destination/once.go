package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// result is what an idempotency record remembers: which destination the
// request made or changed.
type result struct {
	ID string `json:"event_destination"`
}

// record returns the idempotency record of a request about a destination, or
// nil for a request without a key.
func (s *Service) record(c account.Caller, id string) (*store.Idempotency, error) {
	if c.IdempotencyKey == "" {
		return nil, nil
	}
	res, err := json.Marshal(result{id})
	if err != nil {
		return nil, fmt.Errorf("encode idempotency record: %w", err)
	}
	return &store.Idempotency{
		Scope: c.Scope, Generation: c.Generation, Key: c.IdempotencyKey, Hash: c.RequestHash,
		Result: res, Created: s.now(),
	}, nil
}

// once calls do, unless idem says that the request was carried out before:
// then it returns the id of the destination that it was about. do writes idem
// in the transaction of its change.
func (s *Service) once(ctx context.Context, idem *store.Idempotency, do func() error) (earlier string, err error) {
	if idem == nil {
		return "", do()
	}
	if earlier, err = s.recorded(ctx, idem); earlier != "" || err != nil {
		return earlier, err
	}
	err = do()
	f := fault.As(err)
	if !errors.Is(err, store.ErrExists) && (f == nil || f.Kind != fault.NotFound) {
		return "", err
	}
	// The same request may have come in twice, and the other one may have
	// been carried out since the look above: its record is then in the way,
	// or what it deleted is no longer found.
	if earlier, lookErr := s.recorded(ctx, idem); earlier != "" || lookErr != nil {
		return earlier, lookErr
	}
	return "", err
}

// recorded returns the id of the destination that a request with idem's key
// was about, "" if there was none, and a fault if it was another request.
func (s *Service) recorded(ctx context.Context, idem *store.Idempotency) (string, error) {
	seen, err := s.store.Idempotent(ctx, idem.Scope, idem.Generation, idem.Key, idem.Created)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", failed("look up idempotency key", err)
	}
	if seen.Hash != idem.Hash {
		return "", keyReused()
	}
	var res result
	if err := json.Unmarshal(seen.Result, &res); err != nil || res.ID == "" {
		// The hash covers method and path, so nobody but us wrote this.
		return "", fmt.Errorf("read idempotency record: it names no event destination")
	}
	return res.ID, nil
}

func keyReused() error {
	return fault.New(fault.Idempotency, "idempotency_error",
		"This idempotency key was used for a request with other parameters. Use a new key for a new request.")
}

// failed makes a store's error ours: a fault if the caller can do something
// about it, else wrapped for the log.
func failed(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return fault.Unavailablef(fmt.Errorf("%s: %w", doing, err),
			"Waybill cannot reach its database right now. Send the request again in a moment, with the same idempotency key if it had one.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func notFound(scope event.Scope, id string) error {
	if scope.Live() && strings.HasPrefix(id, "ed_test_") {
		return fault.NotFoundf("No such event destination: %s. This is an id of test mode, but the request was made with a live mode key.", show(id))
	}
	return fault.NotFoundf("No such event destination: %s. Check the id, and that the key is of the account and mode it was made in.", show(id))
}
