package bus

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/store"
)

// The states of an API destination: it is ACTIVE while its connection is
// AUTHORIZED.
const (
	APIDestinationActive   = "ACTIVE"
	APIDestinationInactive = "INACTIVE"
)

// defaultRate is how many requests a second an API destination gets at most.
const defaultRate = 300

// apiDestinationDoc is an API destination as stored. It names its connection
// by number too: a later connection of the same name is another.
type apiDestinationDoc struct {
	ARN           string    `json:"arn"`
	Description   string    `json:"description,omitzero"`
	Connection    int64     `json:"connection"`
	ConnectionARN string    `json:"connection_arn"`
	Endpoint      string    `json:"endpoint"`
	Method        string    `json:"method"`
	Rate          int       `json:"rate"`
	Modified      time.Time `json:"modified"`
}

// APIDestinationInfo is an API destination.
type APIDestinationInfo struct {
	Name, ARN, Description string
	ConnectionARN          string
	Endpoint, Method       string
	Rate                   int // requests a second
	State                  string
	Created, Modified      time.Time
}

// NewAPIDestination asks for an API destination.
type NewAPIDestination struct {
	Name, Description, ConnectionARN, Endpoint, Method string
	Rate                                               *int // nil is 300
}

// APIDestinationChange changes what is not nil or "".
type APIDestinationChange struct {
	Name                            string
	Description                     *string
	ConnectionARN, Endpoint, Method string
	Rate                            *int
}

// CreateAPIDestination makes an HTTP endpoint a possible target of rules.
func (s *Service) CreateAPIDestination(ctx context.Context, c account.AWSCaller, p NewAPIDestination) (*APIDestinationInfo, error) {
	doc := &apiDestinationDoc{
		ARN: arn(c, "api-destination/"+p.Name+"/"+event.NewUUID().String()), Description: p.Description,
		Endpoint: p.Endpoint, Method: p.Method, Rate: defaultRate, Modified: s.now().UTC().Truncate(time.Millisecond),
	}
	set(&doc.Rate, p.Rate)
	var v checks
	v.name("name", p.Name)
	if err := s.checkAPIDestination(&v, doc); err != nil {
		return nil, err
	}
	connection, err := s.connect(ctx, c, doc, p.ConnectionARN)
	if err != nil {
		return nil, err
	}
	r := &store.Resource{ResourceKey: key(c, store.KindAPIDestination, 0, p.Name)}
	if err := put(r, doc); err != nil {
		return nil, err
	}
	if err := s.change(ctx, r); errors.Is(err, store.ErrExists) {
		return nil, exists("An api-destination '%s' already exists.", p.Name)
	} else if err != nil {
		return nil, err
	}
	s.works.endpoints.forget()
	return apiDestinationOf(r, doc, connection), nil
}

// DescribeAPIDestination returns an API destination.
func (s *Service) DescribeAPIDestination(ctx context.Context, c account.AWSCaller, name string) (*APIDestinationInfo, error) {
	r, doc, err := s.apiDestination(ctx, c, name)
	if err != nil {
		return nil, err
	}
	_, connection, err := s.connectionByNumber(ctx, doc.Connection)
	if err != nil {
		return nil, err
	}
	return apiDestinationOf(r, doc, connection), nil
}

// UpdateAPIDestination changes an API destination, from the next request on.
func (s *Service) UpdateAPIDestination(ctx context.Context, c account.AWSCaller, p APIDestinationChange) (changed *APIDestinationInfo, err error) {
	err = again(func() error {
		r, doc, err := s.apiDestination(ctx, c, p.Name)
		if err != nil {
			return err
		}
		set(&doc.Description, p.Description)
		doc.Modified = s.now().UTC().Truncate(time.Millisecond)
		for _, one := range []struct {
			to   *string
			text string
		}{{&doc.Endpoint, p.Endpoint}, {&doc.Method, p.Method}} {
			if one.text != "" {
				*one.to = one.text
			}
		}
		set(&doc.Rate, p.Rate)
		if err := s.checkAPIDestination(&checks{}, doc); err != nil {
			return err
		}
		var connection *connectionDoc
		if p.ConnectionARN != "" {
			connection, err = s.connect(ctx, c, doc, p.ConnectionARN)
		} else {
			_, connection, err = s.connectionByNumber(ctx, doc.Connection)
		}
		if err != nil {
			return err
		}
		if err := put(r, doc); err != nil {
			return err
		}
		changed = apiDestinationOf(r, doc, connection)
		return s.change(ctx, r)
	})
	s.works.endpoints.forget()
	return changed, err
}

