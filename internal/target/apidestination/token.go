package apidestination

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

const (
	// unstatedLife is how long a token is used that does not say how long it
	// lives. One that ended earlier is found out by a 401.
	unstatedLife = 5 * time.Minute
	// maxTokens bounds what is kept.
	maxTokens = 10_000
)

// tokens keeps the tokens of OAuth connections until shortly before they run
// out. Those who need the same one while it is fetched wait for it.
type tokens struct {
	wire  *wire.Client
	mu    sync.Mutex
	known map[[32]byte]*token
}

type token struct {
	fetching chan struct{} // holds one value; who takes it may fetch

	mu    sync.Mutex
	text  string
	until time.Time
}

func (k *token) usable() (text string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text, k.text != "" && time.Now().Before(k.until)
}

func (k *token) set(text string, life time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text, k.until = text, time.Now().Add(life)
}

// tokenError is why there is no token, for a person, without secrets.
type tokenError struct {
	class   event.Class
	message string
	refused bool // asking again with the same credentials cannot help
}

func (e *tokenError) Error() string { return e.message }

// keyOf tells one set of credentials from another; it keeps none in clear.
func keyOf(e *Endpoint) [32]byte {
	b, _ := json.Marshal([]any{ // strings always have a form
		e.TokenURL, e.TokenMethod, e.ClientID, e.ClientSecret, e.TokenHeader, e.TokenQuery, e.TokenBody,
	})
	return sha256.Sum256(b)
}

func (t *tokens) entry(k [32]byte) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[k]
	if known == nil {
		if len(t.known) >= maxTokens {
			clear(t.known)
		}
		known = &token{fetching: make(chan struct{}, 1)}
		known.fetching <- struct{}{}
		t.known[k] = known
	}
	return known
}

// get returns a token, and whether it was fetched since it was asked for.
func (t *tokens) get(ctx context.Context, e *Endpoint, deadline time.Time) (text string, fresh bool, err error) {
	known := t.entry(keyOf(e))
	if text, ok := known.usable(); ok {
		return text, false, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-known.fetching:
	case <-ctx.Done():
		return "", false, ctx.Err()
	case <-timer.C:
		return "", false, &tokenError{class: event.ClassTimeout, message: "The connection's authorization endpoint was slow to give others a token."}
	}
	defer func() { known.fetching <- struct{}{} }()
	if text, ok := known.usable(); ok { // somebody else just fetched it
		return text, true, nil
	}
	text, life, err := t.fetch(ctx, e, deadline)
	if err != nil {
		return "", false, err
	}
	known.set(text, life)
	return text, true, nil
}

// drop forgets a token that was not taken, unless there is a new one already.
func (t *tokens) drop(e *Endpoint, text string) {
	known := t.entry(keyOf(e))
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.text == text {
		known.text = ""
	}
}

// Authorize asks for a token, to see that a connection's credentials work. The
// error says why there is none; refused means that asking again with the same
// credentials cannot help.
func (c *Client) Authorize(ctx context.Context, e Endpoint) (refused bool, err error) {
	_, _, err = c.tokens.get(ctx, &e, time.Now().Add(c.timeout))
	if failed, ok := err.(*tokenError); ok { //nolint:errorlint // it is never wrapped
		return failed.refused, failed
	}
	return false, err
}

// fetch asks the authorization endpoint.
func (t *tokens) fetch(ctx context.Context, e *Endpoint, deadline time.Time) (text string, life time.Duration, err error) {
	q, err := t.request(e)
	if err != nil {
		return "", 0, &tokenError{class: event.ClassConfig, message: "The connection's authorization request cannot be made: " + err.Error() + ".", refused: true}
	}
	r := target.Result{Started: time.Now()}
	_, refused := q.origin.Exchange(ctx, wire.Request{Head: q, Body: q.body, Start: r.Started, Deadline: deadline}, &r)
	switch {
	case ctx.Err() != nil:
		return "", 0, ctx.Err()
	case refused:
		return "", 0, &tokenError{
			class:   event.ClassStatus,
			message: "The connection's authorization endpoint answered " + wire.StatusText(r.Status) + "; check the connection's client id, secret and endpoint.",
			refused: !passesForToken(r.Status),
		}
	case r.Class != event.ClassNone:
		return "", 0, &tokenError{
			class:   r.Class,
			message: "The connection's authorization endpoint gave no token: " + r.Message,
			refused: r.Class == event.ClassRedirect,
		}
	}
	text, life, ok := readToken(r.Body, r.Truncated)
	if !ok {
		return "", 0, &tokenError{class: event.ClassProtocol, message: "The connection's authorization endpoint answered without an access_token.", refused: true}
	}
	return text, life, nil
}

func passesForToken(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}

// request makes the request of the client credentials grant: in the query
// of a GET, else as a form, or as JSON where the connection's header says so.
func (t *tokens) request(e *Endpoint) (*request, error) {
	u, err := wire.ParseURL(e.TokenURL)
	if err != nil {
		return nil, err
	}
	form := map[string]string{"grant_type": "client_credentials", "client_id": e.ClientID, "client_secret": e.ClientSecret}
	for _, one := range e.TokenBody {
		form[one[0]] = one[1]
	}
	encoded := url.Values{}
	for name, value := range form {
		encoded.Set(name, value)
	}
	h := http.Header{"Accept": {"application/json"}}
	for _, one := range e.TokenHeader {
		h.Set(one[0], one[1])
	}
	q := &request{origin: t.wire.Origin(u)}
	method := cmp.Or(e.TokenMethod, http.MethodPost)
	if method == http.MethodGet {
		addQuery(u, encoded, e.TokenQuery)
	} else {
		addQuery(u, nil, e.TokenQuery)
		setDefault(h, "Content-Type", "application/x-www-form-urlencoded")
		q.body = []byte(encoded.Encode())
		if strings.HasPrefix(h.Get("Content-Type"), "application/json") {
			q.body, _ = json.Marshal(form) // strings always have a form
		}
	}
	q.head, err = head(method, u, h)
	return q, err
}

// readToken reads an answer of RFC 6749, section 5.1. It takes a token a
// little before its end for ended.
func readToken(body []byte, truncated bool) (text string, life time.Duration, ok bool) {
	var answer struct {
		Token   string          `json:"access_token"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if truncated || json.Unmarshal(body, &answer) != nil || answer.Token == "" || !validValue(answer.Token) {
		return "", 0, false
	}
	// Some servers quote the number.
	seconds, err := strconv.ParseFloat(strings.Trim(string(answer.Expires), `"`), 64)
	if err != nil || seconds <= 0 {
		return answer.Token, unstatedLife, true
	}
	life = time.Duration(min(seconds, 30*24*3600) * float64(time.Second))
	return answer.Token, life - min(life/10, 30*time.Second), true
}
