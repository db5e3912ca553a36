package awsapi

import (
	"context"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
)

type sourceIn struct{ Name, Account string }

type createPartnerEventSourceOut struct{ EventSourceArn string }

func (a *api) createPartnerEventSource(ctx context.Context, c account.AWSCaller, in *sourceIn) (*createPartnerEventSourceOut, error) {
	arn, err := a.o.Buses.CreatePartnerEventSource(ctx, c, in.Name, in.Account)
	if err != nil {
		return nil, err
	}
	return &createPartnerEventSourceOut{arn}, nil
}

func (a *api) deletePartnerEventSource(ctx context.Context, c account.AWSCaller, in *sourceIn) error {
	return a.o.Buses.DeletePartnerEventSource(ctx, c, in.Name, in.Account)
}

type partnerSourceOut struct{ Arn, Name string }

func (a *api) describePartnerEventSource(ctx context.Context, c account.AWSCaller, in *nameIn) (*partnerSourceOut, error) {
	arn, err := a.o.Buses.DescribePartnerEventSource(ctx, c, in.Name)
	if err != nil {
		return nil, err
	}
	return &partnerSourceOut{arn, in.Name}, nil
}

type partnerSourcesOut struct {
	PartnerEventSources []partnerSourceOut
	NextToken           string `json:",omitempty"`
}

func (a *api) listPartnerEventSources(ctx context.Context, c account.AWSCaller, in *prefixIn) (*partnerSourcesOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	sources, next, err := a.o.Buses.ListPartnerEventSources(ctx, c, in.NamePrefix, after, limit)
	if err != nil {
		return nil, err
	}
	out := &partnerSourcesOut{PartnerEventSources: make([]partnerSourceOut, len(sources)), NextToken: tokenOf(next)}
	for i, s := range sources {
		out.PartnerEventSources[i] = partnerSourceOut{s.ARN, s.Name}
	}
	return out, nil
}

type sourceAccountsIn struct {
	listIn
	EventSourceName string
}

type sourceAccountsOut struct {
	PartnerEventSourceAccounts []sourceAccount
}

type sourceAccount struct {
	Account, State string
	CreationTime   stamp `json:",omitzero"`
	ExpirationTime stamp `json:",omitzero"`
}

func (a *api) listPartnerEventSourceAccounts(ctx context.Context, c account.AWSCaller, in *sourceAccountsIn) (*sourceAccountsOut, error) {
	if _, _, err := in.page(); err != nil {
		return nil, err
	}
	s, err := a.o.Buses.PartnerEventSourceAccount(ctx, c, in.EventSourceName)
	if err != nil {
		return nil, err
	}
	return &sourceAccountsOut{[]sourceAccount{{s.Account, s.State, stamp(s.Created), stamp(s.Expires)}}}, nil
}

type eventSourceOut struct {
	Name, Arn, CreatedBy, State string
	CreationTime                stamp `json:",omitzero"`
	ExpirationTime              stamp `json:",omitzero"`
}

func eventSourceOf(s *bus.EventSource) *eventSourceOut {
	return &eventSourceOut{s.Name, s.ARN, s.CreatedBy, s.State, stamp(s.Created), stamp(s.Expires)}
}

func (a *api) describeEventSource(ctx context.Context, c account.AWSCaller, in *nameIn) (*eventSourceOut, error) {
	s, err := a.o.Buses.DescribeEventSource(ctx, c, in.Name)
	if err != nil {
		return nil, err
	}
	return eventSourceOf(s), nil
}

type eventSourcesOut struct {
	EventSources []*eventSourceOut
	NextToken    string `json:",omitempty"`
}

func (a *api) listEventSources(ctx context.Context, c account.AWSCaller, in *prefixIn) (*eventSourcesOut, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, err
	}
	sources, next, err := a.o.Buses.ListEventSources(ctx, c, in.NamePrefix, after, limit)
	if err != nil {
		return nil, err
	}
	out := &eventSourcesOut{EventSources: make([]*eventSourceOut, len(sources)), NextToken: tokenOf(next)}
	for i, s := range sources {
		out.EventSources[i] = eventSourceOf(s)
	}
	return out, nil
}

func (a *api) activateEventSource(ctx context.Context, c account.AWSCaller, in *nameIn) error {
	return a.o.Buses.ActivateEventSource(ctx, c, in.Name)
}

func (a *api) deactivateEventSource(ctx context.Context, c account.AWSCaller, in *nameIn) error {
	return a.o.Buses.DeactivateEventSource(ctx, c, in.Name)
}
