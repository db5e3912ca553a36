package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlstore"
)

// Each statement writes any number of rows, given as one array a column.
const (
	beginBatch = "SELECT waybill_commit($1, $2, $3, $4, $5, $6, $7)"
	putEvents  = `INSERT INTO events (scope, seq, created, bus, cut, kind, hops, type, object_id, routes, payload)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::smallint[], $7::smallint[], $8::text[], $9::text[], $10::bytea[], $11::bytea[])`
	putKeys        = "INSERT INTO event_keys (scope, id, seq, hash) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])"
	putIdempotency = `INSERT INTO idempotency (scope, generation, key, hash, result, created)
		SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[])`
	putAttempts = `INSERT INTO attempts (scope, seq, sub, run, started, first_byte, total, next_at, n, status, outcome, class, detail)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
			$9::int[], $10::int[], $11::smallint[], $12::text[], $13::bytea[]) ON CONFLICT DO NOTHING`
	// Written in SQLite's way, as the transactions of package sqlstore are.
	putRetries = `INSERT INTO retries (scope, seq, sub, run, next_at, grp, n, lane, turn)
		SELECT *, CASE WHEN r.grp <> 0 THEN nextval('retry_turns') ELSE 0 END
		FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::int[], ?::int[]) AS r (scope, seq, sub, run, next_at, grp, n, lane)
		ON CONFLICT (scope, seq, sub, run) DO UPDATE SET next_at = excluded.next_at, n = excluded.n, lane = excluded.lane`
	// Who gives out turns in a group holds its lock, in the space of locks with
	// two keys. All take several in the same order.
	lockGroups  = "SELECT pg_advisory_xact_lock(k.sub, k.grp) FROM unnest($1::int[], $2::int[]) AS k (sub, grp)"
	dropRetries = `DELETE FROM retries r USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS d (scope, seq, sub, run)
		WHERE r.scope = d.scope AND r.seq = d.seq AND r.sub = d.sub AND r.run = d.run`

	// What a deposit goes into may have been deleted; then it goes with it.
	putMessages = `INSERT INTO messages (queue, visible_at, receipt, sent, first_received, source, sequence, receives, grp, dedup, message_id, attributes, body)
		SELECT d.queue, d.visible_at, 0, $6, 0, 0, 0, 0, '', '', d.message_id, d.attributes, d.body
		FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[]) AS d (queue, visible_at, message_id, attributes, body)
		JOIN resources ON resources.number = d.queue AND resources.kind = 'queue' AND resources.status <> 3`
	putEntries = `INSERT INTO log_entries (grp, time, stream, message)
		SELECT d.grp, $3, '', d.message FROM unnest($1::bigint[], $2::bytea[]) AS d (grp, message)
		JOIN resources ON resources.number = d.grp AND resources.kind = 'log-group' AND resources.status <> 3`
	putArchived = `INSERT INTO archived (archive, time, seq, payload)
		SELECT d.archive, d.time, d.seq, d.payload FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS d (archive, time, seq, payload)
		JOIN resources ON resources.number = d.archive AND resources.kind = 'archive' AND resources.status <> 3 ON CONFLICT DO NOTHING`
)

// retryRows are rows of retries, by column.
type retryRows struct {
	scope, seq, sub, run, next, group []int64
	n, lane                           []int32
	at                                map[store.RetryKey]int
}

// add puts a row; a later one with the same key replaces it, as one statement
// cannot write a row twice.
func (rows *retryRows) add(r *store.Retry, lane int) {
	if rows.at == nil {
		rows.at = map[store.RetryKey]int{}
	}
	if i, known := rows.at[r.RetryKey]; known {
		rows.next[i], rows.n[i], rows.lane[i] = sqlstore.Millis(r.Next), int32(r.N), int32(lane)
		return
	}
	rows.at[r.RetryKey] = len(rows.scope)
	rows.scope = append(rows.scope, int64(r.Scope))
	rows.seq = append(rows.seq, int64(r.Seq))
	rows.sub = append(rows.sub, r.Subscription)
	rows.run = append(rows.run, int64(r.Run))
	rows.next = append(rows.next, sqlstore.Millis(r.Next))
	rows.group = append(rows.group, r.Group)
	rows.n = append(rows.n, int32(r.N))
	rows.lane = append(rows.lane, int32(lane))
}

func (rows *retryRows) args() []any {
	return []any{rows.scope, rows.seq, rows.sub, rows.run, rows.next, rows.group, rows.n, rows.lane}
}

