package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

const secretText = "s3cret"

func basic() *ConnectionAuth {
	return &ConnectionAuth{
		Basic: &BasicAuth{Username: "u", Password: secretText},
		HTTP: &HTTPParameters{
			Header: []HTTPParameter{{Key: "X-Key", Value: secretText, Secret: true}, {Key: "X-Open", Value: "v"}},
			Body:   []HTTPParameter{{Key: "b", Value: "w"}},
		},
	}
}

func oauth() *ConnectionAuth {
	return &ConnectionAuth{OAuth: &OAuth{
		Client: &OAuthClient{ID: "id", Secret: secretText}, Endpoint: "https://auth.example.com/token", Method: "POST",
	}}
}

// destination makes an API destination on a connection and returns its ARN.
func (f *worksFixture) destination(connectionARN string) string {
	f.t.Helper()
	d, err := f.CreateAPIDestination(f.t.Context(), f.caller, NewAPIDestination{
		Name: "shop", ConnectionARN: connectionARN, Endpoint: "https://shop.example.com/*", Method: "POST",
	})
	f.must(err)
	return d.ARN
}

func (f *worksFixture) endpoint(arn string) Endpoint {
	f.t.Helper()
	e, err := f.APIDestination(f.caller.Scope, arn)
	f.must(err)
	return e
}

func mustHide(t *testing.T, shown any) {
	t.Helper()
	b, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secretText) {
		t.Errorf("shows the secret: %s", b)
	}
}

func TestConnection(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	made, err := f.CreateConnection(ctx, f.caller, NewConnection{Name: "c", Type: AuthBasic, Auth: basic()})
	f.must(err)
	mustHide(t, made)
	if made.State != ConnectionAuthorized || made.Authorized.IsZero() || made.Auth.Basic.Username != "u" {
		t.Errorf("%+v", made)
	}
	stored, _, err := f.connection(ctx, f.caller, "c")
	f.must(err)
	if strings.Contains(string(stored.Config), secretText) || strings.Contains(string(stored.Secrets), secretText) {
		t.Error("the store has the secret in clear")
	}
	_, err = f.CreateConnection(ctx, f.caller, NewConnection{Name: "c", Type: AuthBasic, Auth: basic()})
	mustFault(t, err, codeExists)

	arn := f.destination(made.ARN)
	e := f.endpoint(arn)
	if e.Inactive != "" || e.Rate != defaultRate || len(e.Header) != 3 || e.Header[0] != [2]string{"X-Key", secretText} ||
		e.Header[2] != [2]string{"Authorization", "Basic dTpzM2NyZXQ="} || len(e.Body) != 1 {
		t.Errorf("%+v", e)
	}

	// What is left out stays, a new type takes its place.
	_, err = f.UpdateConnection(ctx, f.caller, ConnectionChange{Name: "c", Auth: &ConnectionAuth{
		Basic: &BasicAuth{Username: "v"},
		HTTP:  &HTTPParameters{Header: []HTTPParameter{{Key: "X-Key", Secret: true}}},
	}})
	f.must(err)
	if e := f.endpoint(arn); len(e.Header) != 2 || e.Header[0][1] != secretText || e.Header[1][1] != "Basic djpzM2NyZXQ=" || len(e.Body) != 0 {
		t.Errorf("%+v", e)
	}
	_, err = f.UpdateConnection(ctx, f.caller, ConnectionChange{Name: "c", Type: AuthAPIKey})
	mustFault(t, err, codeValidation)
	changed, err := f.UpdateConnection(ctx, f.caller, ConnectionChange{Name: "c", Type: AuthAPIKey, Auth: &ConnectionAuth{APIKey: &APIKeyAuth{Name: "X-Api", Value: secretText}}})
	f.must(err)
	mustHide(t, changed)
	if changed.Auth.Basic != nil || changed.Type != AuthAPIKey {
		t.Errorf("%+v", changed)
	}
	if e := f.endpoint(arn); e.Header[len(e.Header)-1] != [2]string{"X-Api", secretText} {
		t.Errorf("%+v", e)
	}

	gone, err := f.DeauthorizeConnection(ctx, f.caller, "c")
	f.must(err)
	if gone.State != ConnectionDeauthorized {
		t.Errorf("%+v", gone)
	}
	if e := f.endpoint(arn); e.Inactive == "" || !e.Final || len(e.Header) != 0 {
		t.Errorf("%+v", e)
	}
	if stored, _, err := f.connection(ctx, f.caller, "c"); err != nil || stored.Secrets != nil {
		t.Error("the secrets are still there", err)
	}
	deleted, err := f.DeleteConnection(ctx, f.caller, "c")
	if err != nil || deleted.State != ConnectionDeleting {
		t.Error(deleted, err)
	}
	_, err = f.DescribeConnection(ctx, f.caller, "c")
	mustFault(t, err, codeNotFound)
	if d, err := f.DescribeAPIDestination(ctx, f.caller, "shop"); err != nil || d.State != APIDestinationInactive {
		t.Error(d, err)
	}
	f.must(f.DeleteAPIDestination(ctx, f.caller, "shop"))
	if e := f.endpoint(arn); e.URL != "" {
		t.Errorf("%+v", e)
	}
}

