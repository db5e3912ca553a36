package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// chunkSizes are the numbers of rows that one INSERT carries. A call into
// SQLite costs more than a row, so a batch is cut into the largest that fit.
var chunkSizes = [...]int{32, 8, 1}

// inserter writes rows of one table in chunks. Its buffers are reused: it
// belongs to the holder of the write mutex.
type inserter struct {
	columns int
	stmts   [len(chunkSizes)]*sql.Stmt
	args    []any
}

func (in *inserter) prepare(ctx context.Context, c *sql.Conn, head string, columns int, tail string) error {
	in.columns = columns
	for i, n := range chunkSizes {
		var err error
		if in.stmts[i], err = c.PrepareContext(ctx, head+" VALUES "+placeholders(n, columns)+tail); err != nil { //nolint:sqlclosecheck // statements.close does
			return err
		}
	}
	return nil
}

// reset forgets what an abandoned batch had added.
func (in *inserter) reset() {
	clear(in.args)
	in.args = in.args[:0]
}

func (in *inserter) add(values ...any) { in.args = append(in.args, values...) }

// flush writes what was added.
func (in *inserter) flush(ctx context.Context) error {
	args := in.args
	defer in.reset()
	for i, n := range chunkSizes {
		for len(args) >= n*in.columns {
			if _, err := in.stmts[i].ExecContext(ctx, args[:n*in.columns]...); err != nil {
				return err
			}
			args = args[n*in.columns:]
		}
	}
	return nil
}

// statements are prepared once on the writing connection.
type statements struct {
	all                                                 []*sql.Stmt
	begin, commit, rollback                             *sql.Stmt
	lane, mark, version, eventKey, idempotent, remember *sql.Stmt
	deleteRetry, holder                                 *sql.Stmt

	lastMessage, message, visible, inOrder, inFlight     *sql.Stmt
	takeMessage, hideMessage, deleteMessage, dropMessage *sql.Stmt
	copyMessage, dedup, rememberDedup, forgetDedups      *sql.Stmt

	events, attempts, retries, keys inserter
	messages, logEntries, archived  inserter
}

