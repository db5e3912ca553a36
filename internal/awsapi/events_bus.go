package awsapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/fault"
)

// eventsBusOperations are EventBridge's operations on buses, rules, targets,
// events, partner event sources and tags.
func (a *api) eventsBusOperations() map[string]operation {
	return map[string]operation{
		"CreateEventBus":   op(a.createEventBus),
		"DeleteEventBus":   act(a.deleteEventBus),
		"DescribeEventBus": op(a.describeEventBus),
		"ListEventBuses":   op(a.listEventBuses),
		"UpdateEventBus":   op(a.updateEventBus),
		"PutPermission":    act(a.putBusPermission),
		"RemovePermission": act(a.removeBusPermission),

		"PutRule":               op(a.putRule),
		"DeleteRule":            act(a.deleteRule),
		"DescribeRule":          op(a.describeRule),
		"EnableRule":            act(a.enableRule),
		"DisableRule":           act(a.disableRule),
		"ListRules":             op(a.listRules),
		"ListRuleNamesByTarget": op(a.listRuleNamesByTarget),
		"PutTargets":            op(a.putTargets),
		"RemoveTargets":         op(a.removeTargets),
		"ListTargetsByRule":     op(a.listTargetsByRule),

		"PutEvents":        a.putEvents,
		"PutPartnerEvents": a.putPartnerEvents,
		"TestEventPattern": op(a.testEventPattern),

		"CreatePartnerEventSource":       op(a.createPartnerEventSource),
		"DeletePartnerEventSource":       act(a.deletePartnerEventSource),
		"DescribePartnerEventSource":     op(a.describePartnerEventSource),
		"ListPartnerEventSources":        op(a.listPartnerEventSources),
		"ListPartnerEventSourceAccounts": op(a.listPartnerEventSourceAccounts),
		"DescribeEventSource":            op(a.describeEventSource),
		"ListEventSources":               op(a.listEventSources),
		"ActivateEventSource":            act(a.activateEventSource),
		"DeactivateEventSource":          act(a.deactivateEventSource),

		"TagResource":         act(a.tagResource),
		"UntagResource":       act(a.untagResource),
		"ListTagsForResource": op(a.listTagsForResource),

		"CreateEndpoint":   a.globalEndpoint,
		"DeleteEndpoint":   a.globalEndpoint,
		"DescribeEndpoint": a.globalEndpoint,
		"ListEndpoints":    a.globalEndpoint,
		"UpdateEndpoint":   a.globalEndpoint,
	}
}

func (a *api) globalEndpoint(context.Context, account.AWSCaller, []byte) (any, error) {
	return nil, a.o.Buses.GlobalEndpoint()
}

// listIn are the members that requests for a list have in common.
type listIn struct {
	Limit     *int
	NextToken string
}

// The domain goes on after a name; clients get it as a token that tells them
// nothing.
const tokenPrefix = "n:"

func tokenOf(name string) string {
	if name == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + name))
}

