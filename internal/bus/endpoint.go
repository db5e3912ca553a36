package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// Endpoint is what is needed to send to an API destination. It holds secrets
// in clear. Lists are of names and values; a later one of the same name
// counts.
type Endpoint struct {
	// URL may have *s in its path. "" means that there is no such API
	// destination.
	URL    string
	Method string
	Rate   int // requests a second
	// Inactive says why nothing can be sent now, "" if it can; Final that this
	// will not pass by itself.
	Inactive string
	Final    bool
	// Header, Query and Body are the connection's; Header includes the
	// credentials, unless those are a token.
	Header, Query, Body [][2]string

	// TokenURL is where a token comes from, "" if none is needed.
	TokenURL, TokenMethod              string
	ClientID, ClientSecret             string
	TokenHeader, TokenQuery, TokenBody [][2]string
}

// endpointTTL is how soon a change made by another process is noticed.
const endpointTTL = 2 * time.Second

// endpointCache holds endpoints in memory for a moment: they are asked for
// with each request that is sent.
type endpointCache struct {
	mu sync.Mutex
	// changes counts what made the entries stale, so that one that was read
	// before a change is not kept after it.
	changes int64
	entries map[endpointKey]endpointEntry
}

type endpointKey struct {
	scope event.Scope
	arn   string
}

type endpointEntry struct {
	endpoint Endpoint
	until    time.Time
}

func (c *endpointCache) get(k endpointKey, now time.Time) (e Endpoint, changes int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[k]
	return entry.endpoint, c.changes, ok && now.Before(entry.until)
}

func (c *endpointCache) keep(k endpointKey, e Endpoint, changes int64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != changes {
		return
	}
	if c.entries == nil || len(c.entries) > 10_000 {
		c.entries = map[endpointKey]endpointEntry{}
	}
	c.entries[k] = endpointEntry{e, now.Add(endpointTTL)}
}

func (c *endpointCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	clear(c.entries)
}

// APIDestination resolves the ARN of an API destination for one who sends to
// it. An error means that it could not be read now.
func (s *Service) APIDestination(scope event.Scope, text string) (Endpoint, error) {
	k := endpointKey{scope, text}
	now := s.now()
	e, changes, ok := s.works.endpoints.get(k, now)
	if ok {
		return e, nil
	}
	// A time-out of its own: who sends waits for this.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e, err := s.loadEndpoint(ctx, scope, text)
	if err != nil {
		return Endpoint{}, err
	}
	s.works.endpoints.keep(k, e, changes, now)
	return e, nil
}

func (s *Service) loadEndpoint(ctx context.Context, scope event.Scope, text string) (Endpoint, error) {
	a, ok := ParseARN(text)
	path := strings.Split(a.Resource, "/")
	if !ok || path[0] != "api-destination" || len(path) < 2 {
		return Endpoint{}, nil
	}
	_, doc, err := get[apiDestinationDoc](ctx, s, store.ResourceKey{Scope: scope, Region: a.Region, Kind: store.KindAPIDestination, Name: path[1]})
	if errors.Is(err, store.ErrNotFound) || err == nil && doc.ARN != text {
		return Endpoint{}, nil
	}
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{URL: doc.Endpoint, Method: doc.Method, Rate: doc.Rate}
	r, connection, err := s.connectionByNumber(ctx, doc.Connection)
	switch {
	case err != nil:
		return Endpoint{}, err
	case r == nil:
		e.Inactive, e.Final = "its connection was deleted", true
		return e, nil
	case connection.State == ConnectionAuthorizing:
		e.Inactive = "its connection is not authorized yet"
		return e, nil
	case connection.State != ConnectionAuthorized:
		e.Inactive, e.Final = "its connection is deauthorized", true
		return e, nil
	}
	return e, s.addCredentials(&e, r, connection)
}

// addCredentials adds what a connection adds to each request.
func (s *Service) addCredentials(e *Endpoint, r *store.Resource, doc *connectionDoc) error {
	auth, err := s.credentials(r, doc)
	if err != nil {
		return err
	}
	if p := auth.HTTP; p != nil {
		e.Header, e.Query, e.Body = pairs(p.Header), pairs(p.Query), pairs(p.Body)
	}
	switch {
	case doc.Type == AuthBasic && auth.Basic != nil:
		plain := auth.Basic.Username + ":" + auth.Basic.Password
		e.Header = append(e.Header, [2]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))})
	case doc.Type == AuthAPIKey && auth.APIKey != nil:
		e.Header = append(e.Header, [2]string{auth.APIKey.Name, auth.APIKey.Value})
	case doc.Type == AuthOAuth && auth.OAuth != nil && auth.OAuth.Client != nil:
		o := auth.OAuth
		e.TokenURL, e.TokenMethod, e.ClientID, e.ClientSecret = o.Endpoint, o.Method, o.Client.ID, o.Client.Secret
		if p := o.HTTP; p != nil {
			e.TokenHeader, e.TokenQuery, e.TokenBody = pairs(p.Header), pairs(p.Query), pairs(p.Body)
		}
	default:
		return fmt.Errorf("read credentials of connection %s: not those of type %s", r.Name, doc.Type)
	}
	return nil
}

func pairs(list []HTTPParameter) [][2]string {
	all := make([][2]string, len(list))
	for i, one := range list {
		all[i] = [2]string{one.Key, one.Value}
	}
	return all
}

func isDeleted(r *store.Resource) bool { return r.Status == event.Deleted }