func (s *statements) prepare(ctx context.Context, c *sql.Conn) error {
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.rollback, "ROLLBACK"},
		{&s.lane, "SELECT epoch, watermark FROM lanes WHERE lane = ?"},
		{&s.mark, "UPDATE lanes SET watermark = ? WHERE lane = ?"},
		{&s.version, "SELECT config_version FROM installation"},
		{&s.eventKey, "SELECT seq, hash FROM event_keys WHERE scope = ? AND id = ?"},
		{&s.idempotent, "SELECT hash, result FROM idempotency WHERE scope = ? AND generation = ? AND key = ? AND created >= ?"},
		{&s.remember, "INSERT OR REPLACE INTO idempotency (scope, generation, key, hash, result, created) VALUES (?,?,?,?,?,?)"},
		{&s.deleteRetry, "DELETE FROM retries WHERE scope = ? AND seq = ? AND sub = ? AND run = ?"},
		{&s.holder, "SELECT kind FROM resources WHERE number = ? AND status <> 3"},
		{&s.lastMessage, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"},
		{&s.message, "SELECT " + messageColumns + " FROM messages WHERE id = ?"},
		{&s.visible, visibleQuery},
		{&s.inOrder, inOrderQuery},
		{&s.inFlight, inFlightQuery},
		{&s.takeMessage, "UPDATE messages SET visible_at = ?, receives = ?, receipt = ?, first_received = ? WHERE id = ?"},
		{&s.hideMessage, "UPDATE messages SET visible_at = ? WHERE id = ? AND queue = ? AND receipt = ? AND receives > 0"},
		{&s.deleteMessage, "DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ? AND receives > 0"},
		{&s.dropMessage, "DELETE FROM messages WHERE id = ?"},
		{&s.copyMessage, "INSERT INTO messages (" + messageColumns + `)
			SELECT ?, ?, ?, 0, 0, ?, 0, ?, CASE sequence WHEN 0 THEN 0 ELSE ? END, grp, dedup, message_id, attributes, body FROM messages WHERE id = ?`},
		{&s.dedup, "SELECT message_id, sequence FROM message_dedups WHERE queue = ? AND within = ? AND dedup = ? AND expires > ?"},
		{&s.rememberDedup, "INSERT OR REPLACE INTO message_dedups (queue, within, dedup, expires, message_id, sequence) VALUES (?,?,?,?,?,?)"},
		{&s.forgetDedups, "DELETE FROM message_dedups WHERE expires <= ?"},
	} {
		stmt, err := c.PrepareContext(ctx, p.sql) //nolint:sqlclosecheck // statements.close does
		if err != nil {
			return fmt.Errorf("prepare %q: %w", p.sql, classify(err))
		}
		*p.to = stmt
		s.all = append(s.all, stmt)
	}
	for _, p := range []struct {
		to         *inserter
		head, tail string
		columns    int
	}{
		{&s.events, "INSERT INTO events (seq, scope, kind, type, created, object_id, bus, hops, routes, cut, payload)", "", 11},
		{&s.attempts, "INSERT INTO attempts (seq, sub, run, n, scope, outcome, status, started, first_byte, total, next_at, class, detail)", " ON CONFLICT DO NOTHING", 13},
		{&s.retries, "INSERT OR REPLACE INTO retries (scope, seq, sub, run, n, next_at)", "", 6},
		{&s.keys, "INSERT INTO event_keys (scope, id, seq, hash)", "", 4},
		{&s.messages, "INSERT INTO messages (" + messageColumns + ")", "", 14},
		{&s.logEntries, "INSERT INTO log_entries (grp, time, stream, message)", "", 4},
		{&s.archived, "INSERT INTO archived (archive, time, seq, payload)", " ON CONFLICT DO NOTHING", 4},
	} {
		if err := p.to.prepare(ctx, c, p.head, p.columns, p.tail); err != nil {
			return fmt.Errorf("prepare %q: %w", p.head, classify(err))
		}
		s.all = append(s.all, p.to.stmts[:]...)
	}
	return nil
}

func (s *statements) close() {
	for _, stmt := range s.all {
		_ = stmt.Close()
	}
}

// OpenLane raises the lane's epoch and returns what the new owner finds.
func (db *DB) OpenLane(ctx context.Context, lane int) (store.LaneState, error) {
	state := store.LaneState{Lane: lane}
	err := db.tx(ctx, func(ctx context.Context) error {
		if _, err := db.write.ExecContext(ctx, `INSERT INTO lanes (lane, owner, epoch, lease_until, watermark) VALUES (?, '', 1, 0, 0)
			ON CONFLICT (lane) DO UPDATE SET epoch = epoch + 1`, lane); err != nil {
			return err
		}
		if err := db.write.QueryRowContext(ctx, "SELECT epoch, watermark FROM lanes WHERE lane = ?", lane).Scan(&state.Epoch, &state.Watermark); err != nil {
			return err
		}
		return db.write.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM events").Scan(&state.Last)
	})
	if err != nil {
		return state, fmt.Errorf("open lane %d: %w", lane, err)
	}
	// Retention may have dropped the newest events; what was given out before
	// the watermark must still not be given out again.
	state.Last = max(state.Last, state.Watermark)
	return state, nil
}

// Commit writes one batch.
func (db *DB) Commit(ctx context.Context, b *store.Batch) error {
	if err := db.tx(ctx, func(ctx context.Context) error { return db.commitBatch(ctx, b) }); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	return nil
}

// probeSize is what Probe writes: more than a small event needs.
const probeSize = 64 << 10

// Probe writes a row and removes it again, in transactions of their own, so
// that the room it found is there for events afterwards.
func (db *DB) Probe(ctx context.Context) error {
	for _, query := range []string{
		"DELETE FROM probe", // one that a killed process left behind
		fmt.Sprintf("INSERT INTO probe (filler) VALUES (zeroblob(%d))", probeSize),
		"DELETE FROM probe",
	} {
		if err := db.tx(ctx, func(ctx context.Context) error {
			_, err := db.write.ExecContext(ctx, query)
			return err
		}); err != nil {
			return fmt.Errorf("probe store: %w", err)
		}
	}
	return nil
}

