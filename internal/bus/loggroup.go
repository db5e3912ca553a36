package bus

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// DepositStream is the name of the stream that rules write to.
const DepositStream = "events"

// maxStreams bounds the streams that clients create in one log group.
const maxStreams = 10_000

// logGroupDoc is a log group as stored.
type logGroupDoc struct {
	ARN       string               `json:"arn"`
	Retention int                  `json:"retention_days,omitzero"` // 0 keeps for good
	Streams   map[string]time.Time `json:"streams,omitempty"`       // when they were created
}

// LogGroup is a log group.
type LogGroup struct {
	Name, ARN string
	Retention int // days; 0 keeps for good
	Created   time.Time
}

// LogStream is a stream of a log group.
type LogStream struct {
	Name, ARN string
	Created   time.Time
}

// CloudWatch Logs' codes for what goes wrong.
const (
	codeLogParameter = "InvalidParameterException"
	codeLogLimit     = "LimitExceededException"
)

func invalidLog(format string, args ...any) error {
	return fault.New(fault.Invalid, codeLogParameter, format, args...)
}

var (
	logGroupName  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	logStreamName = regexp.MustCompile(`^[^:*]{1,512}$`)
)

// CreateLogGroup makes a log group.
func (s *Service) CreateLogGroup(ctx context.Context, c account.AWSCaller, name string) error {
	if !logGroupName.MatchString(name) {
		return invalidLog(`1 validation error detected: Value '%s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`, name)
	}
	r := &store.Resource{ResourceKey: key(c, store.KindLogGroup, 0, name)}
	if err := put(r, &logGroupDoc{ARN: "arn:aws:logs:" + c.Region + ":" + c.AccountID + ":log-group:" + name}); err != nil {
		return err
	}
	err := s.change(ctx, r)
	if errors.Is(err, store.ErrExists) {
		return exists("The specified log group already exists")
	}
	return err
}

// DeleteLogGroup deletes a log group and what it holds.
func (s *Service) DeleteLogGroup(ctx context.Context, c account.AWSCaller, name string) error {
	return s.changeLogGroup(ctx, c, name, func(r *store.Resource, _ *logGroupDoc) error {
		bury(r)
		return nil
	})
}

// logRetentions are the retentions that CloudWatch Logs knows.
var logRetentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// SetLogRetention keeps a log group's entries for some days.
func (s *Service) SetLogRetention(ctx context.Context, c account.AWSCaller, name string, days int) error {
	if !slices.Contains(logRetentions, days) {
		return invalidLog("1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", days, logRetentions)
	}
	return s.changeLogGroup(ctx, c, name, func(_ *store.Resource, doc *logGroupDoc) error {
		doc.Retention = days
		return nil
	})
}

// DropLogRetention keeps a log group's entries for good.
func (s *Service) DropLogRetention(ctx context.Context, c account.AWSCaller, name string) error {
	return s.changeLogGroup(ctx, c, name, func(_ *store.Resource, doc *logGroupDoc) error {
		doc.Retention = 0
		return nil
	})
}

// LogGroups returns a page of log groups by name; see ListArchives for after
// and next.
func (s *Service) LogGroups(ctx context.Context, c account.AWSCaller, prefix, after string, limit int) ([]*LogGroup, string, error) {
	return pageOf(ctx, s, key(c, store.KindLogGroup, 0, prefix), after, limit, func(r *store.Resource, doc *logGroupDoc) (*LogGroup, error) {
		return &LogGroup{Name: r.Name, ARN: doc.ARN, Retention: doc.Retention, Created: r.Created}, nil
	})
}

// CreateLogStream makes a stream that PutLogEvents can write to.
func (s *Service) CreateLogStream(ctx context.Context, c account.AWSCaller, group, stream string) error {
	if !logStreamName.MatchString(stream) {
		return invalidLog("1 validation error detected: Value '%s' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*", stream)
	}
	return s.changeLogGroup(ctx, c, group, func(_ *store.Resource, doc *logGroupDoc) error {
		if _, ok := doc.Streams[stream]; ok {
			return exists("The specified log stream already exists")
		}
		if len(doc.Streams) >= maxStreams {
			return fault.New(fault.Invalid, codeLogLimit, "A log group takes at most %d log streams. Write to one that exists.", maxStreams)
		}
		if doc.Streams == nil {
			doc.Streams = map[string]time.Time{}
		}
		doc.Streams[stream] = s.now().UTC().Truncate(time.Millisecond)
		return nil
	})
}

// LogStreams returns a page of streams by name, that of the rules among them;
// see ListArchives for after and next.
func (s *Service) LogStreams(ctx context.Context, c account.AWSCaller, group, prefix, after string, limit int) (streams []*LogStream, next string, err error) {
	if limit <= 0 || limit > 50 {
		limit = 50
	}
	r, doc, err := s.logGroup(ctx, c, group)
	if err != nil {
		return nil, "", err
	}
	all := map[string]time.Time{DepositStream: r.Created}
	maps.Copy(all, doc.Streams)
	for name, created := range all {
		if strings.HasPrefix(name, prefix) && name > after {
			streams = append(streams, &LogStream{Name: name, ARN: doc.ARN + ":log-stream:" + name, Created: created})
		}
	}
	slices.SortFunc(streams, func(a, b *LogStream) int { return strings.Compare(a.Name, b.Name) })
	if len(streams) > limit {
		streams = streams[:limit]
		next = streams[limit-1].Name
	}
	return streams, next, nil
}

func (s *Service) logGroup(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *logGroupDoc, error) {
	r, doc, err := get[logGroupDoc](ctx, s, key(c, store.KindLogGroup, 0, logGroupOf(name)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("The specified log group does not exist.")
	}
	return r, doc, err
}

// logGroupOf takes a log group's name or its ARN.
func logGroupOf(text string) string {
	if a, ok := ParseARN(text); ok && a.Service == "logs" {
		if name, ok := strings.CutPrefix(a.Resource, "log-group:"); ok {
			name, _, _ = strings.Cut(name, ":")
			return name
		}
	}
	return text
}

func (s *Service) changeLogGroup(ctx context.Context, c account.AWSCaller, name string, change func(*store.Resource, *logGroupDoc) error) error {
	return again(func() error {
		r, doc, err := s.logGroup(ctx, c, name)
		if err != nil {
			return err
		}
		if err := change(r, doc); err != nil {
			return err
		}
		if r.Status != event.Deleted {
			if err := put(r, doc); err != nil {
				return err
			}
		}
		return s.change(ctx, r)
	})
}

// logGroups are the log groups that there are, for what is asked for each
// entry that is deposited.
type logGroups struct {
	mu    sync.RWMutex
	known map[place]int64
}

// take takes up a change that was loaded.
func (l *logGroups) take(r *store.Resource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := place{r.Scope, r.Region, r.Name}
	switch {
	case !isDeleted(r):
		if l.known == nil {
			l.known = map[place]int64{}
		}
		l.known[at] = r.Number
	case l.known[at] == r.Number: // else the name is another's by now
		delete(l.known, at)
	}
}

// LogGroupNumber resolves a log group's ARN for one who deposits into it. The
// error says that there is no such group.
func (s *Service) LogGroupNumber(scope event.Scope, text string) (int64, error) {
	name := logGroupOf(text)
	a, _ := ParseARN(text)
	l := &s.works.logGroups
	l.mu.RLock()
	defer l.mu.RUnlock()
	number, ok := l.known[place{scope, a.Region, name}]
	if !ok {
		return 0, notFound("The log group %s does not exist; create it, or remove the rule's target.", name)
	}
	return number, nil
}
