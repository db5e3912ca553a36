package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// How a connection authorizes requests.
const (
	AuthBasic  = "BASIC"
	AuthAPIKey = "API_KEY"
	AuthOAuth  = "OAUTH_CLIENT_CREDENTIALS"
)

// The states of a connection. One that authorizes by OAuth is AUTHORIZING
// until it has got its first token; an authorization server that refuses it
// makes it DEAUTHORIZED, with the reason, and so does DeauthorizeConnection.
const (
	ConnectionAuthorizing  = "AUTHORIZING"
	ConnectionAuthorized   = "AUTHORIZED"
	ConnectionDeauthorized = "DEAUTHORIZED"
	ConnectionDeleting     = "DELETING"
)

// ConnectionAuth holds the credentials of a connection and what it adds to
// each request. Stored and shown it lacks everything secret.
type ConnectionAuth struct {
	Basic  *BasicAuth      `json:"BasicAuthParameters,omitempty"`
	APIKey *APIKeyAuth     `json:"ApiKeyAuthParameters,omitempty"`
	OAuth  *OAuth          `json:"OAuthParameters,omitempty"`
	HTTP   *HTTPParameters `json:"InvocationHttpParameters,omitempty"`
}

// BasicAuth is a user name and a password.
type BasicAuth struct {
	Username string
	Password string `json:",omitempty"`
}

// APIKeyAuth is a header and its value.
type APIKeyAuth struct {
	Name  string `json:"ApiKeyName"`
	Value string `json:"ApiKeyValue,omitempty"`
}

// OAuth says where a token comes from.
type OAuth struct {
	Client   *OAuthClient    `json:"ClientParameters,omitempty"`
	Endpoint string          `json:"AuthorizationEndpoint"`
	Method   string          `json:"HttpMethod"`
	HTTP     *HTTPParameters `json:"OAuthHttpParameters,omitempty"`
}

// OAuthClient is who asks for a token.
type OAuthClient struct {
	ID     string `json:"ClientID"`
	Secret string `json:"ClientSecret,omitempty"`
}

// HTTPParameters are added to a request.
type HTTPParameters struct {
	Header []HTTPParameter `json:"HeaderParameters,omitempty"`
	Query  []HTTPParameter `json:"QueryStringParameters,omitempty"`
	Body   []HTTPParameter `json:"BodyParameters,omitempty"`
}

// HTTPParameter is one of them. A secret value is not shown again.
type HTTPParameter struct {
	Key    string
	Value  string `json:",omitempty"`
	Secret bool   `json:"IsValueSecret"`
}

// connectionDoc is a connection as stored; Auth is without secrets. Sealed
// beside it is the whole ConnectionAuth.
type connectionDoc struct {
	ARN         string         `json:"arn"`
	SecretARN   string         `json:"secret_arn"`
	Description string         `json:"description,omitzero"`
	Type        string         `json:"type"`
	Auth        ConnectionAuth `json:"auth"`
	State       string         `json:"state"`
	Reason      string         `json:"reason,omitzero"`
	Modified    time.Time      `json:"modified"`
	Authorized  time.Time      `json:"authorized,omitzero"`
}

// Connection is a connection without its secrets.
type Connection struct {
	Name, ARN, SecretARN string
	Description          string
	Type                 string
	Auth                 ConnectionAuth
	State, Reason        string
	Created, Modified    time.Time
	Authorized           time.Time // zero if never
}

// NewConnection asks for a connection.
type NewConnection struct {
	Name, Description, Type string
	Auth                    *ConnectionAuth
}

// ConnectionChange changes what is not nil or "".
type ConnectionChange struct {
	Name        string
	Description *string
	Type        string
	// Auth replaces the members that it has; a credential that it leaves out
	// stays.
	Auth *ConnectionAuth
}