func (db *DB) commitBatch(ctx context.Context, b *store.Batch) error {
	s := &db.stmts
	rows := []*inserter{&s.events, &s.keys, &s.attempts, &s.retries}
	for _, in := range rows {
		in.reset()
	}
	if err := s.checkLane(ctx, b); err != nil {
		return err
	}
	if len(b.Submissions) > 0 {
		var version int64
		if err := s.version.QueryRowContext(ctx).Scan(&version); err != nil {
			return err
		}
		if version != b.ConfigVersion {
			return store.ErrStaleRoutes
		}
	}
	for _, sub := range b.Submissions {
		if err := db.addSubmission(ctx, sub, b.Now); err != nil {
			return err
		}
	}
	for _, a := range b.Attempts {
		s.attempts.add(int64(a.Seq), a.Subscription, a.Run, a.N, int64(a.Scope), int(a.Outcome), a.Status, millis(a.Started),
			a.FirstByte.Microseconds(), a.Total.Microseconds(), millis(a.Next), string(a.Class), appendDetail(nil, a))
	}
	for i := range b.RetryPut {
		s.addRetry(&b.RetryPut[i])
	}
	for _, in := range rows {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	if len(b.Deposits) > 0 {
		if err := db.deposit(ctx, b.Deposits, b.Now); err != nil {
			return err
		}
	}
	for _, k := range b.RetryDelete {
		if _, err := s.deleteRetry.ExecContext(ctx, int64(k.Scope), int64(k.Seq), k.Subscription, k.Run); err != nil {
			return err
		}
	}
	return nil
}

// checkLane holds off an owner that was succeeded, and stores the watermark if
// it has moved. Nobody else can write meanwhile, so that reading the epoch is
// enough, and most batches leave the lane's page as it is.
func (s *statements) checkLane(ctx context.Context, b *store.Batch) error {
	var epoch, watermark int64
	err := s.lane.QueryRowContext(ctx, b.Lane).Scan(&epoch, &watermark)
	if errors.Is(err, sql.ErrNoRows) || err == nil && epoch != b.Epoch {
		return store.ErrFenced
	}
	if err != nil || int64(b.Watermark) <= watermark {
		return err
	}
	_, err = s.mark.ExecContext(ctx, int64(b.Watermark), b.Lane)
	return err
}

func (s *statements) addRetry(r *store.Retry) {
	s.retries.add(int64(r.Scope), int64(r.Seq), r.Subscription, r.Run, r.N, millis(r.Next))
}

// addSubmission checks a submission's keys and queues its rows. Idempotency
// records are written at once and queued event keys flushed first, so that a
// repeat within the same batch is seen too.
func (db *DB) addSubmission(ctx context.Context, sub *store.Submission, now time.Time) error {
	s := &db.stmts
	sub.Err, sub.Replayed, sub.Result, sub.Existing = nil, false, nil, nil
	if sub.Idempotency != nil {
		known, err := s.findIdempotent(ctx, sub.Idempotency, now)
		if err != nil {
			return err
		}
		if known != nil {
			if known.Hash == sub.Idempotency.Hash {
				sub.Replayed, sub.Result = true, known.Result
			} else {
				sub.Err = store.ErrIdempotencyMismatch
			}
			return nil
		}
	}
	if len(sub.Keys) > 0 {
		if err := s.keys.flush(ctx); err != nil {
			return err
		}
		if err := s.checkEventKeys(ctx, sub); err != nil || sub.Err != nil {
			return err
		}
	}
	for i, e := range sub.Events {
		if _, known := sub.Existing[i]; known {
			continue
		}
		s.events.add(int64(e.Seq), int64(e.Scope), int(e.Kind), e.Type, e.Created.UnixMilli(), e.ObjectID, e.Bus, e.Hops,
			event.AppendRoutes(make([]byte, 0, 4*len(e.Routes)), e.Routes), e.Cut, e.Payload)
		for _, r := range e.Routes {
			if r.Disposition == event.Parked {
				s.addRetry(&store.Retry{RetryKey: store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: r.Subscription}, Next: now})
			}
		}
	}
	for i := range sub.Retries {
		s.addRetry(&sub.Retries[i])
	}
	if sub.Idempotency != nil {
		return s.recordIdempotency(ctx, sub.Idempotency)
	}
	return nil
}

