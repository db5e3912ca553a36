package awsapi

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
)

type connectionOut struct {
	ConnectionArn      string              `json:",omitempty"`
	Name               string              `json:",omitempty"`
	Description        string              `json:",omitempty"`
	ConnectionState    string              `json:",omitempty"`
	StateReason        string              `json:",omitempty"`
	AuthorizationType  string              `json:",omitempty"`
	SecretArn          string              `json:",omitempty"`
	AuthParameters     *bus.ConnectionAuth `json:",omitempty"`
	CreationTime       stamp               `json:",omitzero"`
	LastModifiedTime   stamp               `json:",omitzero"`
	LastAuthorizedTime stamp               `json:",omitzero"`
}

func (a *api) connectionOperations() map[string]operation {
	b := a.o.Buses
	type create struct {
		Name, Description, AuthorizationType string
		AuthParameters                       *bus.ConnectionAuth
	}
	type update struct {
		Name, AuthorizationType string
		Description             *string
		AuthParameters          *bus.ConnectionAuth
	}
	type list struct {
		prefixIn
		ConnectionState string
	}
	type listed struct {
		Connections []connectionOut
		NextToken   string `json:",omitempty"`
	}
	brief := func(v *bus.Connection, err error) (*connectionOut, error) {
		if err != nil {
			return nil, err
		}
		return &connectionOut{
			ConnectionArn: v.ARN, ConnectionState: v.State, CreationTime: stamp(v.Created),
			LastModifiedTime: stamp(v.Modified), LastAuthorizedTime: stamp(v.Authorized),
		}, nil
	}
	return map[string]operation{
		"CreateConnection": op(func(ctx context.Context, c account.AWSCaller, in *create) (*connectionOut, error) {
			out, err := brief(b.CreateConnection(ctx, c, bus.NewConnection{
				Name: in.Name, Description: in.Description, Type: in.AuthorizationType, Auth: in.AuthParameters,
			}))
			return out, err
		}),
		"UpdateConnection": op(func(ctx context.Context, c account.AWSCaller, in *update) (*connectionOut, error) {
			return brief(b.UpdateConnection(ctx, c, bus.ConnectionChange{
				Name: in.Name, Description: in.Description, Type: in.AuthorizationType, Auth: in.AuthParameters,
			}))
		}),
		"DeauthorizeConnection": op(func(ctx context.Context, c account.AWSCaller, in *named) (*connectionOut, error) {
			return brief(b.DeauthorizeConnection(ctx, c, in.Name))
		}),
		"DeleteConnection": op(func(ctx context.Context, c account.AWSCaller, in *named) (*connectionOut, error) {
			return brief(b.DeleteConnection(ctx, c, in.Name))
		}),
		"DescribeConnection": op(func(ctx context.Context, c account.AWSCaller, in *named) (*connectionOut, error) {
			v, err := b.DescribeConnection(ctx, c, in.Name)
			if err != nil {
				return nil, err
			}
			out := connectionItem(v)
			out.Description, out.SecretArn, out.AuthParameters = v.Description, v.SecretARN, &v.Auth
			return &out, nil
		}),
		"ListConnections": op(func(ctx context.Context, c account.AWSCaller, in *list) (*listed, error) {
			after, limit, err := in.page()
			if err != nil {
				return nil, err
			}
			items, next, err := b.ListConnections(ctx, c, in.NamePrefix, in.ConnectionState, after, limit)
			return &listed{each(items, connectionItem), tokenOf(next)}, err
		}),
	}
}

func connectionItem(v *bus.Connection) connectionOut {
	return connectionOut{
		ConnectionArn: v.ARN, Name: v.Name, ConnectionState: v.State, StateReason: v.Reason, AuthorizationType: v.Type,
		CreationTime: stamp(v.Created), LastModifiedTime: stamp(v.Modified), LastAuthorizedTime: stamp(v.Authorized),
	}
}