func (in *listIn) page() (after string, limit int, err error) {
	if in.Limit != nil {
		limit = *in.Limit
		bound := ""
		switch {
		case limit < 1:
			bound = "greater than or equal to 1"
		case limit > 100:
			bound = "less than or equal to 100"
		}
		if bound != "" {
			return "", 0, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value %s", limit, bound)
		}
	}
	if in.NextToken == "" {
		return "", limit, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(in.NextToken)
	name, ok := strings.CutPrefix(string(b), tokenPrefix)
	if err != nil || !ok {
		return "", 0, validation("Parameter NextToken is not valid. Reason: it is not one that this operation returned.")
	}
	return name, limit, nil
}

func validation(format string, args ...any) error {
	return fault.New(fault.Invalid, "ValidationException", "%s", fmt.Sprintf(format, args...))
}

type tag struct{ Key, Value string }

func tagMap(tags []tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

type deadLetter struct {
	ARN string `json:"Arn,omitempty"`
}

func deadLetterOf(arn string) *deadLetter {
	if arn == "" {
		return nil
	}
	return &deadLetter{arn}
}

func (d *deadLetter) arn() string {
	if d == nil {
		return ""
	}
	return d.ARN
}

type logConfig struct {
	IncludeDetail string `json:",omitempty"`
	Level         string `json:",omitempty"`
}

func (l *logConfig) config() *bus.LogConfig {
	if l == nil {
		return nil
	}
	return &bus.LogConfig{IncludeDetail: l.IncludeDetail, Level: l.Level}
}

func logConfigOf(l *bus.LogConfig) *logConfig {
	if l == nil {
		return nil
	}
	return &logConfig{l.IncludeDetail, l.Level}
}

type createEventBusIn struct {
	Name, EventSourceName, Description, KmsKeyIdentifier string
	DeadLetterConfig                                     *deadLetter
	LogConfig                                            *logConfig
	Tags                                                 []tag
}

type createEventBusOut struct {
	EventBusArn      string
	Description      string      `json:",omitempty"`
	KmsKeyIdentifier string      `json:",omitempty"`
	DeadLetterConfig *deadLetter `json:",omitempty"`
	LogConfig        *logConfig  `json:",omitempty"`
}

func (a *api) createEventBus(ctx context.Context, c account.AWSCaller, in *createEventBusIn) (*createEventBusOut, error) {
	b, err := a.o.Buses.CreateEventBus(ctx, c, bus.NewEventBus{
		Name: in.Name, SourceName: in.EventSourceName, Description: in.Description, KMSKey: in.KmsKeyIdentifier,
		DeadLetterARN: in.DeadLetterConfig.arn(), Log: in.LogConfig.config(), Tags: tagMap(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &createEventBusOut{b.ARN, b.Description, b.KMSKey, deadLetterOf(b.DeadLetterARN), logConfigOf(b.Log)}, nil
}

type nameIn struct{ Name string }

func (a *api) deleteEventBus(ctx context.Context, c account.AWSCaller, in *nameIn) error {
	return a.o.Buses.DeleteEventBus(ctx, c, in.Name)
}

// eventBusOut is a bus, as it is described, updated and listed.
type eventBusOut struct {
	Name             string
	Arn              string
	Description      string      `json:",omitempty"`
	KmsKeyIdentifier string      `json:",omitempty"`
	DeadLetterConfig *deadLetter `json:",omitempty"`
	LogConfig        *logConfig  `json:",omitempty"`
	Policy           string      `json:",omitempty"`
	CreationTime     stamp       `json:",omitzero"`
	LastModifiedTime stamp       `json:",omitzero"`
}

func eventBusOf(b *bus.EventBus) *eventBusOut {
	return &eventBusOut{
		Name: b.Name, Arn: b.ARN, Description: b.Description, KmsKeyIdentifier: b.KMSKey,
		DeadLetterConfig: deadLetterOf(b.DeadLetterARN), LogConfig: logConfigOf(b.Log), Policy: b.Policy,
		CreationTime: stamp(b.Created), LastModifiedTime: stamp(b.Updated),
	}
}

func (a *api) describeEventBus(ctx context.Context, c account.AWSCaller, in *nameIn) (*eventBusOut, error) {
	b, err := a.o.Buses.DescribeEventBus(ctx, c, in.Name)
	if err != nil {
		return nil, err
	}
	return eventBusOf(b), nil
}

type updateEventBusIn struct {
	Name                          string
	Description, KmsKeyIdentifier *string
	DeadLetterConfig              *deadLetter
	LogConfig                     *logConfig
}

func (a *api) updateEventBus(ctx context.Context, c account.AWSCaller, in *updateEventBusIn) (*eventBusOut, error) {
	change := bus.EventBusChange{
		Name: in.Name, Description: in.Description, KMSKey: in.KmsKeyIdentifier, Log: in.LogConfig.config(),
	}
	if in.DeadLetterConfig != nil {
		change.DeadLetterARN = &in.DeadLetterConfig.ARN
	}
	b, err := a.o.Buses.UpdateEventBus(ctx, c, change)
	if err != nil {
		return nil, err
	}
	out := eventBusOf(b)
	out.Policy, out.CreationTime, out.LastModifiedTime = "", stamp{}, stamp{}
	return out, nil
}

type prefixIn struct {
	listIn
	NamePrefix string
}

type eventBusesOut struct {
	EventBuses []*eventBusOut
	NextToken  string `json:",omitempty"`
}

func (a *api) listEventBuses(ctx context.Context, c account.AWSCaller, in *prefixIn) (*eventBusesOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	buses, next, err := a.o.Buses.ListEventBuses(ctx, c, in.NamePrefix, after, limit)
	if err != nil {
		return nil, err
	}
	out := &eventBusesOut{EventBuses: make([]*eventBusOut, len(buses)), NextToken: tokenOf(next)}
	for i, b := range buses {
		out.EventBuses[i] = eventBusOf(b)
		out.EventBuses[i].KmsKeyIdentifier, out.EventBuses[i].DeadLetterConfig, out.EventBuses[i].LogConfig = "", nil, nil
	}
	return out, nil
}

type putBusPermissionIn struct {
	EventBusName, StatementId, Action, Principal, Policy string
	Condition                                            *struct{ Type, Key, Value string }
}

func (a *api) putBusPermission(ctx context.Context, c account.AWSCaller, in *putBusPermissionIn) error {
	p := bus.NewPermission{
		Bus: in.EventBusName, StatementID: in.StatementId, Action: in.Action, Principal: in.Principal, Policy: in.Policy,
	}
	if k := in.Condition; k != nil {
		p.Condition = &bus.PermissionCondition{Type: k.Type, Key: k.Key, Value: k.Value}
	}
	return a.o.Buses.PutPermission(ctx, c, p)
}

type removeBusPermissionIn struct {
	EventBusName, StatementId string
	RemoveAllPermissions      bool
}

func (a *api) removeBusPermission(ctx context.Context, c account.AWSCaller, in *removeBusPermissionIn) error {
	return a.o.Buses.RemovePermission(ctx, c, in.EventBusName, in.StatementId, in.RemoveAllPermissions)
}

type tagResourceIn struct {
	ResourceARN string
	Tags        []tag
	TagKeys     []string
}

func (a *api) tagResource(ctx context.Context, c account.AWSCaller, in *tagResourceIn) error {
	return a.o.Buses.Tag(ctx, c, in.ResourceARN, tagMap(in.Tags))
}

func (a *api) untagResource(ctx context.Context, c account.AWSCaller, in *tagResourceIn) error {
	return a.o.Buses.Untag(ctx, c, in.ResourceARN, in.TagKeys)
}

type tagsOut struct{ Tags []tag }

func (a *api) listTagsForResource(ctx context.Context, c account.AWSCaller, in *tagResourceIn) (*tagsOut, error) {
	tags, err := a.o.Buses.Tags(ctx, c, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return &tagsOut{tagList(tags)}, nil
}