// checkEventKeys finds which of a submission's client-chosen ids are taken,
// and queues the others.
func (s *statements) checkEventKeys(ctx context.Context, sub *store.Submission) error {
	sub.Existing = map[int]event.Seq{}
	inThis := make(map[string]*store.EventKey, len(sub.Keys))
	for i := range sub.Keys {
		k := &sub.Keys[i]
		var seq int64
		var hash []byte
		err := s.eventKey.QueryRowContext(ctx, int64(sub.Events[k.Index].Scope), k.ID).Scan(&seq, &hash)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err != nil { // not in the table; perhaps earlier in this submission
			first, repeated := inThis[k.ID]
			if !repeated {
				inThis[k.ID] = k
				continue
			}
			seq, hash = int64(sub.Events[first.Index].Seq), first.Hash[:]
		}
		if string(hash) != string(k.Hash[:]) {
			sub.Err, sub.Existing = store.ErrEventMismatch, nil
			return nil
		}
		sub.Existing[k.Index] = event.Seq(seq)
		if k.Twin != 0 {
			sub.Existing[k.Twin] = 0
		}
	}
	for _, k := range inThis {
		e := sub.Events[k.Index]
		s.keys.add(int64(e.Scope), k.ID, int64(e.Seq), append([]byte(nil), k.Hash[:]...))
	}
	return nil
}

// findIdempotent returns the record of id's key, or nil.
func (s *statements) findIdempotent(ctx context.Context, id *store.Idempotency, now time.Time) (*store.Idempotency, error) {
	known := *id
	var hash []byte
	err := s.idempotent.QueryRowContext(ctx, int64(id.Scope), id.Generation, id.Key, millis(now.Add(-store.IdempotencyWindow))).Scan(&hash, &known.Result)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, err
	}
	copy(known.Hash[:], hash)
	return &known, nil
}

func (s *statements) recordIdempotency(ctx context.Context, id *store.Idempotency) error {
	_, err := s.remember.ExecContext(ctx, int64(id.Scope), id.Generation, id.Key, id.Hash[:], id.Result, millis(id.Created))
	return err
}

// appendDetail encodes what only a person reads of an attempt: message,
// headers, body. Nil when there is nothing.
func appendDetail(dst []byte, a *event.Attempt) []byte {
	if a.Message == "" && len(a.Headers) == 0 && len(a.Body) == 0 && !a.Truncated {
		return nil
	}
	flags := byte(0)
	if a.Truncated {
		flags = 1
	}
	dst = append(dst, flags)
	dst = appendText(dst, a.Message)
	dst = binary.AppendUvarint(dst, uint64(len(a.Headers)))
	for _, h := range a.Headers {
		dst = appendText(appendText(dst, h.Name), h.Value)
	}
	return append(dst, a.Body...)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parseDetail is the reverse of appendDetail.
func parseDetail(a *event.Attempt, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	a.Truncated = data[0]&1 != 0
	data = data[1:]
	var ok bool
	if a.Message, data, ok = cutText(data); !ok {
		return errDetail
	}
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)) {
		return errDetail
	}
	data = data[n:]
	a.Headers = make([]event.Header, count)
	for i := range a.Headers {
		if a.Headers[i].Name, data, ok = cutText(data); !ok {
			return errDetail
		}
		if a.Headers[i].Value, data, ok = cutText(data); !ok {
			return errDetail
		}
	}
	if len(data) > 0 {
		a.Body = data
	}
	return nil
}

var errDetail = errors.New("parse attempt: damaged detail")

func cutText(data []byte) (text string, rest []byte, ok bool) {
	n, w := binary.Uvarint(data)
	if w <= 0 || n > uint64(len(data)-w) {
		return "", nil, false
	}
	return string(data[w : w+int(n)]), data[w+int(n):], true
}
