package stripeapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sandbox"
)

// Sandbox are the verbs of sandbox.Service.
type Sandbox interface {
	Do(ctx context.Context, c account.Caller, r sandbox.Request) ([]byte, error)
	MirrorV2(ctx context.Context, c account.Caller, path string) ([]byte, error)
	MeterEvents(ctx context.Context, c account.Caller, events []sandbox.MeterEvent) error
}

// object finds the handler of paths that have none of their own: the objects of
// API v1, and those of API v2 that events show. It is nil for other paths.
func (c *call) object() handler {
	switch {
	case c.api.sandbox == nil:
		return nil
	case strings.HasPrefix(c.r.URL.Path, "/v1/"):
		switch c.r.Method {
		case http.MethodGet, http.MethodPost, http.MethodDelete:
			return (*call).sandboxObject
		}
	case c.generation() == 2 && c.r.Method == http.MethodGet:
		return (*call).mirroredObject
	}
	return nil
}

func (c *call) sandboxObject() ([]byte, error) {
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	tree, err := form.tree()
	if err != nil {
		return nil, err
	}
	return c.api.sandbox.Do(c.r.Context(), c.caller, sandbox.Request{Method: sandbox.Method(c.r.Method), Path: c.r.URL.Path, Params: tree, ID: c.id})
}

func (c *call) mirroredObject() ([]byte, error) {
	return c.api.sandbox.MirrorV2(c.r.Context(), c.caller, c.r.URL.Path)
}

// refused answers with an error in the words that the sandbox has for it.
func (c *call) refused(r *sandbox.Refusal) {
	body, err := encode(map[string]any{"error": r.Body})
	if err != nil {
		c.writeError(http.StatusInternalServerError, c.internal())
		return
	}
	status := c.status(&fault.Error{Kind: r.Kind})
	if r.Declined {
		status = http.StatusPaymentRequired
	}
	c.write(status, body)
}