type apiDestinationOut struct {
	ApiDestinationArn            string `json:",omitempty"`
	ApiDestinationState          string `json:",omitempty"`
	Name                         string `json:",omitempty"`
	Description                  string `json:",omitempty"`
	ConnectionArn                string `json:",omitempty"`
	InvocationEndpoint           string `json:",omitempty"`
	HttpMethod                   string `json:",omitempty"`
	InvocationRateLimitPerSecond int    `json:",omitempty"`
	CreationTime                 stamp  `json:",omitzero"`
	LastModifiedTime             stamp  `json:",omitzero"`
}

func (a *api) apiDestinationOperations() map[string]operation {
	b := a.o.Buses
	type change struct {
		Name, ConnectionArn          string
		Description                  *string
		Endpoint                     string `json:"InvocationEndpoint"`
		Method                       string `json:"HttpMethod"`
		InvocationRateLimitPerSecond *int
	}
	type list struct {
		prefixIn
		ConnectionArn string
	}
	type listed struct {
		Items     []apiDestinationOut `json:"ApiDestinations"`
		NextToken string              `json:",omitempty"`
	}
	brief := func(v *bus.APIDestinationInfo, err error) (*apiDestinationOut, error) {
		if err != nil {
			return nil, err
		}
		return &apiDestinationOut{
			ApiDestinationArn: v.ARN, ApiDestinationState: v.State,
			CreationTime: stamp(v.Created), LastModifiedTime: stamp(v.Modified),
		}, nil
	}
	return map[string]operation{
		"CreateApiDestination": op(func(ctx context.Context, c account.AWSCaller, in *change) (*apiDestinationOut, error) {
			return brief(b.CreateAPIDestination(ctx, c, bus.NewAPIDestination{
				Name: in.Name, Description: text(in.Description), ConnectionARN: in.ConnectionArn,
				Endpoint: in.Endpoint, Method: in.Method, Rate: in.InvocationRateLimitPerSecond,
			}))
		}),
		"UpdateApiDestination": op(func(ctx context.Context, c account.AWSCaller, in *change) (*apiDestinationOut, error) {
			return brief(b.UpdateAPIDestination(ctx, c, bus.APIDestinationChange{
				Name: in.Name, Description: in.Description, ConnectionARN: in.ConnectionArn,
				Endpoint: in.Endpoint, Method: in.Method, Rate: in.InvocationRateLimitPerSecond,
			}))
		}),
		"DeleteApiDestination": op(func(ctx context.Context, c account.AWSCaller, in *named) (*nothing, error) {
			return &nothing{}, b.DeleteAPIDestination(ctx, c, in.Name)
		}),
		"DescribeApiDestination": op(func(ctx context.Context, c account.AWSCaller, in *named) (*apiDestinationOut, error) {
			v, err := b.DescribeAPIDestination(ctx, c, in.Name)
			if err != nil {
				return nil, err
			}
			out := apiDestinationItem(v)
			out.Description = v.Description
			return &out, nil
		}),
		"ListApiDestinations": op(func(ctx context.Context, c account.AWSCaller, in *list) (*listed, error) {
			after, limit, err := in.page()
			if err != nil {
				return nil, err
			}
			items, next, err := b.ListAPIDestinations(ctx, c, in.NamePrefix, in.ConnectionArn, after, limit)
			return &listed{each(items, apiDestinationItem), tokenOf(next)}, err
		}),
	}
}

func apiDestinationItem(v *bus.APIDestinationInfo) apiDestinationOut {
	return apiDestinationOut{
		ApiDestinationArn: v.ARN, ApiDestinationState: v.State, Name: v.Name, ConnectionArn: v.ConnectionARN,
		InvocationEndpoint: v.Endpoint, HttpMethod: v.Method, InvocationRateLimitPerSecond: v.Rate,
		CreationTime: stamp(v.Created), LastModifiedTime: stamp(v.Modified),
	}
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func asTime(s stamp) time.Time { return time.Time(s) }

// each shows the items of a list, which is never null.
func each[V, W any](items []*V, show func(*V) W) []W {
	shown := make([]W, len(items))
	for i, item := range items {
		shown[i] = show(item)
	}
	return shown
}
