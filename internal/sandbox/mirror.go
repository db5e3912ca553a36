package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// mirror returns an object as the newest event shows it, or nil. It is there
// for as long as that event is.
func (s *Service) mirror(ctx context.Context, scope event.Scope, object, id string) (map[string]any, error) {
	e, err := s.store.LatestMention(ctx, scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, err
	}
	var payload struct {
		Data struct{ Object map[string]any }
	}
	d := json.NewDecoder(strings.NewReader(string(e.Payload)))
	d.UseNumber() // as they were published
	if err := d.Decode(&payload); err != nil {
		return nil, fmt.Errorf("read event %s: %w", e.ID(), err)
	}
	if payload.Data.Object["object"] != object {
		return nil, nil //nolint:nilnil // an object of another kind is at another path
	}
	return payload.Data.Object, nil
}

// MirrorV2 answers GET of an object of API v2: /v2/core/accounts/acct_1 is a
// v2.core.account.
func (s *Service) MirrorV2(ctx context.Context, c account.Caller, path string) ([]byte, error) {
	absent := fault.NotFoundf("There is nothing at GET %s. Check the path; ids belong between its slashes.", path)
	at := strings.LastIndexByte(path, '/')
	kind, ok := singular(strings.ReplaceAll(strings.TrimPrefix(path[:at], "/"), "/", "."))
	if !ok || path[at+1:] == "" {
		return nil, absent
	}
	object, err := s.mirror(ctx, c.Scope, kind, path[at+1:])
	if err != nil {
		return nil, toFault(err)
	}
	if object == nil {
		return nil, absent
	}
	return json.Marshal(object)
}

const (
	// indexStep is how many events are noted at a time: about a millisecond of
	// the writer's time.
	indexStep = 250
	// indexShare is how much longer than a step the pause after it is, so that
	// publishers lose a twentieth of the writer at most, and what comes faster
	// is noted later.
	indexShare = 20
	// indexEvery is the pause when nothing is left to note.
	indexEvery = time.Second
)

// RunIndex notes which event shows which object, behind the log, until ctx
// ends. Publishing costs nothing of it, and nothing is lost without it.
func (s *Service) RunIndex(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		began := time.Now()
		n, err := s.store.IndexMentions(ctx, indexStep)
		if err != nil && ctx.Err() == nil {
			s.log.Error("objects are not indexed for the moment; retrieving them takes longer", "error", err)
		}
		pause := indexEvery
		if n >= indexStep {
			pause = indexShare * time.Since(began)
		}
		t.Reset(pause)
	}
}
