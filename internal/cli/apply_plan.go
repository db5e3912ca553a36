package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/template"
)

// plan compares one resource with what there is.
func (a *applier) plan(ctx context.Context, r template.Resource) ([]step, error) {
	p := r.Properties
	switch r.Type {
	case "AWS::SQS::Queue":
		return a.planQueue(ctx, r)
	case "AWS::Logs::LogGroup":
		return a.planLogGroup(ctx, r)
	case "AWS::Events::Rule":
		return a.planRule(ctx, r)
	case "AWS::Events::EventBus":
		in := pick(p, "Description", "DeadLetterConfig", "EventSourceName")
		in["Name"] = r.Name
		tagged := maps.Clone(in)
		tagged["Tags"] = a.tags(p["Tags"])
		return a.planOne(ctx, one{
			what: "event bus " + r.Name, want: in, read: map[string]any{"Name": r.Name},
			describe: "DescribeEventBus", create: "CreateEventBus", update: "UpdateEventBus", creation: tagged,
			ignore: []string{"EventSourceName"},
		})
	case "AWS::Events::Archive":
		in := pick(p, "Description", "EventPattern", "RetentionDays")
		if err := asText(in, "EventPattern"); err != nil {
			return nil, err
		}
		in["ArchiveName"] = r.Name
		creation := maps.Clone(in)
		creation["EventSourceArn"] = p["SourceArn"]
		return a.planOne(ctx, one{
			what: "archive " + r.Name, want: in, read: map[string]any{"ArchiveName": r.Name},
			describe: "DescribeArchive", create: "CreateArchive", update: "UpdateArchive", creation: creation,
		})
	case "AWS::Events::Connection":
		in := pick(p, "Description", "AuthorizationType", "AuthParameters")
		in["Name"] = r.Name
		return a.planOne(ctx, one{
			what: "connection " + r.Name, want: in, read: map[string]any{"Name": r.Name},
			describe: "DescribeConnection", create: "CreateConnection", update: "UpdateConnection",
			ignore: []string{"AuthParameters"}, always: " (its secrets cannot be compared)",
		})
	case "AWS::Events::ApiDestination":
		in := pick(p, "Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond")
		in["Name"] = r.Name
		return a.planOne(ctx, one{
			what: "API destination " + r.Name, want: in, read: map[string]any{"Name": r.Name},
			describe: "DescribeApiDestination", create: "CreateApiDestination", update: "UpdateApiDestination",
			reference: "ConnectionArn",
		})
	}
	return nil, fmt.Errorf("%s is not known here", r.Type)
}

// one is a resource with a describe, a create and an update operation.
type one struct {
	what                     string
	want                     map[string]any
	creation                 map[string]any // if it is not as want
	read                     map[string]any
	describe, create, update string
	ignore                   []string // what describe does not answer as it was given
	always                   string   // why it is updated even if nothing seems to differ
	reference                string   // the member that names another resource by its ARN
}

func (a *applier) planOne(ctx context.Context, o one) ([]step, error) {
	do := func(operation string, in map[string]any) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := a.settleARN(ctx, in, o.reference); err != nil {
				return err
			}
			return a.client.call(ctx, awsEvents, operation, in, nil)
		}
	}
	have := map[string]any{}
	err := a.client.call(ctx, awsEvents, o.describe, o.read, &have)
	if isMissing(err) {
		in := o.creation
		if in == nil {
			in = o.want
		}
		return []step{{"create", o.what, "", do(o.create, in)}}, nil
	}
	if err == nil {
		err = a.settleARN(ctx, o.want, o.reference)
	}
	if err != nil {
		return nil, err
	}
	why := o.always
	if changed := differing(o.want, have, o.ignore...); len(changed) > 0 {
		why = ": " + strings.Join(changed, ", ")
	}
	if why == "" {
		return nil, nil
	}
	return []step{{"update", o.what, why, do(o.update, o.want)}}, nil
}

