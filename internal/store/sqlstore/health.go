package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

const healthColumns = "SELECT sub, last_success, warned, failures FROM destination_health"

// scanHealth reads healthColumns.
func scanHealth(scan func(...any) error) (store.Health, error) {
	var h store.Health
	var success, warned int64
	var failures string
	if err := scan(&h.Subscription, &success, &warned, &failures); err != nil {
		return h, err
	}
	h.LastSuccess, h.Warned = fromMillis(success), fromMillis(warned)
	var list [][2]int64
	if err := json.Unmarshal([]byte(failures), &list); err != nil {
		return h, fmt.Errorf("parse health: %w", err)
	}
	for _, f := range list {
		h.Failures = append(h.Failures, store.Failure{Event: event.Seq(f[0]), At: fromMillis(f[1])})
	}
	return h, nil
}

// Healths reads what is known of all destinations.
func (db *DB) Healths(ctx context.Context) ([]store.Health, error) {
	all, err := readHealths(ctx, db.Read, healthColumns)
	if err != nil {
		return nil, fmt.Errorf("read health: %w", db.ended(ctx, err))
	}
	return all, nil
}

func readHealths(ctx context.Context, c Conn, query string, args ...any) (all []store.Health, err error) {
	err = Each(ctx, c, func(scan func(...any) error) error {
		h, err := scanHealth(scan)
		all = append(all, h)
		return err
	}, query, args...)
	return all, err
}

// NoteHealth adds what one process saw.
func (db *DB) NoteHealth(ctx context.Context, seen []store.Health) ([]store.Health, error) {
	if len(seen) == 0 {
		return nil, nil
	}
	var known []store.Health
	err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		known = make([]store.Health, len(seen))
		if err := db.Lock(ctx, c, LockHealth); err != nil {
			return err
		}
		for i, s := range seen {
			was, err := readHealths(ctx, c, healthColumns+" WHERE sub = ?", s.Subscription)
			if err != nil {
				return err
			}
			known[i] = store.Health{Subscription: s.Subscription}.Add(s)
			if len(was) > 0 {
				known[i] = was[0].Add(s)
				if known[i].Equal(was[0]) {
					continue
				}
			}
			list := make([][2]int64, len(known[i].Failures))
			for n, f := range known[i].Failures {
				list[n] = [2]int64{int64(f.Event), Millis(f.At)}
			}
			failures, err := json.Marshal(list)
			if err != nil {
				return err
			}
			if _, err := c.ExecContext(ctx, `INSERT INTO destination_health (sub, last_success, warned, failures) VALUES (?,?,?,?)
				ON CONFLICT (sub) DO UPDATE SET last_success = excluded.last_success, warned = excluded.warned, failures = excluded.failures`,
				s.Subscription, Millis(known[i].LastSuccess), Millis(known[i].Warned), string(failures)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("note health: %w", err)
	}
	return known, nil
}

// ForgetHealth removes what is known of a destination.
func (db *DB) ForgetHealth(ctx context.Context, subscription int64) error {
	if err := db.Tx(ctx, func(ctx context.Context, c Conn) error {
		_, err := c.ExecContext(ctx, "DELETE FROM destination_health WHERE sub = ?", subscription)
		return err
	}); err != nil {
		return fmt.Errorf("forget health: %w", err)
	}
	return nil
}