// locks are those of the groups in rows that are new, sorted.
func (rows *retryRows) locks() (subs, groups []int32) {
	var keys [][2]int32
	for i, group := range rows.group {
		if group != 0 && rows.n[i] == 0 {
			keys = append(keys, [2]int32{int32(rows.sub[i]), int32(group)})
		}
	}
	slices.SortFunc(keys, func(a, b [2]int32) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for _, k := range slices.Compact(keys) {
		subs, groups = append(subs, k[0]), append(groups, k[1])
	}
	return subs, groups
}

// Commit writes one batch in one round trip. Only the keys that clients chose
// are looked up before; should another node write one of them meanwhile, the
// insert fails and it begins again.
func (db *DB) Commit(ctx context.Context, b *store.Batch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.commitTimeout())
	defer cancel()
	b.Number = rand.Int64() //nolint:gosec // tells batches apart and guards nothing
	for {
		err := db.commitBatch(ctx, b)
		if metAnother(err) || keyTaken(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("commit batch: %w", err)
		}
		return nil
	}
}

// keyTaken says that another node wrote a client's key since it was looked up.
func keyTaken(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == stateUnique && (pe.ConstraintName == "event_keys_pkey" || pe.ConstraintName == "idempotency_pkey")
}

func (db *DB) commitBatch(ctx context.Context, b *store.Batch) error {
	conn, err := db.commits.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Close() //nolint:errcheck // it goes back to its pool
	w := &writer{db: db, b: b}
	if err := w.decide(ctx, rebound{conn}); err != nil {
		return classify(err)
	}
	fifo := w.queue()
	if len(fifo) == 0 {
		return outcome(send(ctx, conn, &w.batch))
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	if err = send(ctx, conn, &w.batch); err == nil {
		// FIFO queues look at what they were sent before: there are few of
		// them, and each takes its lock.
		err = db.Deposit(ctx, rebound{tx}, fifo, b.Now)
	}
	if err != nil {
		_ = tx.Rollback()
		return classify(err)
	}
	return outcome(tx.Commit())
}

// send carries out all statements as one transaction, unless one is open.
func send(ctx context.Context, conn *sql.Conn, batch *pgx.Batch) error {
	return onConn(conn, func(c *pgx.Conn) error { return c.SendBatch(ctx, batch).Close() })
}

// outcome tells of a failed commit whether it is certain that it failed: an
// error that PostgreSQL reports, and that leaves the connection as it is, is.
func outcome(err error) error {
	var pe *pgconn.PgError
	if err == nil || errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR" || pgconn.SafeToRetry(err) {
		return classify(err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnknown, err)
}

// writer makes the statements of one batch.
type writer struct {
	db    *DB
	b     *store.Batch
	batch pgx.Batch

	knownKeys map[clientKey]keyed
	knownIdem map[idemKey]*store.Idempotency
	keys      []newKey
	idem      []*store.Idempotency
	accepted  []*store.Submission
}

type clientKey struct {
	scope event.Scope
	id    string
}

type keyed struct {
	seq  event.Seq
	hash [32]byte
}

type newKey struct {
	clientKey
	keyed
}

type idemKey struct {
	scope      event.Scope
	generation int
	key        string
}

// decide finds out which submissions are repeats or conflicts.
func (w *writer) decide(ctx context.Context, c sqlstore.Conn) error {
	if err := w.lookUp(ctx, c); err != nil {
		return err
	}
	for _, sub := range w.b.Submissions {
		sub.Err, sub.Replayed, sub.Result, sub.Existing = nil, false, nil, nil
		if id := sub.Idempotency; id != nil {
			if known := w.knownIdem[idemKey{id.Scope, id.Generation, clean(id.Key)}]; known != nil {
				if known.Hash == id.Hash {
					sub.Replayed, sub.Result = true, known.Result
				} else {
					sub.Err = store.ErrIdempotencyMismatch
				}
				continue
			}
		}
		if len(sub.Keys) > 0 && !w.decideKeys(sub) {
			continue
		}
		if id := sub.Idempotency; id != nil {
			w.knownIdem[idemKey{id.Scope, id.Generation, clean(id.Key)}] = id
			w.idem = append(w.idem, id)
		}
		w.accepted = append(w.accepted, sub)
	}
	return nil
}

// decideKeys finds which of a submission's client-chosen ids are taken, and
// takes the others; false if one is taken by something else.
func (w *writer) decideKeys(sub *store.Submission) bool {
	sub.Existing = map[int]event.Seq{}
	own := map[clientKey]keyed{}
	var fresh []newKey
	for i := range sub.Keys {
		k := &sub.Keys[i]
		e := sub.Events[k.Index]
		key := clientKey{e.Scope, clean(k.ID)}
		known, taken := w.knownKeys[key]
		if !taken {
			known, taken = own[key]
		}
		if !taken {
			own[key] = keyed{e.Seq, k.Hash}
			fresh = append(fresh, newKey{key, keyed{e.Seq, k.Hash}})
			continue
		}
		if known.hash != k.Hash {
			sub.Err, sub.Existing = store.ErrEventMismatch, nil
			return false
		}
		sub.Existing[k.Index] = known.seq
		for i := range k.Followers {
			sub.Existing[k.Index+1+i] = 0
		}
	}
	for _, k := range fresh {
		w.knownKeys[k.clientKey] = k.keyed
	}
	w.keys = append(w.keys, fresh...)
	return true
}

// lookUp reads what is known of the keys in the batch.
func (w *writer) lookUp(ctx context.Context, c sqlstore.Conn) error {
	w.knownKeys, w.knownIdem = map[clientKey]keyed{}, map[idemKey]*store.Idempotency{}
	var scopes, idemScopes []int64
	var ids, keys []string
	var generations []int16
	for _, sub := range w.b.Submissions {
		for i := range sub.Keys {
			scopes = append(scopes, int64(sub.Events[sub.Keys[i].Index].Scope))
			ids = append(ids, clean(sub.Keys[i].ID))
		}
		if id := sub.Idempotency; id != nil {
			idemScopes = append(idemScopes, int64(id.Scope))
			generations = append(generations, int16(id.Generation))
			keys = append(keys, clean(id.Key))
		}
	}
	if len(ids) > 0 {
		if err := sqlstore.Each(ctx, c, func(scan func(...any) error) error {
			var k newKey
			var hash []byte
			err := scan(&k.scope, &k.id, &k.seq, &hash)
			copy(k.hash[:], hash)
			w.knownKeys[k.clientKey] = k.keyed
			return err
		}, "SELECT k.scope, k.id, k.seq, k.hash FROM unnest(?::bigint[], ?::text[]) AS a (scope, id) JOIN event_keys k ON k.scope = a.scope AND k.id = a.id", scopes, ids); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return sqlstore.Each(ctx, c, func(scan func(...any) error) error {
		var id store.Idempotency
		var hash []byte
		err := scan(&id.Scope, &id.Generation, &id.Key, &hash, &id.Result)
		copy(id.Hash[:], hash)
		w.knownIdem[idemKey{id.Scope, id.Generation, id.Key}] = &id
		return err
	}, `SELECT i.scope, i.generation, i.key, i.hash, i.result FROM unnest(?::bigint[], ?::smallint[], ?::text[]) AS a (scope, generation, key)
		JOIN idempotency i ON i.scope = a.scope AND i.generation = a.generation AND i.key = a.key WHERE i.created >= ?`,
		idemScopes, generations, keys, w.forgotten())
}

func (w *writer) forgotten() int64 { return sqlstore.Millis(w.b.Now.Add(-store.IdempotencyWindow)) }

// queue makes the statements. It returns the deposits that it leaves out.
func (w *writer) queue() (fifo []*event.Deposit) {
	b := w.b
	version := b.ConfigVersion
	if len(b.Submissions) == 0 {
		version = 0
	}
	at := w.batch.Queue(beginBatch, b.Lane, b.Epoch, b.Number, int64(b.Watermark), int64(0), version, lockSpace+int64(sqlstore.LockConfig))
	var retries retryRows
	at.Arguments[4] = int64(w.queueEvents(&retries))
	w.queueKeys()
	w.queueAttempts()
	for i := range b.RetryPut {
		retries.add(&b.RetryPut[i], b.Lane)
	}
	if subs, groups := retries.locks(); len(subs) > 0 {
		w.batch.Queue(lockGroups, subs, groups)
	}
	if len(retries.scope) > 0 {
		w.batch.Queue(rebind(putRetries), retries.args()...)
	}
	if n := len(b.RetryDelete); n > 0 {
		scope, seq, sub, run := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		for i, k := range b.RetryDelete {
			scope[i], seq[i], sub[i], run[i] = int64(k.Scope), int64(k.Seq), k.Subscription, int64(k.Run)
		}
		w.batch.Queue(dropRetries, scope, seq, sub, run)
	}
	return w.queueDeposits()
}

// queueEvents returns the highest sequence number.
func (w *writer) queueEvents(retries *retryRows) (last event.Seq) {
	var scope, seq, created, bus []int64
	var cut []int32
	var kind, hops []int16
	var typ, object []string
	var routes, payload [][]byte
	for _, sub := range w.b.Submissions {
		for _, e := range sub.Events { // left out or not, its number is given out
			last = max(last, e.Seq)
		}
	}
	for _, sub := range w.accepted {
		for i, e := range sub.Events {
			if _, known := sub.Existing[i]; known {
				continue
			}
			scope, seq, created, bus = append(scope, int64(e.Scope)), append(seq, int64(e.Seq)), append(created, e.Created.UnixMilli()), append(bus, e.Bus)
			cut = append(cut, int32(e.Cut))
			kind, hops = append(kind, int16(e.Kind)), append(hops, int16(e.Hops))
			typ, object = append(typ, clean(e.Type)), append(object, clean(e.ObjectID))
			routes = append(routes, event.AppendRoutes(make([]byte, 0, 4*len(e.Routes)), e.Routes))
			payload = append(payload, e.Payload)
			for _, r := range e.Routes {
				if r.Disposition == event.Parked {
					retries.add(&store.Retry{RetryKey: store.RetryKey{Scope: e.Scope, Seq: e.Seq, Subscription: r.Subscription}, Next: w.b.Now, Group: r.Group}, w.b.Lane)
				}
			}
		}
		for i := range sub.Retries {
			last = max(last, event.Seq(max(sub.Retries[i].Run, -sub.Retries[i].Run))) // runs are numbered by the same sequence
			retries.add(&sub.Retries[i], w.b.Lane)
		}
	}
	if len(seq) > 0 {
		w.batch.Queue(putEvents, scope, seq, created, bus, cut, kind, hops, typ, object, routes, payload)
	}
	return last
}

func (w *writer) queueKeys() {
	if n := len(w.keys); n > 0 {
		scope, id, seq, hash := make([]int64, n), make([]string, n), make([]int64, n), make([][]byte, n)
		for i := range w.keys {
			k := &w.keys[i]
			scope[i], id[i], seq[i], hash[i] = int64(k.scope), k.id, int64(k.seq), k.hash[:]
		}
		w.batch.Queue(putKeys, scope, id, seq, hash)
	}
	if n := len(w.idem); n > 0 {
		scope, generation, key, hash := make([]int64, n), make([]int16, n), make([]string, n), make([][]byte, n)
		result, created := make([][]byte, n), make([]int64, n)
		for i, id := range w.idem {
			scope[i], generation[i], key[i], hash[i] = int64(id.Scope), int16(id.Generation), clean(id.Key), id.Hash[:]
			result[i], created[i] = id.Result, sqlstore.Millis(id.Created)
		}
		w.batch.Queue("DELETE FROM idempotency i USING unnest($1::bigint[], $2::smallint[], $3::text[]) AS a (scope, generation, key) "+
			"WHERE i.scope = a.scope AND i.generation = a.generation AND i.key = a.key AND i.created < $4", scope, generation, key, w.forgotten())
		w.batch.Queue(putIdempotency, scope, generation, key, hash, result, created)
	}
}

func (w *writer) queueAttempts() {
	n := len(w.b.Attempts)
	if n == 0 {
		return
	}
	scope, seq, sub, run := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	started, firstByte, total, next := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	number, status, result := make([]int32, n), make([]int32, n), make([]int16, n)
	class, detail := make([]string, n), make([][]byte, n)
	for i, a := range w.b.Attempts {
		scope[i], seq[i], sub[i], run[i] = int64(a.Scope), int64(a.Seq), a.Subscription, int64(a.Run)
		started[i], firstByte[i], total[i], next[i] = sqlstore.Millis(a.Started), a.FirstByte.Microseconds(), a.Total.Microseconds(), sqlstore.Millis(a.Next)
		number[i], status[i], result[i] = int32(a.N), int32(a.Status), int16(a.Outcome)
		class[i], detail[i] = string(a.Class), sqlstore.AppendDetail(nil, a)
	}
	w.batch.Queue(putAttempts, scope, seq, sub, run, started, firstByte, total, next, number, status, result, class, detail)
}

func (w *writer) queueDeposits() (fifo []*event.Deposit) {
	var queue, visible, group, archive, at, seq []int64
	var id, attributes, body, message, payload [][]byte
	now := sqlstore.Millis(w.b.Now)
	for _, d := range w.b.Deposits {
		switch {
		case d.Kind == event.IntoLog:
			group, message = append(group, d.Into), append(message, sqlstore.Blob(d.Body))
		case d.Kind == event.IntoArchive:
			archive, at, seq = append(archive, d.Into), append(at, d.Event.Created.UnixMilli()), append(seq, int64(d.Event.Seq))
			payload = append(payload, sqlstore.Blob(d.Event.Payload))
		case d.GroupID != "":
			fifo = append(fifo, d)
		default:
			visibleAt := now
			if !d.VisibleAt.IsZero() {
				visibleAt = sqlstore.Millis(d.VisibleAt)
			}
			messageID := event.NewUUID()
			queue, visible, id = append(queue, d.Into), append(visible, visibleAt), append(id, messageID[:])
			attributes, body = append(attributes, sqlstore.AppendAttributes(nil, d.Attributes)), append(body, sqlstore.Blob(d.Body))
		}
	}
	if len(queue) > 0 {
		w.batch.Queue(putMessages, queue, visible, id, attributes, body, now)
	}
	if len(group) > 0 {
		w.batch.Queue(putEntries, group, message, now)
	}
	if len(archive) > 0 {
		w.batch.Queue(putArchived, archive, at, seq, payload)
	}
	return fifo
}

// clean replaces what PostgreSQL does not take as text.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
