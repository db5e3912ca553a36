package bus

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/store"
)

// What CloudWatch Logs takes in one PutLogEvents, and how far an entry's time
// may be from now.
const (
	maxLogEntries = 10_000
	maxLogBytes   = 1 << 20
	maxLogAge     = 14 * 24 * time.Hour
	maxLogAhead   = 2 * time.Hour
	logOverhead   = 26 // bytes that each entry counts beside its message
)

// logChunk is how many entries are read at a time: of the longest, a rule's,
// that is some 100 MB.
const logChunk = 100

// LogRejects are the indexes into a request up to which, or from which on,
// entries were not taken; -1 is none.
type LogRejects struct{ TooOldEnd, TooNewStart, ExpiredEnd int }

// PutLogEvents adds entries, oldest first, to a stream.
func (s *Service) PutLogEvents(ctx context.Context, c account.AWSCaller, group, stream string, entries []store.LogEntry) (LogRejects, error) {
	rejects := LogRejects{-1, -1, -1}
	r, doc, err := s.logGroup(ctx, c, group)
	if err != nil {
		return rejects, err
	}
	if _, ok := doc.Streams[stream]; !ok {
		return rejects, notFound("The specified log stream does not exist.")
	}
	if len(entries) == 0 || len(entries) > maxLogEntries {
		return rejects, invalidLog("Log events must number from 1 to %d.", maxLogEntries)
	}
	size := 0
	now := s.now()
	taken := make([]store.LogEntry, 0, len(entries))
	last := entries[0].Time
	for i, entry := range entries {
		size += len(entry.Message) + logOverhead
		switch {
		case len(entry.Message) == 0:
			return rejects, invalidLog("A log event has no message.")
		case entry.Time.Before(last):
			return rejects, invalidLog("Log events in a single PutLogEvents request must be in chronological order.")
		case size > maxLogBytes:
			return rejects, invalidLog("Upload too large: it is more than %d bytes, with %d for each event beside its message.", maxLogBytes, logOverhead)
		}
		last = entry.Time
		switch {
		case doc.Retention > 0 && now.Sub(entry.Time) > time.Duration(doc.Retention)*24*time.Hour:
			rejects.ExpiredEnd = i + 1
		case now.Sub(entry.Time) > maxLogAge:
			rejects.TooOldEnd = i + 1
		case entry.Time.Sub(now) > maxLogAhead:
			if rejects.TooNewStart < 0 {
				rejects.TooNewStart = i
			}
		default:
			entry.Stream = stream
			taken = append(taken, entry)
		}
	}
	if len(taken) == 0 {
		return rejects, nil
	}
	if err := s.store.AppendLog(ctx, r.Number, taken); err != nil {
		return rejects, failed("append log", err)
	}
	return rejects, nil
}

// LogSearch asks for a log group's entries.
type LogSearch struct {
	Group    string // name or ARN
	From, To time.Time
	Streams  []string // none is all
	// StreamPrefix selects streams by the beginning of their names.
	StreamPrefix string
	// Pattern is CloudWatch Logs' filter pattern of words.
	Pattern string
	Token   string
	Limit   int
}

// FilterLogEvents returns a page of what a search finds, oldest first, and the
// token for the next page, "" if there is none.
func (s *Service) FilterLogEvents(ctx context.Context, c account.AWSCaller, q LogSearch) (found []store.LogEntry, next string, err error) {
	if len(q.Streams) > 0 && q.StreamPrefix != "" {
		return nil, "", invalidLog("logStreamNames and logStreamNamePrefix cannot both be given.")
	}
	filter, err := parseLogFilter(q.Pattern)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 || q.Limit > 10_000 {
		q.Limit = 10_000
	}
	r, _, err := s.logGroup(ctx, c, q.Group)
	if err != nil {
		return nil, "", err
	}
	after, err := logToken(q.Token, "")
	if err != nil {
		return nil, "", err
	}
	query := store.LogQuery{Group: r.Number, After: after, From: q.From, To: q.To, Contains: filter.narrow()}
	if len(q.Streams) == 1 {
		query.Stream = inStore(q.Streams[0])
	}
	size := 0
	err = s.scanLog(ctx, query, func(entry store.LogEntry) bool {
		if len(q.Streams) > 0 && !slices.Contains(q.Streams, entry.Stream) ||
			!strings.HasPrefix(entry.Stream, q.StreamPrefix) || !filter.matches(string(entry.Message)) {
			return true
		}
		if len(found) == q.Limit || size > maxLogBytes {
			next = strconv.FormatInt(found[len(found)-1].ID, 10)
			return false
		}
		found = append(found, entry)
		size += len(entry.Message)
		return true
	})
	return found, next, err
}