// DeleteAPIDestination deletes an API destination. Rules that send to it keep
// their targets, which fail.
func (s *Service) DeleteAPIDestination(ctx context.Context, c account.AWSCaller, name string) error {
	err := again(func() error {
		r, _, err := s.apiDestination(ctx, c, name)
		if err != nil {
			return err
		}
		bury(r)
		return s.change(ctx, r)
	})
	s.works.endpoints.forget()
	return err
}

// ListAPIDestinations returns a page of API destinations by name; see
// ListArchives for after and next. connectionARN "" lists all.
func (s *Service) ListAPIDestinations(ctx context.Context, c account.AWSCaller, prefix, connectionARN, after string, limit int) (destinations []*APIDestinationInfo, next string, err error) {
	return pageOf(ctx, s, key(c, store.KindAPIDestination, 0, prefix), after, limit, func(r *store.Resource, doc *apiDestinationDoc) (*APIDestinationInfo, error) {
		if connectionARN != "" && doc.ConnectionARN != connectionARN {
			return nil, nil
		}
		_, connection, err := s.connectionByNumber(ctx, doc.Connection)
		if err != nil {
			return nil, err
		}
		return apiDestinationOf(r, doc, connection), nil
	})
}

func (s *Service) apiDestination(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *apiDestinationDoc, error) {
	r, doc, err := get[apiDestinationDoc](ctx, s, key(c, store.KindAPIDestination, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("An api-destination '%s' does not exist.", name)
	}
	return r, doc, err
}

// apiDestinationOf takes nil for a connection that was deleted.
func apiDestinationOf(r *store.Resource, doc *apiDestinationDoc, connection *connectionDoc) *APIDestinationInfo {
	state := APIDestinationInactive
	if connection != nil && connection.State == ConnectionAuthorized {
		state = APIDestinationActive
	}
	return &APIDestinationInfo{
		Name: r.Name, ARN: doc.ARN, Description: doc.Description, ConnectionARN: doc.ConnectionARN,
		Endpoint: doc.Endpoint, Method: doc.Method, Rate: doc.Rate, State: state, Created: r.Created, Modified: doc.Modified,
	}
}

// connect joins an API destination to the caller's connection of this ARN.
func (s *Service) connect(ctx context.Context, c account.AWSCaller, doc *apiDestinationDoc, text string) (*connectionDoc, error) {
	var v checks
	v.arn("connectionArn", text)
	if err := v.err(); err != nil {
		return nil, err
	}
	a, _ := ParseARN(text)
	path := strings.Split(a.Resource, "/")
	if a.Service != "events" || path[0] != "connection" || len(path) < 2 {
		return nil, invalid("Parameter ConnectionArn is not valid. Reason: Must contain a connection ARN.")
	}
	r, connection, err := s.connection(ctx, c, path[1])
	if err == nil && connection.ARN != text {
		err = notFound("Connection '%s' does not exist.", path[1])
	}
	if err != nil {
		return nil, err
	}
	doc.Connection, doc.ConnectionARN = r.Number, text
	return connection, nil
}

// connectionByNumber returns nil for a connection that was deleted.
func (s *Service) connectionByNumber(ctx context.Context, number int64) (*store.Resource, *connectionDoc, error) {
	found, err := s.store.ResourcesByNumber(ctx, []int64{number})
	if err != nil {
		return nil, nil, failed("read connection", err)
	}
	r := found[number]
	if r == nil || r.Kind != store.KindConnection || isDeleted(r) {
		return nil, nil, nil
	}
	doc, err := decode[connectionDoc](r)
	return r, doc, err
}

func (s *Service) checkAPIDestination(v *checks, doc *apiDestinationDoc) error {
	v.between("invocationRateLimitPerSecond", &doc.Rate, 1, math.MaxInt)
	v.length("description", doc.Description, 0, 512)
	v.enum("httpMethod", doc.Method, "POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
	if err := v.err(); err != nil {
		return err
	}
	return s.checkEndpoint("InvocationEndpoint", doc.Endpoint)
}

// checkEndpoint checks a URL's form. Whether its address may be connected to
// is decided where it is connected to.
func (s *Service) checkEndpoint(member, text string) error {
	u, err := netguard.Policy{AllowPrivate: true}.CheckURL(text)
	if err != nil {
		return fault.New(fault.Invalid, codeValidation, "Parameter %s is not valid. Reason: %s.", member, err)
	}
	if u.Scheme != "https" && !s.o.AllowHTTP {
		return invalid("Parameter %s is not valid. Reason: the URL must start with https:// (http:// is for development, with --dev).", member)
	}
	return nil
}
