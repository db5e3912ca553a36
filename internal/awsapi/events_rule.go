package awsapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
)

func tagList(tags map[string]string) []tag {
	list := make([]tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, tag{k, tags[k]})
	}
	return list
}

type putRuleIn struct {
	Name, EventBusName, EventPattern, ScheduleExpression, State, Description, RoleArn string
	Tags                                                                              []tag
}

type putRuleOut struct{ RuleArn string }

func (a *api) putRule(ctx context.Context, c account.AWSCaller, in *putRuleIn) (*putRuleOut, error) {
	arn, err := a.o.Buses.PutRule(ctx, c, bus.NewRule{
		Name: in.Name, Bus: in.EventBusName, Pattern: in.EventPattern, Schedule: in.ScheduleExpression, State: in.State,
		Description: in.Description, RoleARN: in.RoleArn, Tags: tagMap(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &putRuleOut{arn}, nil
}

type ruleIn struct{ Name, EventBusName string }

func (a *api) deleteRule(ctx context.Context, c account.AWSCaller, in *ruleIn) error {
	return a.o.Buses.DeleteRule(ctx, c, in.EventBusName, in.Name)
}

func (a *api) enableRule(ctx context.Context, c account.AWSCaller, in *ruleIn) error {
	return a.o.Buses.SetRuleState(ctx, c, in.EventBusName, in.Name, true)
}

func (a *api) disableRule(ctx context.Context, c account.AWSCaller, in *ruleIn) error {
	return a.o.Buses.SetRuleState(ctx, c, in.EventBusName, in.Name, false)
}

type ruleOut struct {
	Name, Arn, EventBusName, State string
	EventPattern                   string `json:",omitempty"`
	ScheduleExpression             string `json:",omitempty"`
	Description                    string `json:",omitempty"`
	RoleArn                        string `json:",omitempty"`
	CreatedBy                      string `json:",omitempty"`
}

func ruleOf(r *bus.Rule) *ruleOut {
	return &ruleOut{
		Name: r.Name, Arn: r.ARN, EventBusName: r.BusName, State: r.State, EventPattern: r.Pattern,
		ScheduleExpression: r.Schedule, Description: r.Description, RoleArn: r.RoleARN,
	}
}

func (a *api) describeRule(ctx context.Context, c account.AWSCaller, in *ruleIn) (*ruleOut, error) {
	r, err := a.o.Buses.DescribeRule(ctx, c, in.EventBusName, in.Name)
	if err != nil {
		return nil, err
	}
	out := ruleOf(r)
	out.CreatedBy = r.CreatedBy
	return out, nil
}

type listRulesIn struct {
	listIn
	NamePrefix, EventBusName string
}

type listRulesOut struct {
	Rules     []*ruleOut
	NextToken string `json:",omitempty"`
}

func (a *api) listRules(ctx context.Context, c account.AWSCaller, in *listRulesIn) (*listRulesOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	rules, next, err := a.o.Buses.ListRules(ctx, c, in.EventBusName, in.NamePrefix, after, limit)
	if err != nil {
		return nil, err
	}
	out := &listRulesOut{Rules: make([]*ruleOut, len(rules)), NextToken: tokenOf(next)}
	for i, r := range rules {
		out.Rules[i] = ruleOf(r)
	}
	return out, nil
}

type ruleNamesIn struct {
	listIn
	TargetArn, EventBusName string
}

type ruleNamesOut struct {
	RuleNames []string
	NextToken string `json:",omitempty"`
}

func (a *api) listRuleNamesByTarget(ctx context.Context, c account.AWSCaller, in *ruleNamesIn) (*ruleNamesOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	names, next, err := a.o.Buses.ListRuleNamesByTarget(ctx, c, in.EventBusName, in.TargetArn, after, limit)
	if err != nil {
		return nil, err
	}
	if names == nil {
		names = []string{}
	}
	return &ruleNamesOut{names, tokenOf(next)}, nil
}

// ruleTarget is a target on the wire.
type ruleTarget struct {
	ID               string            `json:"Id"`
	ARN              string            `json:"Arn"`
	RoleARN          string            `json:"RoleArn,omitempty"`
	Input            *string           `json:",omitempty"`
	InputPath        string            `json:",omitempty"`
	InputTransformer *inputTransformer `json:",omitempty"`
	RetryPolicy      *retryPolicy      `json:",omitempty"`
	DeadLetterConfig *deadLetter       `json:",omitempty"`
	SqsParameters    *sqsParameters    `json:",omitempty"`
	HTTPParameters   *httpParameters   `json:"HttpParameters,omitempty"`

	// What Waybill has no targets for comes and goes as it is.
	AppSyncParameters           json.RawMessage `json:",omitempty"`
	BatchParameters             json.RawMessage `json:",omitempty"`
	EcsParameters               json.RawMessage `json:",omitempty"`
	KinesisParameters           json.RawMessage `json:",omitempty"`
	RedshiftDataParameters      json.RawMessage `json:",omitempty"`
	RunCommandParameters        json.RawMessage `json:",omitempty"`
	SageMakerPipelineParameters json.RawMessage `json:",omitempty"`
}

type inputTransformer struct {
	InputPathsMap map[string]string `json:",omitempty"`
	InputTemplate string
}

type retryPolicy struct {
	MaximumRetryAttempts     *int `json:",omitempty"`
	MaximumEventAgeInSeconds *int `json:",omitempty"`
}

type sqsParameters struct {
	MessageGroupID string `json:"MessageGroupId,omitempty"`
}

type httpParameters struct {
	PathParameterValues   []string          `json:",omitempty"`
	HeaderParameters      map[string]string `json:",omitempty"`
	QueryStringParameters map[string]string `json:",omitempty"`
}

// extra are the parameters that come and go as they are, by their names.
func (t *ruleTarget) extra() map[string]*json.RawMessage {
	return map[string]*json.RawMessage{
		"AppSyncParameters": &t.AppSyncParameters, "BatchParameters": &t.BatchParameters, "EcsParameters": &t.EcsParameters,
		"KinesisParameters": &t.KinesisParameters, "RedshiftDataParameters": &t.RedshiftDataParameters,
		"RunCommandParameters": &t.RunCommandParameters, "SageMakerPipelineParameters": &t.SageMakerPipelineParameters,
	}
}

func (t *ruleTarget) target() bus.Target {
	d := bus.Target{
		ID: t.ID, ARN: t.ARN, RoleARN: t.RoleARN, DeadLetterARN: t.DeadLetterConfig.arn(),
		Input: bus.Input{Constant: t.Input, Path: t.InputPath},
	}
	if i := t.InputTransformer; i != nil {
		d.Input.Paths, d.Input.Template = i.InputPathsMap, i.InputTemplate
	}
	if p := t.RetryPolicy; p != nil {
		d.HasRetry, d.RetryAttempts, d.EventAge = true, p.MaximumRetryAttempts, p.MaximumEventAgeInSeconds
	}
	if p := t.SqsParameters; p != nil {
		d.GroupID = p.MessageGroupID
	}
	if p := t.HTTPParameters; p != nil {
		d.PathValues, d.Header, d.Query = p.PathParameterValues, p.HeaderParameters, p.QueryStringParameters
	}
	for name, raw := range t.extra() {
		if *raw != nil && string(*raw) != "null" {
			if d.Extra == nil {
				d.Extra = map[string]json.RawMessage{}
			}
			d.Extra[name] = *raw
		}
	}
	return d
}

func ruleTargetOf(d *bus.Target) *ruleTarget {
	t := &ruleTarget{
		ID: d.ID, ARN: d.ARN, RoleARN: d.RoleARN, Input: d.Input.Constant, InputPath: d.Input.Path,
		DeadLetterConfig: deadLetterOf(d.DeadLetterARN),
	}
	if d.Input.Template != "" {
		t.InputTransformer = &inputTransformer{d.Input.Paths, d.Input.Template}
	}
	if d.HasRetry {
		t.RetryPolicy = &retryPolicy{d.RetryAttempts, d.EventAge}
	}
	if d.GroupID != "" {
		t.SqsParameters = &sqsParameters{d.GroupID}
	}
	if len(d.PathValues)+len(d.Header)+len(d.Query) > 0 {
		t.HTTPParameters = &httpParameters{d.PathValues, d.Header, d.Query}
	}
	for name, raw := range t.extra() {
		*raw = d.Extra[name]
	}
	return t
}

type putTargetsIn struct {
	Rule, EventBusName string
	Targets            []ruleTarget
}

// failedTargetsOut says which elements of a request were not carried out.
type failedTargetsOut struct {
	FailedEntryCount int
	FailedEntries    []failedTarget
}

type failedTarget struct{ TargetId, ErrorCode, ErrorMessage string }

func failedTargetsOf(bad []bus.Failed) *failedTargetsOut {
	out := &failedTargetsOut{len(bad), make([]failedTarget, len(bad))}
	for i, f := range bad {
		out.FailedEntries[i] = failedTarget{f.ID, f.Code, f.Message}
	}
	return out
}

func (a *api) putTargets(ctx context.Context, c account.AWSCaller, in *putTargetsIn) (*failedTargetsOut, error) {
	targets := make([]bus.Target, len(in.Targets))
	for i := range in.Targets {
		targets[i] = in.Targets[i].target()
	}
	bad, err := a.o.Buses.PutTargets(ctx, c, in.EventBusName, in.Rule, targets)
	if err != nil {
		return nil, err
	}
	return failedTargetsOf(bad), nil
}

type removeTargetsIn struct {
	Rule, EventBusName string
	Ids                []string
}

func (a *api) removeTargets(ctx context.Context, c account.AWSCaller, in *removeTargetsIn) (*failedTargetsOut, error) {
	bad, err := a.o.Buses.RemoveTargets(ctx, c, in.EventBusName, in.Rule, in.Ids)
	if err != nil {
		return nil, err
	}
	return failedTargetsOf(bad), nil
}

type listTargetsIn struct {
	listIn
	Rule, EventBusName string
}

type listTargetsOut struct {
	Targets   []*ruleTarget
	NextToken string `json:",omitempty"`
}

func (a *api) listTargetsByRule(ctx context.Context, c account.AWSCaller, in *listTargetsIn) (*listTargetsOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	targets, next, err := a.o.Buses.ListTargetsByRule(ctx, c, in.EventBusName, in.Rule, after, limit)
	if err != nil {
		return nil, err
	}
	out := &listTargetsOut{Targets: make([]*ruleTarget, len(targets)), NextToken: tokenOf(next)}
	for i, t := range targets {
		out.Targets[i] = ruleTargetOf(t)
	}
	return out, nil
}

type testEventPatternIn struct{ EventPattern, Event string }

type testEventPatternOut struct{ Result bool }

func (a *api) testEventPattern(_ context.Context, _ account.AWSCaller, in *testEventPatternIn) (*testEventPatternOut, error) {
	matches, err := a.o.Buses.TestEventPattern(in.EventPattern, in.Event)
	if err != nil {
		return nil, err
	}
	return &testEventPatternOut{matches}, nil
}
