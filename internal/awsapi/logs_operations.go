package awsapi

import (
	"context"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
)

// CloudWatch Logs writes members in small letters and times as milliseconds
// since 1970.

type logRef struct {
	Group      string `json:"logGroupName"`
	Identifier string `json:"logGroupIdentifier"` // a name or an ARN
}

func (r logRef) name() string {
	if r.Group == "" {
		return r.Identifier
	}
	return r.Group
}

type logGroupOut struct {
	Name      string `json:"logGroupName"`
	Arn       string `json:"arn"`
	GroupArn  string `json:"logGroupArn"`
	Created   int64  `json:"creationTime"`
	Retention int    `json:"retentionInDays,omitempty"`
	Class     string `json:"logGroupClass"`
	Filters   int    `json:"metricFilterCount"`
}

type logStreamOut struct {
	Name    string `json:"logStreamName"`
	Arn     string `json:"arn"`
	Created int64  `json:"creationTime"`
}

type logEventOut struct {
	ID        string `json:"eventId,omitempty"`
	Stream    string `json:"logStreamName,omitempty"`
	Timestamp int64  `json:"timestamp"`
	Ingested  int64  `json:"ingestionTime"`
	Message   string `json:"message"`
}

// logsOperations are those of CloudWatch Logs that make a log group and read
// what rules left in it.
func (a *api) logsOperations() map[string]operation {
	return join(a.logGroupOperations(), a.logEventOperations())
}

func (a *api) logGroupOperations() map[string]operation {
	b := a.o.Buses
	type retention struct {
		logRef
		Days int `json:"retentionInDays"`
	}
	type list struct {
		Prefix string `json:"logGroupNamePrefix"`
		Next   string `json:"nextToken"`
		Limit  int    `json:"limit"`
	}
	type listed struct {
		Groups []logGroupOut `json:"logGroups"`
		Next   string        `json:"nextToken,omitempty"`
	}
	type stream struct {
		logRef
		Stream string `json:"logStreamName"`
	}
	type listStreams struct {
		logRef
		Prefix string `json:"logStreamNamePrefix"`
		Next   string `json:"nextToken"`
		Limit  int    `json:"limit"`
	}
	type listedStreams struct {
		Streams []logStreamOut `json:"logStreams"`
		Next    string         `json:"nextToken,omitempty"`
	}
	return map[string]operation{
		"CreateLogGroup": act(func(ctx context.Context, c account.AWSCaller, in *logRef) error {
			return b.CreateLogGroup(ctx, c, in.Group)
		}),
		"DeleteLogGroup": act(func(ctx context.Context, c account.AWSCaller, in *logRef) error {
			return b.DeleteLogGroup(ctx, c, in.Group)
		}),
		"PutRetentionPolicy": act(func(ctx context.Context, c account.AWSCaller, in *retention) error {
			return b.SetLogRetention(ctx, c, in.name(), in.Days)
		}),
		"DeleteRetentionPolicy": act(func(ctx context.Context, c account.AWSCaller, in *logRef) error {
			return b.DropLogRetention(ctx, c, in.name())
		}),
		"DescribeLogGroups": op(func(ctx context.Context, c account.AWSCaller, in *list) (*listed, error) {
			limit := in.Limit
			if limit == 0 || limit > 50 {
				limit = 50
			}
			items, next, err := b.LogGroups(ctx, c, in.Prefix, in.Next, limit)
			return &listed{each(items, func(v *bus.LogGroup) logGroupOut {
				return logGroupOut{
					Name: v.Name, Arn: v.ARN + ":*", GroupArn: v.ARN, Created: v.Created.UnixMilli(),
					Retention: v.Retention, Class: "STANDARD",
				}
			}), next}, err
		}),
		"CreateLogStream": act(func(ctx context.Context, c account.AWSCaller, in *stream) error {
			return b.CreateLogStream(ctx, c, in.name(), in.Stream)
		}),
		"DescribeLogStreams": op(func(ctx context.Context, c account.AWSCaller, in *listStreams) (*listedStreams, error) {
			items, next, err := b.LogStreams(ctx, c, in.name(), in.Prefix, in.Next, in.Limit)
			return &listedStreams{each(items, func(v *bus.LogStream) logStreamOut {
				return logStreamOut{Name: v.Name, Arn: v.ARN, Created: v.Created.UnixMilli()}
			}), next}, err
		}),
	}
}

