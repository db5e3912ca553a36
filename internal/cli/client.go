package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const defaultServer = "http://127.0.0.1:4242"

// maxAnswer bounds what is read of an answer: more than the largest page of the
// largest events.
const maxAnswer = 256 << 20

// client calls the API of a server.
type client struct {
	base, key string
	http      *http.Client
}

// address is the server that the global flags and the environment name.
func (c *cli) address() (string, error) {
	base, source := c.server, "--server"
	if base == "" {
		base, source = c.env("WAYBILL_URL"), "WAYBILL_URL"
	}
	if base == "" {
		base = defaultServer
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		// Not repeated, as it may hold a password.
		return "", usagef("%s is not the address of a server: write it like %s", source, defaultServer)
	}
	return u.Scheme + "://" + u.Host, nil
}

// client returns the client that the global flags and the environment describe.
func (c *cli) client() (*client, error) {
	base, err := c.address()
	if err != nil {
		return nil, err
	}
	key := c.apiKey
	if key == "" {
		key = c.env("WAYBILL_API_KEY")
	}
	if key == "" {
		return nil, usagef("there is no API key: set WAYBILL_API_KEY to the sk_… key that `waybill serve` printed on its first start, or pass --api-key")
	}
	return newClient(base, key), nil
}

func newClient(base, key string) *client {
	return &client{base: base, key: key, http: &http.Client{
		Timeout: 60 * time.Second,
		// The API redirects nowhere, and the key is for this server alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// live tells whether the key is one of live mode.
func (c *client) live() bool { return strings.HasPrefix(c.key, "sk_live_") }

// apiError is an answer that is not 2xx.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func isNotFound(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.status == http.StatusNotFound
}

func (c *client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, "", nil)
}

func (c *client) postJSON(ctx context.Context, path string, body []byte) ([]byte, error) {
	return c.do(ctx, http.MethodPost, path, "application/json", body)
}

func (c *client) postForm(ctx context.Context, path string, form url.Values) ([]byte, error) {
	return c.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

// do returns the body of a 2xx. Other answers are an *apiError.
func (c *client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", c.base, err)
	}
	if answer.StatusCode >= 200 && answer.StatusCode <= 299 {
		return raw, nil
	}
	var reply struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(raw, &reply) != nil || reply.Error.Message == "" {
		return nil, &apiError{answer.StatusCode, fmt.Sprintf("%s answered %s without saying why: is it a Waybill server?", c.base, answer.Status)}
	}
	if answer.StatusCode == http.StatusUnauthorized {
		reply.Error.Message += "; the key is that of --api-key, or else of WAYBILL_API_KEY: is it one of " + c.base + "?"
	}
	return nil, &apiError{answer.StatusCode, reply.Error.Message}
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("there is no server at %s: start one with `waybill serve`, or name another with --server or WAYBILL_URL", c.base)
	}
	var u *url.Error // repeats method and path, which only distract here
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("call %s: %w", c.base, err)
}

// pathID puts an id into a path; what is no id must not become another path.
func pathID(prefix, id, suffix string) string { return prefix + url.PathEscape(id) + suffix }