func TestConnectionRefuses(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	f.o.AllowHTTP = false
	edit := func(a *ConnectionAuth, fn func(*ConnectionAuth)) *ConnectionAuth {
		fn(a)
		return a
	}
	for name, p := range map[string]NewConnection{
		"type":          {Name: "c", Type: "NONE", Auth: basic()},
		"none":          {Name: "c", Type: AuthBasic},
		"other type":    {Name: "c", Type: AuthAPIKey, Auth: basic()},
		"name":          {Name: "c d", Type: AuthBasic, Auth: basic()},
		"no password":   {Name: "c", Type: AuthBasic, Auth: edit(basic(), func(a *ConnectionAuth) { a.Basic.Password = "" })},
		"colon":         {Name: "c", Type: AuthBasic, Auth: edit(basic(), func(a *ConnectionAuth) { a.Basic.Username = "a:b" })},
		"header":        {Name: "c", Type: AuthAPIKey, Auth: &ConnectionAuth{APIKey: &APIKeyAuth{Name: "X Y", Value: secretText}}},
		"header value":  {Name: "c", Type: AuthAPIKey, Auth: &ConnectionAuth{APIKey: &APIKeyAuth{Name: "X", Value: secretText + "\r\nY: z"}}},
		"host":          {Name: "c", Type: AuthAPIKey, Auth: &ConnectionAuth{APIKey: &APIKeyAuth{Name: "host", Value: secretText}}},
		"no client":     {Name: "c", Type: AuthOAuth, Auth: edit(oauth(), func(a *ConnectionAuth) { a.OAuth.Client = nil })},
		"method":        {Name: "c", Type: AuthOAuth, Auth: edit(oauth(), func(a *ConnectionAuth) { a.OAuth.Method = "HEAD" })},
		"plain http":    {Name: "c", Type: AuthOAuth, Auth: edit(oauth(), func(a *ConnectionAuth) { a.OAuth.Endpoint = "http://a.example.com/" })},
		"not a URL":     {Name: "c", Type: AuthOAuth, Auth: edit(oauth(), func(a *ConnectionAuth) { a.OAuth.Endpoint = "token" })},
		"parameter key": {Name: "c", Type: AuthBasic, Auth: edit(basic(), func(a *ConnectionAuth) { a.HTTP.Query = []HTTPParameter{{Value: "v"}} })},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.CreateConnection(t.Context(), f.caller, p)
			mustFault(t, err, codeValidation)
			if err != nil && strings.Contains(err.Error(), secretText) {
				t.Error("the error has the secret")
			}
		})
	}
}