// settleARN completes the ARN of a connection or an API destination that a
// template names. It ends with a unique id, which nobody knows before it is
// made; one that is still to be made is left as it is.
func (a *applier) settleARN(ctx context.Context, in map[string]any, member string) error {
	arn := text(in[member])
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "events" {
		return nil
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	var operation, answer string
	switch kind {
	case "connection":
		operation, answer = "DescribeConnection", "ConnectionArn"
	case "api-destination":
		operation, answer = "DescribeApiDestination", "ApiDestinationArn"
	}
	if operation == "" || strings.Contains(name, "/") {
		return nil
	}
	found := map[string]any{}
	if err := a.client.call(ctx, awsEvents, operation, map[string]any{"Name": name}, &found); err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	in[member] = found[answer]
	return nil
}

func (a *applier) planRule(ctx context.Context, r template.Resource) ([]step, error) {
	in := pick(r.Properties, "Description", "EventPattern", "ScheduleExpression", "State", "RoleArn")
	if err := asText(in, "EventPattern"); err != nil {
		return nil, err
	}
	bus := text(r.Properties["EventBusName"])
	if bus == "" {
		bus = "default"
	}
	in["Name"], in["EventBusName"] = r.Name, bus
	var targets []map[string]any
	list, _ := r.Properties["Targets"].([]any)
	for i, item := range list {
		t, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("target %d is not a mapping", i+1)
		}
		targets = append(targets, t)
	}
	what := "rule " + bus + "/" + r.Name
	settle := func(ctx context.Context) error {
		for _, t := range targets {
			if err := a.settleARN(ctx, t, "Arn"); err != nil {
				return err
			}
		}
		return nil
	}
	put := func(ctx context.Context) error {
		if err := settle(ctx); err != nil {
			return err
		}
		if err := a.client.call(ctx, awsEvents, "PutRule", in, nil); err != nil {
			return err
		}
		return a.putTargets(ctx, bus, r.Name, targets)
	}
	have := map[string]any{}
	err := a.client.call(ctx, awsEvents, "DescribeRule", map[string]any{"Name": r.Name, "EventBusName": bus}, &have)
	if isMissing(err) {
		return []step{{"create", what, fmt.Sprintf(" with %d targets", len(targets)), func(ctx context.Context) error {
			in["Tags"] = a.tags(r.Properties["Tags"])
			return put(ctx)
		}}}, nil
	}
	if err != nil {
		return nil, err
	}
	changed := differing(in, have, "EventBusName")
	if err := settle(ctx); err != nil {
		return nil, err
	}
	present, err := a.client.list(ctx, awsEvents, "ListTargetsByRule", "Targets", map[string]any{"Rule": r.Name, "EventBusName": bus})
	if err != nil {
		return nil, err
	}
	if !sameTargets(targets, present) {
		changed = append(changed, "Targets")
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return []step{{"update", what, ": " + strings.Join(changed, ", "), put}}, nil
}

// putTargets makes the rule's targets these: new ones first, so that there is
// no moment without.
func (a *applier) putTargets(ctx context.Context, bus, rule string, targets []map[string]any) error {
	present, err := a.client.list(ctx, awsEvents, "ListTargetsByRule", "Targets", map[string]any{"Rule": rule, "EventBusName": bus})
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(present, func(t map[string]any) bool {
		return slices.ContainsFunc(targets, func(want map[string]any) bool { return want["Id"] == t["Id"] })
	})
	// Those that are replaced by others make room first: a rule has few.
	if err := a.removeTargets(ctx, bus, rule, gone); err != nil {
		return err
	}
	if len(targets) == 0 {
		return nil
	}
	return a.entries(ctx, "PutTargets", map[string]any{"Rule": rule, "EventBusName": bus, "Targets": targets})
}

func sameTargets(a, b []map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	byID := map[string]map[string]any{}
	for _, t := range b {
		byID[text(t["Id"])] = t
	}
	for _, t := range a {
		if other := byID[text(t["Id"])]; other == nil || !same(t, other) {
			return false
		}
	}
	return true
}

func (a *applier) planQueue(ctx context.Context, r template.Resource) ([]step, error) {
	attributes := map[string]string{}
	for name, v := range r.Properties {
		if name == "QueueName" || name == "Tags" || name == "RedriveAllowPolicy" && v == nil {
			continue
		}
		switch v := v.(type) {
		case string:
			attributes[name] = v
		case float64, bool:
			attributes[name] = strings.Trim(canonical(v), `"`)
		default:
			attributes[name] = canonical(v)
		}
	}
	tags := map[string]string{stackTag: a.stack}
	for _, t := range a.tags(r.Properties["Tags"]) {
		tags[t["Key"]] = t["Value"]
	}
	what := "queue " + r.Name
	var found struct{ QueueUrl string } //nolint:revive // AWS's own word
	err := a.client.call(ctx, awsQueues, "GetQueueUrl", map[string]any{"QueueName": r.Name}, &found)
	if isMissing(err) {
		return []step{{"create", what, "", func(ctx context.Context) error {
			return a.client.call(ctx, awsQueues, "CreateQueue", map[string]any{"QueueName": r.Name, "Attributes": attributes, "tags": tags}, nil)
		}}}, nil
	}
	if err != nil {
		return nil, err
	}
	var have struct{ Attributes map[string]string }
	if err := a.client.call(ctx, awsQueues, "GetQueueAttributes", map[string]any{"QueueUrl": found.QueueUrl, "AttributeNames": []string{"All"}}, &have); err != nil {
		return nil, err
	}
	var changed []string
	for name, v := range attributes {
		if other := have.Attributes[name]; other != v && !sameJSON(v, other) {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	slices.Sort(changed)
	return []step{{"update", what, ": " + strings.Join(changed, ", "), func(ctx context.Context) error {
		delete(attributes, "FifoQueue") // cannot be changed, and is not
		return a.client.call(ctx, awsQueues, "SetQueueAttributes", map[string]any{"QueueUrl": found.QueueUrl, "Attributes": attributes}, nil)
	}}}, nil
}

func (a *applier) planLogGroup(ctx context.Context, r template.Resource) ([]step, error) {
	var have struct {
		LogGroups []struct {
			Name      string  `json:"logGroupName"`
			Retention float64 `json:"retentionInDays"`
		} `json:"logGroups"`
	}
	if err := a.client.call(ctx, awsLogs, "DescribeLogGroups", map[string]any{"logGroupNamePrefix": r.Name}, &have); err != nil {
		return nil, err
	}
	days, kept := r.Properties["RetentionInDays"].(float64)
	retain := func(ctx context.Context) error {
		return a.client.call(ctx, awsLogs, "PutRetentionPolicy", map[string]any{"logGroupName": r.Name, "retentionInDays": days}, nil)
	}
	for _, g := range have.LogGroups {
		if g.Name != r.Name {
			continue
		}
		if !kept || g.Retention == days {
			return nil, nil
		}
		return []step{{"update", "log group " + r.Name, ": RetentionInDays", retain}}, nil
	}
	return []step{{"create", "log group " + r.Name, "", func(ctx context.Context) error {
		err := a.client.call(ctx, awsLogs, "CreateLogGroup", map[string]any{"logGroupName": r.Name}, nil)
		if err != nil || !kept {
			return err
		}
		return retain(ctx)
	}}}, nil
}

// tags are a template's tags and the stack's own.
func (a *applier) tags(given any) []map[string]string {
	out := []map[string]string{{"Key": stackTag, "Value": a.stack}}
	list, _ := given.([]any)
	for _, item := range list {
		if t, ok := item.(map[string]any); ok {
			out = append(out, map[string]string{"Key": text(t["Key"]), "Value": text(t["Value"])})
		}
	}
	return out
}

func pick(from map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		if v, ok := from[name]; ok {
			out[name] = v
		}
	}
	return out
}

// asText turns a member that a template has as JSON into the text that the API
// takes.
func asText(in map[string]any, name string) error {
	v, ok := in[name]
	if _, isText := v.(string); !ok || isText {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	in[name] = strings.TrimSpace(b.String())
	return nil
}

// differing are the names in want whose values are others in have.
func differing(want, have map[string]any, ignore ...string) []string {
	var names []string
	for name, v := range want {
		if !slices.Contains(ignore, name) && !same(v, have[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func same(a, b any) bool {
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return x == y || sameJSON(x, y)
		}
	}
	return canonical(a) == canonical(b)
}

// sameJSON compares two texts as JSON.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && canonical(x) == canonical(y)
}

func canonical(v any) string {
	b, _ := json.Marshal(v) // what came from JSON or YAML cannot fail
	return string(b)
}
