package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/waybill-dev/waybill/internal/template"
)

// What carries no tags in AWS's API has its stack written down instead: in a
// log group, one stream a stack, one entry for each thing that was made. An
// entry is an identity, the name and the moment of creation, so none has to be
// taken out: what is gone, or was made anew by somebody else, no longer is what
// an entry says. Where entries are lost, --prune deletes less, never more.
const stackLog = "/waybill/stacks"

// untagged is a kind of resource without tags.
type untagged struct {
	typ, what, loses string
	service          awsService
	list, items      string // the operation that lists them, and its member that does
	prefix, name     string // members of its input and of an item
	created          string
	remove           string
}

// untaggedKinds are in the order in which they can be deleted.
var untaggedKinds = []untagged{
	{"AWS::Events::ApiDestination", "API destination", "", awsEvents, "ListApiDestinations", "ApiDestinations", "NamePrefix", "Name", "CreationTime", "DeleteApiDestination"},
	{"AWS::Events::Connection", "connection", "", awsEvents, "ListConnections", "Connections", "NamePrefix", "Name", "CreationTime", "DeleteConnection"},
	{"AWS::Events::Archive", "archive", " and its events", awsEvents, "ListArchives", "Archives", "NamePrefix", "ArchiveName", "CreationTime", "DeleteArchive"},
	{"AWS::Logs::LogGroup", "log group", " and its entries", awsLogs, "DescribeLogGroups", "logGroups", "logGroupNamePrefix", "logGroupName", "creationTime", "DeleteLogGroup"},
}

func (k *untagged) identity(item map[string]any) string {
	created, _ := item[k.created].(float64)
	return k.what + " " + text(item[k.name]) + " " + strconv.FormatFloat(created, 'f', -1, 64)
}

// remembering makes steps that create something without tags write it down.
func (a *applier) remembering(r template.Resource, steps []step) {
	for i := range untaggedKinds {
		if k := &untaggedKinds[i]; k.typ == r.Type && len(steps) > 0 && steps[0].verb == "create" {
			create := steps[0].do
			steps[0].do = func(ctx context.Context) error {
				if err := create(ctx); err != nil {
					return err
				}
				return a.remember(ctx, k, r.Name)
			}
		}
	}
}

func (a *applier) remember(ctx context.Context, k *untagged, name string) error {
	items, err := a.client.list(ctx, k.service, k.list, k.items, map[string]any{k.prefix: name})
	if err != nil {
		return err
	}
	for _, item := range items {
		if text(item[k.name]) != name {
			continue
		}
		in := map[string]any{"logGroupName": stackLog}
		if err := a.client.call(ctx, awsLogs, "CreateLogGroup", in, nil); err != nil && !isThere(err) {
			return err
		}
		in["logStreamName"] = a.stack
		if err := a.client.call(ctx, awsLogs, "CreateLogStream", in, nil); err != nil && !isThere(err) {
			return err
		}
		in["logEvents"] = []map[string]any{{"timestamp": a.now().UnixMilli(), "message": k.identity(item)}}
		return a.client.call(ctx, awsLogs, "PutLogEvents", in, nil)
	}
	return errors.New("it was deleted in the same moment")
}

func isThere(err error) bool {
	var e *awsError
	return errors.As(err, &e) && e.code == "ResourceAlreadyExistsException"
}

// untaggedLeftovers are what this stack made of the kinds without tags and the
// template no longer has.
func (a *applier) untaggedLeftovers(ctx context.Context, t *template.Result) ([]step, error) {
	entries, err := a.client.list(ctx, awsLogs, "FilterLogEvents", "events", map[string]any{"logGroupName": stackLog, "logStreamNames": []string{a.stack}})
	if err != nil && !isMissing(err) {
		return nil, err
	}
	made := map[string]bool{}
	for _, e := range entries {
		made[text(e["message"])] = true
	}
	wanted := map[string]bool{}
	for _, r := range t.Resources {
		wanted[r.Type+" "+r.Name] = true
	}
	var steps []step
	for i := range untaggedKinds {
		k := &untaggedKinds[i]
		items, err := a.client.list(ctx, k.service, k.list, k.items, nil)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			name := text(item[k.name])
			if made[k.identity(item)] && !wanted[k.typ+" "+name] {
				steps = append(steps, step{"delete", k.what + " " + name, k.loses, func(ctx context.Context) error {
					return a.client.call(ctx, k.service, k.remove, map[string]any{k.name: name}, nil)
				}})
			}
		}
	}
	return steps, nil
}