// LogEvents returns a page of one stream, oldest first: the newest page, or
// the oldest if fromHead, or the one that a token of an earlier answer leads
// to. The tokens lead to the pages after and before; at either end they stay
// as they are.
func (s *Service) LogEvents(ctx context.Context, c account.AWSCaller, q LogSearch, fromHead bool) (page []store.LogEntry, forward, backward string, err error) {
	if len(q.Streams) != 1 || q.Streams[0] == "" {
		return nil, "", "", invalidLog("logStreamName must be given.")
	}
	if q.Limit <= 0 || q.Limit > 10_000 {
		q.Limit = 10_000
	}
	r, _, err := s.logGroup(ctx, c, q.Group)
	if err != nil {
		return nil, "", "", err
	}
	query := store.LogQuery{Group: r.Number, From: q.From, To: q.To, Stream: inStore(q.Streams[0])}
	var before int64
	switch {
	case strings.HasPrefix(q.Token, "b/"):
		if before, err = logToken(q.Token, "b/"); err != nil {
			return nil, "", "", err
		}
		fromHead = false
	case q.Token != "":
		if query.After, err = logToken(q.Token, "f/"); err != nil {
			return nil, "", "", err
		}
		fromHead = true
	}
	size := 0
	full := func() bool { return len(page) > q.Limit || size > maxLogBytes && len(page) > 1 }
	err = s.scanLog(ctx, query, func(entry store.LogEntry) bool {
		if entry.Stream != q.Streams[0] {
			return true
		}
		if before > 0 && entry.ID >= before {
			return false
		}
		page = append(page, entry)
		size += len(entry.Message)
		if fromHead && full() {
			page = page[:len(page)-1]
			return false
		}
		for full() {
			size -= len(page[0].Message)
			page[0] = store.LogEntry{}
			page = page[1:]
		}
		return true
	})
	if err != nil {
		return nil, "", "", err
	}
	first, last := max(query.After+1, before), max(query.After, before-1)
	if len(page) > 0 {
		first, last = page[0].ID, page[len(page)-1].ID
	}
	return page, "f/" + strconv.FormatInt(last, 10), "b/" + strconv.FormatInt(first, 10), nil
}

// inStore is a stream as a query names it. What rules deposit has no stream in
// the store, and a query cannot ask for that alone.
func inStore(stream string) string {
	if stream == DepositStream {
		return ""
	}
	return stream
}

// scanLog calls each with the entries of a query until it returns false.
func (s *Service) scanLog(ctx context.Context, q store.LogQuery, each func(store.LogEntry) bool) error {
	q.Limit = logChunk
	for {
		entries, err := s.store.LogEntries(ctx, q)
		if err != nil {
			return failed("read log", err)
		}
		for _, entry := range entries {
			entry.Stream = cmp.Or(entry.Stream, DepositStream)
			if !each(entry) {
				return nil
			}
			q.After = entry.ID
		}
		if len(entries) < logChunk {
			return nil
		}
	}
}

func logToken(token, prefix string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(token, prefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, invalidLog("The specified nextToken is invalid.")
	}
	return n, nil
}

// logFilter is a filter pattern of words: all of must, one of any unless there
// are none, none of not. Words are looked for anywhere, in their own case.
type logFilter struct{ must, any, not []string }

// parseLogFilter reads a filter pattern: words, "quoted words", ?word for one
// of several, -word for its absence.
func parseLogFilter(text string) (logFilter, error) {
	var f logFilter
	rest := strings.TrimSpace(text)
	if rest != "" && strings.IndexByte("{[%", rest[0]) >= 0 {
		return f, invalidLog("Invalid filter pattern: Waybill searches logs by words, like: error \"two words\" -debug ?either ?or. Patterns of fields or regular expressions are not supported.")
	}
	for rest != "" {
		list := &f.must
		switch rest[0] {
		case '?':
			list, rest = &f.any, rest[1:]
		case '-':
			list, rest = &f.not, rest[1:]
		}
		word := ""
		if strings.HasPrefix(rest, `"`) {
			end := quoteEnd(rest)
			if end < 0 {
				return f, invalidLog("Invalid filter pattern: a quote is not closed.")
			}
			word, rest = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(rest[1:end]), rest[end+1:]
		} else {
			end := strings.IndexAny(rest, " \t\n")
			if end < 0 {
				end = len(rest)
			}
			word, rest = rest[:end], rest[end:]
		}
		if word != "" {
			*list = append(*list, word)
		}
		rest = strings.TrimSpace(rest)
	}
	return f, nil
}

// quoteEnd finds the quote that closes the one at the beginning.
func quoteEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// narrow is a word that every match contains, for the store to look for.
func (f logFilter) narrow() string {
	if len(f.must) == 0 {
		return ""
	}
	return f.must[0]
}

func (f logFilter) matches(message string) bool {
	in := func(word string) bool { return strings.Contains(message, word) }
	return !slices.ContainsFunc(f.not, in) && (len(f.any) == 0 || slices.ContainsFunc(f.any, in)) &&
		!slices.ContainsFunc(f.must, func(word string) bool { return !in(word) })
}

// LogEntry is one entry of a log group.
type LogEntry = store.LogEntry
