package awsapi

import (
	"context"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
)

// eventsMoreOperations are those of archives, replays, connections and API
// destinations.
func (a *api) eventsMoreOperations() map[string]operation {
	return join(a.archiveOperations(), a.replayOperations(), a.connectionOperations(), a.apiDestinationOperations())
}

// nothing is an answer that is an object without members.
type nothing struct{}

// named is a request that names one thing.
type named struct{ Name string }

type archiveOut struct {
	ArchiveArn       string `json:",omitempty"`
	ArchiveName      string `json:",omitempty"`
	EventSourceArn   string `json:",omitempty"`
	Description      string `json:",omitempty"`
	EventPattern     string `json:",omitempty"`
	State            string
	RetentionDays    *int   `json:",omitempty"`
	SizeBytes        *int64 `json:",omitempty"`
	EventCount       *int64 `json:",omitempty"`
	CreationTime     stamp  `json:",omitzero"`
	KmsKeyIdentifier string `json:",omitempty"`
}

func (a *api) archiveOperations() map[string]operation {
	b := a.o.Buses
	type update struct {
		ArchiveName, Description, EventPattern *string
		RetentionDays                          *int
	}
	type create struct {
		ArchiveName, EventSourceArn, Description, EventPattern string
		RetentionDays                                          int
	}
	type list struct {
		prefixIn
		EventSourceArn, State string
	}
	type listed struct {
		Archives  []archiveOut
		NextToken string `json:",omitempty"`
	}
	type one struct{ ArchiveName string }
	brief := func(v *bus.Archive, err error) (*archiveOut, error) {
		if err != nil {
			return nil, err
		}
		return &archiveOut{ArchiveArn: v.ARN, State: v.State, CreationTime: stamp(v.Created)}, nil
	}
	return map[string]operation{
		"CreateArchive": op(func(ctx context.Context, c account.AWSCaller, in *create) (*archiveOut, error) {
			return brief(b.CreateArchive(ctx, c, bus.NewArchive{
				Name: in.ArchiveName, SourceARN: in.EventSourceArn, Description: in.Description,
				Pattern: in.EventPattern, Retention: in.RetentionDays,
			}))
		}),
		"UpdateArchive": op(func(ctx context.Context, c account.AWSCaller, in *update) (*archiveOut, error) {
			return brief(b.UpdateArchive(ctx, c, bus.ArchiveChange{
				Name: text(in.ArchiveName), Description: in.Description, Pattern: in.EventPattern, Retention: in.RetentionDays,
			}))
		}),
		"DescribeArchive": op(func(ctx context.Context, c account.AWSCaller, in *one) (*archiveOut, error) {
			v, err := b.DescribeArchive(ctx, c, in.ArchiveName)
			if err != nil {
				return nil, err
			}
			out := archiveItem(v)
			out.ArchiveArn, out.Description, out.EventPattern = v.ARN, v.Description, v.Pattern
			return &out, nil
		}),
		"ListArchives": op(func(ctx context.Context, c account.AWSCaller, in *list) (*listed, error) {
			after, limit, err := in.page()
			if err != nil {
				return nil, err
			}
			items, next, err := b.ListArchives(ctx, c, bus.ArchiveFilter{
				Prefix: in.NamePrefix, SourceARN: in.EventSourceArn, State: in.State,
			}, after, limit)
			return &listed{each(items, archiveItem), tokenOf(next)}, err
		}),
		"DeleteArchive": op(func(ctx context.Context, c account.AWSCaller, in *one) (*nothing, error) {
			return &nothing{}, b.DeleteArchive(ctx, c, in.ArchiveName)
		}),
	}
}

func archiveItem(v *bus.Archive) archiveOut {
	return archiveOut{
		ArchiveName: v.Name, EventSourceArn: v.SourceARN, State: v.State, RetentionDays: &v.Retention,
		SizeBytes: &v.Size, EventCount: &v.Count, CreationTime: stamp(v.Created),
	}
}

type replayDestination struct {
	Arn        string
	FilterArns []string `json:",omitempty"`
}

type replayOut struct {
	ReplayArn             string             `json:",omitempty"`
	ReplayName            string             `json:",omitempty"`
	Description           string             `json:",omitempty"`
	EventSourceArn        string             `json:",omitempty"`
	Destination           *replayDestination `json:",omitempty"`
	State                 string
	StateReason           string `json:",omitempty"`
	EventStartTime        stamp  `json:",omitzero"`
	EventEndTime          stamp  `json:",omitzero"`
	EventLastReplayedTime stamp  `json:",omitzero"`
	ReplayStartTime       stamp  `json:",omitzero"`
	ReplayEndTime         stamp  `json:",omitzero"`
}

func (a *api) replayOperations() map[string]operation {
	b := a.o.Buses
	type start struct {
		ReplayName, Description, EventSourceArn string
		EventStartTime, EventEndTime            stamp
		Destination                             replayDestination
	}
	type one struct{ ReplayName string }
	type list struct {
		prefixIn
		EventSourceArn, State string
	}
	type listed struct {
		Replays   []replayOut
		NextToken string `json:",omitempty"`
	}
	return map[string]operation{
		"StartReplay": op(func(ctx context.Context, c account.AWSCaller, in *start) (*replayOut, error) {
			v, err := b.StartReplay(ctx, c, bus.NewReplay{
				Name: in.ReplayName, Description: in.Description, ArchiveARN: in.EventSourceArn,
				BusARN: in.Destination.Arn, RuleARNs: in.Destination.FilterArns,
				From: asTime(in.EventStartTime), To: asTime(in.EventEndTime),
			})
			if err != nil {
				return nil, err
			}
			return &replayOut{ReplayArn: v.ARN, State: v.State, ReplayStartTime: stamp(v.Started)}, nil
		}),
		"DescribeReplay": op(func(ctx context.Context, c account.AWSCaller, in *one) (*replayOut, error) {
			v, err := b.DescribeReplay(ctx, c, in.ReplayName)
			if err != nil {
				return nil, err
			}
			out := replayItem(v)
			out.ReplayArn, out.Description = v.ARN, v.Description
			out.Destination = &replayDestination{v.BusARN, v.RuleARNs}
			return &out, nil
		}),
		"CancelReplay": op(func(ctx context.Context, c account.AWSCaller, in *one) (*replayOut, error) {
			v, err := b.CancelReplay(ctx, c, in.ReplayName)
			if err != nil {
				return nil, err
			}
			return &replayOut{ReplayArn: v.ARN, State: v.State}, nil
		}),
		"ListReplays": op(func(ctx context.Context, c account.AWSCaller, in *list) (*listed, error) {
			after, limit, err := in.page()
			if err != nil {
				return nil, err
			}
			items, next, err := b.ListReplays(ctx, c, bus.ReplayFilter{
				Prefix: in.NamePrefix, ArchiveARN: in.EventSourceArn, State: in.State,
			}, after, limit)
			return &listed{each(items, replayItem), tokenOf(next)}, err
		}),
	}
}

func replayItem(v *bus.Replay) replayOut {
	return replayOut{
		ReplayName: v.Name, EventSourceArn: v.ArchiveARN, State: v.State, StateReason: v.Reason,
		EventStartTime: stamp(v.From), EventEndTime: stamp(v.To), EventLastReplayedTime: stamp(v.Last),
		ReplayStartTime: stamp(v.Started), ReplayEndTime: stamp(v.Ended),
	}
}