func TestOAuthConnectionIsAuthorized(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	type answer struct {
		refused bool
		err     error
	}
	var next atomic.Pointer[answer]
	next.Store(&answer{err: errors.New("it does not answer")})
	f.SetAuthorizer(func(_ context.Context, e Endpoint) (bool, error) {
		if e.TokenURL != "https://auth.example.com/token" || e.ClientSecret != secretText {
			t.Errorf("asked with %+v", e)
		}
		return next.Load().refused, next.Load().err
	})
	made, err := f.CreateConnection(ctx, f.caller, NewConnection{Name: "c", Type: AuthOAuth, Auth: oauth()})
	f.must(err)
	mustHide(t, made)
	if made.State != ConnectionAuthorizing {
		t.Errorf("%+v", made)
	}
	arn := f.destination(made.ARN)
	if d, err := f.DescribeAPIDestination(ctx, f.caller, "shop"); err != nil || d.State != APIDestinationInactive {
		t.Error(d, err)
	}
	if e := f.endpoint(arn); e.Inactive == "" || e.Final {
		t.Errorf("%+v", e)
	}
	f.run(f.RunConnections)
	in := func(state, reason string) func() bool {
		return func() bool {
			c, err := f.DescribeConnection(ctx, f.caller, "c")
			return err == nil && c.State == state && c.Reason == reason
		}
	}
	f.until("the reason", in(ConnectionAuthorizing, "it does not answer"))
	next.Store(&answer{})
	f.connectionsChanged()
	f.until("authorization", in(ConnectionAuthorized, ""))
	if e := f.endpoint(arn); e.Inactive != "" || e.TokenURL == "" || e.ClientID != "id" {
		t.Errorf("%+v", e)
	}
	if d, err := f.DescribeAPIDestination(ctx, f.caller, "shop"); err != nil || d.State != APIDestinationActive {
		t.Error(d, err)
	}
	next.Store(&answer{true, errors.New("it says no")})
	_, err = f.UpdateConnection(ctx, f.caller, ConnectionChange{Name: "c", Auth: oauth()})
	f.must(err)
	f.until("refusal", in(ConnectionDeauthorized, "it says no"))
	if e := f.endpoint(arn); e.Inactive == "" || !e.Final {
		t.Errorf("%+v", e)
	}
}

func TestAPIDestinationRefuses(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	made, err := f.CreateConnection(ctx, f.caller, NewConnection{Name: "c", Type: AuthBasic, Auth: basic()})
	f.must(err)
	zero := 0
	good := NewAPIDestination{Name: "d", ConnectionARN: made.ARN, Endpoint: "https://shop.example.com/a/*", Method: "POST"}
	for name, test := range map[string]struct {
		edit func(*NewAPIDestination)
		code string
	}{
		"name":       {func(p *NewAPIDestination) { p.Name = "" }, codeValidation},
		"method":     {func(p *NewAPIDestination) { p.Method = "TRACE" }, codeValidation},
		"endpoint":   {func(p *NewAPIDestination) { p.Endpoint = "shop" }, codeValidation},
		"star host":  {func(p *NewAPIDestination) { p.Endpoint = "https://*.example.com/" }, codeValidation},
		"rate":       {func(p *NewAPIDestination) { p.Rate = &zero }, codeValidation},
		"connection": {func(p *NewAPIDestination) { p.ConnectionARN = arn(f.caller, "connection/none/1") }, codeNotFound},
		"other life": {func(p *NewAPIDestination) { p.ConnectionARN = arn(f.caller, "connection/c/1") }, codeNotFound},
		"not one":    {func(p *NewAPIDestination) { p.ConnectionARN = f.busARN() }, codeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			test.edit(&p)
			_, err := f.CreateAPIDestination(t.Context(), f.caller, p)
			mustFault(t, err, test.code)
		})
	}
	_, err = f.CreateAPIDestination(ctx, f.caller, good)
	f.must(err)
	f.o.AllowHTTP = false
	_, err = f.UpdateAPIDestination(ctx, f.caller, APIDestinationChange{Name: "d", Endpoint: "http://shop.example.com/"})
	mustFault(t, err, codeValidation)
	rate := 7
	changed, err := f.UpdateAPIDestination(ctx, f.caller, APIDestinationChange{Name: "d", Rate: &rate, Method: "PUT"})
	if err != nil || changed.Rate != 7 || changed.Method != "PUT" || changed.Endpoint != good.Endpoint {
		t.Error(changed, err)
	}
	list, _, err := f.ListAPIDestinations(ctx, f.caller, "", made.ARN, "", 0)
	if err != nil || len(list) != 1 || list[0].State != APIDestinationActive {
		t.Error(list, err)
	}
	// Another account's ARN leads nowhere.
	if e, err := f.APIDestination(event.NewScope(99, true), changed.ARN); err != nil || e.URL != "" {
		t.Error(e, err)
	}
}