func (a *api) logEventOperations() map[string]operation {
	b := a.o.Buses
	type entry struct {
		Timestamp int64  `json:"timestamp"`
		Message   string `json:"message"`
	}
	type put struct {
		logRef
		Stream string  `json:"logStreamName"`
		Events []entry `json:"logEvents"`
	}
	type rejected struct {
		TooNewStart *int `json:"tooNewLogEventStartIndex,omitempty"`
		TooOldEnd   *int `json:"tooOldLogEventEndIndex,omitempty"`
		ExpiredEnd  *int `json:"expiredLogEventEndIndex,omitempty"`
	}
	type putDone struct {
		Token    string    `json:"nextSequenceToken"`
		Rejected *rejected `json:"rejectedLogEventsInfo,omitempty"`
	}
	type search struct {
		logRef
		Stream   string   `json:"logStreamName"`
		Streams  []string `json:"logStreamNames"`
		Prefix   string   `json:"logStreamNamePrefix"`
		Start    *int64   `json:"startTime"`
		End      *int64   `json:"endTime"`
		Pattern  string   `json:"filterPattern"`
		Next     string   `json:"nextToken"`
		Limit    int      `json:"limit"`
		FromHead bool     `json:"startFromHead"`
	}
	type found struct {
		Events   []logEventOut `json:"events"`
		Searched []nothing     `json:"searchedLogStreams"`
		Next     string        `json:"nextToken,omitempty"`
	}
	type page struct {
		Events   []logEventOut `json:"events"`
		Forward  string        `json:"nextForwardToken"`
		Backward string        `json:"nextBackwardToken"`
	}
	ask := func(in *search) bus.LogSearch {
		q := bus.LogSearch{
			Group: in.name(), From: millis(in.Start), Streams: in.Streams, StreamPrefix: in.Prefix,
			Pattern: in.Pattern, Token: in.Next, Limit: in.Limit,
		}
		if in.End != nil {
			q.To = millis(in.End).Add(time.Millisecond) // the end is among what is asked for
		}
		return q
	}
	return map[string]operation{
		"PutLogEvents": op(func(ctx context.Context, c account.AWSCaller, in *put) (*putDone, error) {
			entries := make([]bus.LogEntry, len(in.Events))
			for i, e := range in.Events {
				entries[i] = bus.LogEntry{Time: time.UnixMilli(e.Timestamp).UTC(), Message: []byte(e.Message)}
			}
			r, err := b.PutLogEvents(ctx, c, in.name(), in.Stream, entries)
			out := &putDone{Token: "0"} // long since of no meaning
			if r.TooNewStart >= 0 || r.TooOldEnd >= 0 || r.ExpiredEnd >= 0 {
				out.Rejected = &rejected{index(r.TooNewStart), index(r.TooOldEnd), index(r.ExpiredEnd)}
			}
			return out, err
		}),
		"FilterLogEvents": op(func(ctx context.Context, c account.AWSCaller, in *search) (*found, error) {
			entries, next, err := b.FilterLogEvents(ctx, c, ask(in))
			return &found{logEvents(entries, true), []nothing{}, next}, err
		}),
		"GetLogEvents": op(func(ctx context.Context, c account.AWSCaller, in *search) (*page, error) {
			q := ask(in)
			q.Streams = []string{in.Stream}
			entries, forward, backward, err := b.LogEvents(ctx, c, q, in.FromHead)
			return &page{logEvents(entries, false), forward, backward}, err
		}),
	}
}

// logEvents shows entries, with what tells them apart where they are of several
// streams.
func logEvents(entries []bus.LogEntry, mixed bool) []logEventOut {
	shown := make([]logEventOut, len(entries))
	for i := range entries {
		e := &entries[i]
		ms := e.Time.UnixMilli()
		shown[i] = logEventOut{Timestamp: ms, Ingested: ms, Message: string(e.Message)}
		if mixed {
			shown[i].ID, shown[i].Stream = strconv.FormatInt(e.ID, 10), e.Stream
		}
	}
	return shown
}

// millis is zero for nil.
func millis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}

// index is nil for -1.
func index(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}