// CreateConnection stores credentials.
func (s *Service) CreateConnection(ctx context.Context, c account.AWSCaller, p NewConnection) (*Connection, error) {
	var v checks
	v.name("name", p.Name)
	v.length("description", p.Description, 0, 512)
	if p.Auth == nil {
		v.required("authParameters", "")
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := s.checkAuth(p.Type, p.Auth); err != nil {
		return nil, err
	}
	id := event.NewUUID().String()
	doc := &connectionDoc{
		ARN:         arn(c, "connection/"+p.Name+"/"+id),
		SecretARN:   "arn:aws:secretsmanager:" + c.Region + ":" + c.AccountID + ":secret:events!connection/" + p.Name + "/" + id,
		Description: p.Description,
	}
	r := &store.Resource{ResourceKey: key(c, store.KindConnection, 0, p.Name)}
	if err := s.authorize(r, doc, p.Type, p.Auth); err != nil {
		return nil, err
	}
	if err := s.change(ctx, r); errors.Is(err, store.ErrExists) {
		return nil, exists("Connection %s already exists.", p.Name)
	} else if err != nil {
		return nil, err
	}
	s.connectionsChanged()
	return connectionOf(r, doc), nil
}

// authorize puts credentials into a connection, which begins to be authorized
// by them.
func (s *Service) authorize(r *store.Resource, doc *connectionDoc, authType string, auth *ConnectionAuth) error {
	auth = auth.only(authType)
	doc.Type, doc.Auth, doc.Modified, doc.Reason = authType, auth.shown(), s.now().UTC().Truncate(time.Millisecond), ""
	if authType == AuthOAuth {
		doc.State = ConnectionAuthorizing
	} else {
		doc.State, doc.Authorized = ConnectionAuthorized, doc.Modified
	}
	plain, err := json.Marshal(auth)
	if err != nil {
		return fmt.Errorf("encode credentials: %w", err)
	}
	r.Secrets = s.o.Key.Seal(plain, sealContext(r.Scope, doc.ARN))
	return put(r, doc)
}

// sealContext ties credentials to their connection, so that they cannot be
// used for another by copying them in the database.
func sealContext(scope event.Scope, connectionARN string) []byte {
	return []byte("connection/" + strconv.FormatInt(int64(scope), 10) + "/" + connectionARN)
}

// credentials opens what was sealed. Its errors say nothing of that.
func (s *Service) credentials(r *store.Resource, doc *connectionDoc) (*ConnectionAuth, error) {
	plain, err := s.o.Key.Open(r.Secrets, sealContext(r.Scope, doc.ARN))
	if err != nil {
		return nil, fmt.Errorf("open credentials of connection %s: %w", r.Name, err)
	}
	auth := new(ConnectionAuth)
	if json.Unmarshal(plain, auth) != nil { // its error could quote the plaintext
		return nil, fmt.Errorf("decode credentials of connection %s: not what was sealed", r.Name)
	}
	return auth, nil
}

// DescribeConnection returns a connection.
func (s *Service) DescribeConnection(ctx context.Context, c account.AWSCaller, name string) (*Connection, error) {
	r, doc, err := s.connection(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return connectionOf(r, doc), nil
}

// UpdateConnection changes a connection. Credentials that change are
// authorized anew.
func (s *Service) UpdateConnection(ctx context.Context, c account.AWSCaller, p ConnectionChange) (*Connection, error) {
	var v checks
	v.optional("description", p.Description, 0, 512)
	if err := v.err(); err != nil {
		return nil, err
	}
	return s.changeConnection(ctx, c, p.Name, func(r *store.Resource, doc *connectionDoc) error {
		set(&doc.Description, p.Description)
		if p.Auth == nil && (p.Type == "" || p.Type == doc.Type) {
			doc.Modified = s.now().UTC().Truncate(time.Millisecond)
			return put(r, doc)
		}
		known := new(ConnectionAuth)
		if r.Secrets != nil {
			var err error
			if known, err = s.credentials(r, doc); err != nil {
				return err
			}
		}
		authType := doc.Type
		if p.Type != "" {
			authType = p.Type
		}
		auth := known.with(p.Auth)
		if err := s.checkAuth(authType, auth); err != nil {
			return err
		}
		return s.authorize(r, doc, authType, auth)
	})
}

// DeauthorizeConnection destroys a connection's credentials.
func (s *Service) DeauthorizeConnection(ctx context.Context, c account.AWSCaller, name string) (*Connection, error) {
	return s.changeConnection(ctx, c, name, func(r *store.Resource, doc *connectionDoc) error {
		doc.State, doc.Reason, doc.Modified = ConnectionDeauthorized, "", s.now().UTC().Truncate(time.Millisecond)
		r.Secrets = nil
		return put(r, doc)
	})
}

// DeleteConnection deletes a connection. API destinations that use it become
// inactive.
func (s *Service) DeleteConnection(ctx context.Context, c account.AWSCaller, name string) (*Connection, error) {
	deleted, err := s.changeConnection(ctx, c, name, func(r *store.Resource, _ *connectionDoc) error {
		bury(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	deleted.State = ConnectionDeleting
	return deleted, nil
}

func (s *Service) changeConnection(
	ctx context.Context, c account.AWSCaller, name string, change func(*store.Resource, *connectionDoc) error,
) (changed *Connection, err error) {
	err = again(func() error {
		r, doc, err := s.connection(ctx, c, name)
		if err != nil {
			return err
		}
		if err := change(r, doc); err != nil {
			return err
		}
		changed = connectionOf(r, doc)
		return s.change(ctx, r)
	})
	s.connectionsChanged()
	return changed, err
}

// ListConnections returns a page of connections by name; see ListArchives for
// after and next. state "" lists all.
func (s *Service) ListConnections(ctx context.Context, c account.AWSCaller, prefix, state, after string, limit int) (connections []*Connection, next string, err error) {
	if state != "" {
		if err := checkEnum("connectionState", state, "CREATING", "UPDATING", ConnectionDeleting, ConnectionAuthorized,
			ConnectionDeauthorized, ConnectionAuthorizing, "DEAUTHORIZING", "ACTIVE", "FAILED_CONNECTIVITY"); err != nil {
			return nil, "", err
		}
	}
	return pageOf(ctx, s, key(c, store.KindConnection, 0, prefix), after, limit, func(r *store.Resource, doc *connectionDoc) (*Connection, error) {
		if state != "" && doc.State != state {
			return nil, nil
		}
		return connectionOf(r, doc), nil
	})
}

func (s *Service) connection(ctx context.Context, c account.AWSCaller, name string) (*store.Resource, *connectionDoc, error) {
	r, doc, err := get[connectionDoc](ctx, s, key(c, store.KindConnection, 0, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, notFound("Connection '%s' does not exist.", name)
	}
	return r, doc, err
}

func connectionOf(r *store.Resource, doc *connectionDoc) *Connection {
	return &Connection{
		Name: r.Name, ARN: doc.ARN, SecretARN: doc.SecretARN, Description: doc.Description, Type: doc.Type, Auth: doc.Auth,
		State: doc.State, Reason: doc.Reason, Created: r.Created, Modified: doc.Modified, Authorized: doc.Authorized,
	}
}

// checkAuth checks that credentials of a type are whole and can be sent.
func (s *Service) checkAuth(authType string, a *ConnectionAuth) error {
	if err := checkEnum("authorizationType", authType, AuthBasic, AuthOAuth, AuthAPIKey); err != nil {
		return err
	}
	switch {
	case authType == AuthBasic && (a.Basic == nil || a.Basic.Username == "" || a.Basic.Password == ""):
		return invalid("Authorization type BASIC needs BasicAuthParameters with a Username and a Password.")
	case authType == AuthBasic && strings.Contains(a.Basic.Username, ":"):
		return invalid("The Username of BasicAuthParameters cannot contain a colon: it would end there.")
	case authType == AuthAPIKey && (a.APIKey == nil || a.APIKey.Name == "" || a.APIKey.Value == ""):
		return invalid("Authorization type API_KEY needs ApiKeyAuthParameters with an ApiKeyName and an ApiKeyValue.")
	case authType == AuthAPIKey:
		if err := checkHeader("ApiKeyName", a.APIKey.Name, a.APIKey.Value); err != nil {
			return err
		}
	case authType == AuthOAuth:
		if err := s.checkOAuth(a.OAuth); err != nil {
			return err
		}
	}
	return a.HTTP.check("InvocationHttpParameters")
}

func (s *Service) checkOAuth(o *OAuth) error {
	if o == nil || o.Client == nil || o.Client.ID == "" || o.Client.Secret == "" || o.Endpoint == "" {
		return invalid("Authorization type OAUTH_CLIENT_CREDENTIALS needs OAuthParameters with an AuthorizationEndpoint and ClientParameters with a ClientID and a ClientSecret.")
	}
	if err := checkEnum("authParameters.oAuthParameters.httpMethod", o.Method, "GET", "POST", "PUT"); err != nil {
		return err
	}
	if err := s.checkEndpoint("AuthorizationEndpoint", o.Endpoint); err != nil {
		return err
	}
	return o.HTTP.check("OAuthHttpParameters")
}

func (p *HTTPParameters) check(where string) error {
	if p == nil {
		return nil
	}
	for _, list := range [][]HTTPParameter{p.Header, p.Query, p.Body} {
		if len(list) > 100 {
			return invalid("%s can hold at most 100 parameters of a kind.", where)
		}
		for _, one := range list {
			if one.Key == "" {
				return invalid("A parameter of %s has no Key.", where)
			}
		}
	}
	for _, h := range p.Header {
		if err := checkHeader(where, h.Key, h.Value); err != nil {
			return err
		}
	}
	return nil
}

// checkHeader checks that a header can be sent. It does not repeat the value,
// which may be secret.
func checkHeader(where, name, value string) error {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return invalid("The header name '%s' of %s cannot be sent: it has characters that HTTP does not allow.", name, where)
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return invalid("The value of header '%s' of %s cannot be sent: it has control characters.", name, where)
		}
	}
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Keep-Alive", "Expect":
		return invalid("The header '%s' of %s cannot be set: it belongs to the connection.", name, where)
	}
	return nil
}

// shown is a copy without secrets.
func (a *ConnectionAuth) shown() ConnectionAuth {
	v := ConnectionAuth{HTTP: a.HTTP.shown()}
	if a.Basic != nil {
		v.Basic = &BasicAuth{Username: a.Basic.Username}
	}
	if a.APIKey != nil {
		v.APIKey = &APIKeyAuth{Name: a.APIKey.Name}
	}
	if a.OAuth != nil {
		v.OAuth = &OAuth{Client: &OAuthClient{ID: a.OAuth.Client.ID}, Endpoint: a.OAuth.Endpoint, Method: a.OAuth.Method, HTTP: a.OAuth.HTTP.shown()}
	}
	return v
}

func (p *HTTPParameters) shown() *HTTPParameters {
	if p == nil {
		return nil
	}
	hide := func(list []HTTPParameter) []HTTPParameter {
		shown := make([]HTTPParameter, len(list))
		for i, one := range list {
			if one.Secret {
				one.Value = ""
			}
			shown[i] = one
		}
		return shown
	}
	return &HTTPParameters{Header: hide(p.Header), Query: hide(p.Query), Body: hide(p.Body)}
}

// with is a copy in which what p has replaces what a has. A secret that p
// leaves out is a's.
func (a *ConnectionAuth) with(p *ConnectionAuth) *ConnectionAuth {
	merged := *a
	if p == nil {
		return &merged
	}
	if b := p.Basic; b != nil {
		merged.Basic = &BasicAuth{Username: b.Username, Password: b.Password}
		if a.Basic != nil {
			keep(&merged.Basic.Username, a.Basic.Username)
			keep(&merged.Basic.Password, a.Basic.Password)
		}
	}
	if k := p.APIKey; k != nil {
		merged.APIKey = &APIKeyAuth{Name: k.Name, Value: k.Value}
		if a.APIKey != nil {
			keep(&merged.APIKey.Name, a.APIKey.Name)
			keep(&merged.APIKey.Value, a.APIKey.Value)
		}
	}
	if o := p.OAuth; o != nil {
		merged.OAuth = a.OAuth.with(o)
	}
	merged.HTTP = a.HTTP.with(p.HTTP)
	return &merged
}

func (o *OAuth) with(p *OAuth) *OAuth {
	if o == nil {
		o = &OAuth{}
	}
	merged := &OAuth{Client: &OAuthClient{}, Endpoint: p.Endpoint, Method: p.Method, HTTP: o.HTTP.with(p.HTTP)}
	keep(&merged.Endpoint, o.Endpoint)
	keep(&merged.Method, o.Method)
	if p.Client != nil {
		*merged.Client = *p.Client
	}
	if o.Client != nil {
		keep(&merged.Client.ID, o.Client.ID)
		keep(&merged.Client.Secret, o.Client.Secret)
	}
	return merged
}

func (p *HTTPParameters) with(q *HTTPParameters) *HTTPParameters {
	if q == nil {
		return p
	}
	if p == nil {
		p = &HTTPParameters{}
	}
	return &HTTPParameters{Header: keepValues(q.Header, p.Header), Query: keepValues(q.Query, p.Query), Body: keepValues(q.Body, p.Body)}
}

// keepValues fills the secret values that now leaves out with those known.
func keepValues(now, known []HTTPParameter) []HTTPParameter {
	filled := make([]HTTPParameter, len(now))
	for i, one := range now {
		if one.Secret && one.Value == "" {
			for _, old := range known {
				if old.Key == one.Key && old.Secret {
					one.Value = old.Value
				}
			}
		}
		filled[i] = one
	}
	return filled
}

// only is a copy without the credentials of other types.
func (a *ConnectionAuth) only(authType string) *ConnectionAuth {
	v := &ConnectionAuth{HTTP: a.HTTP}
	switch authType {
	case AuthBasic:
		v.Basic = a.Basic
	case AuthAPIKey:
		v.APIKey = a.APIKey
	case AuthOAuth:
		v.OAuth = a.OAuth
	}
	return v
}

func keep(dst *string, known string) {
	if *dst == "" {
		*dst = known
	}
}
