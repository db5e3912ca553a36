package stripeapi

import (
	"strings"

	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

// A webhook endpoint is API v1's view of an event destination that sends
// snapshots to a URL. Their ids differ in the prefix only, and a change through
// one view is seen through the other.

const endpointsPath = "/v1/webhook_endpoints"

// endpointName is what API v2 shows of one: API v1 has no names.
const endpointName = "Webhook endpoint"

type endpointObject struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	APIVersion    *string           `json:"api_version"`
	Application   *string           `json:"application"`
	Created       int64             `json:"created"`
	Description   *string           `json:"description"`
	EnabledEvents []string          `json:"enabled_events"`
	Livemode      bool              `json:"livemode"`
	Metadata      map[string]string `json:"metadata"`
	Secret        string            `json:"secret,omitempty"`
	Status        string            `json:"status"`
	URL           string            `json:"url"`
}

func newEndpoint(d *destination.Destination) endpointObject {
	o := endpointObject{
		ID: d.EndpointID(), Object: "webhook_endpoint",
		APIVersion: textOrNull(d.SnapshotAPIVersion), Created: d.Created.Unix(), Description: textOrNull(d.Description),
		EnabledEvents: d.EnabledEvents, Livemode: d.Live, Metadata: d.Metadata, Status: "enabled", URL: d.URL,
	}
	if d.Status == event.Disabled {
		o.Status = "disabled"
	}
	return o
}

func (c *call) createEndpoint() ([]byte, error) {
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	var to destination.WebhookEndpoint
	p := destination.CreateParams{
		Name: endpointName, Type: destination.TypeWebhookEndpoint, EventPayload: event.Snapshot.String(), WebhookEndpoint: &to,
	}
	p.EnabledEvents = form.list("enabled_events")
	if to.URL, _, err = form.text("url"); err != nil {
		return nil, err
	}
	if p.SnapshotAPIVersion, _, err = form.text("api_version"); err != nil {
		return nil, err
	}
	if p.Description, _, err = form.text("description"); err != nil {
		return nil, err
	}
	connect, err := form.flag("connect")
	if err != nil {
		return nil, err
	}
	if connect != nil && *connect {
		p.EventsFrom = []string{"@accounts"}
	}
	meta, _, err := form.metadata()
	if err != nil {
		return nil, err
	}
	p.Metadata = make(map[string]string, len(meta))
	for key, value := range meta {
		if value != nil {
			p.Metadata[key] = *value
		}
	}
	form.list("expand")
	if err := form.done("api_version, connect, description, enabled_events, expand, metadata, url"); err != nil {
		return nil, err
	}
	d, err := c.api.destinations.Create(c.r.Context(), c.caller, p)
	if err != nil {
		return nil, endpointFault(err)
	}
	o := newEndpoint(d)
	o.Secret = d.SigningSecret
	return encode(o)
}

func (c *call) updateEndpoint() ([]byte, error) {
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	p := destination.UpdateParams{EnabledEvents: form.list("enabled_events")}
	if p.URL, err = form.textPtr("url"); err != nil {
		return nil, err
	}
	if p.Description, err = form.textPtr("description"); err != nil {
		return nil, err
	}
	if p.Disabled, err = form.flag("disabled"); err != nil {
		return nil, err
	}
	if p.Metadata, p.ClearMetadata, err = form.metadata(); err != nil {
		return nil, err
	}
	form.list("expand")
	if err := form.done("description, disabled, enabled_events, expand, metadata, url"); err != nil {
		return nil, err
	}
	// What makes a destination an endpoint never changes, so this still holds
	// when the update is made.
	d, err := c.endpoint(c.arg)
	if err != nil {
		return nil, err
	}
	if d, err = c.api.destinations.Update(c.r.Context(), c.caller, d.ID, p); err != nil {
		return nil, endpointFault(err)
	}
	return encode(newEndpoint(d))
}

func (c *call) retrieveEndpoint() ([]byte, error) {
	if err := c.retrieves(); err != nil {
		return nil, err
	}
	d, err := c.endpoint(c.arg)
	if err != nil {
		return nil, err
	}
	return encode(newEndpoint(d))
}

func (c *call) listEndpoints() ([]byte, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	var p destination.ListParams
	if p.Limit, err = q.limit(v1DefaultLimit, v1MaxLimit); err != nil {
		return nil, err
	}
	after, before, err := q.between()
	if err != nil {
		return nil, err
	}
	q.list("expand")
	if err := q.done("ending_before, expand, limit, starting_after"); err != nil {
		return nil, err
	}
	if p.Older, err = c.endpointCursor("starting_after", after); err != nil {
		return nil, err
	}
	if p.Newer, err = c.endpointCursor("ending_before", before); err != nil {
		return nil, err
	}
	page, err := c.api.destinations.Endpoints(c.r.Context(), c.caller, p)
	if err != nil {
		return nil, err
	}
	reply := struct {
		Object  string           `json:"object"`
		URL     string           `json:"url"`
		HasMore bool             `json:"has_more"`
		Data    []endpointObject `json:"data"`
	}{"list", endpointsPath, page.More, make([]endpointObject, len(page.Items))}
	for i, d := range page.Items {
		reply.Data[i] = newEndpoint(d)
	}
	return encode(reply)
}

func (c *call) deleteEndpoint() ([]byte, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	d, err := c.endpoint(c.arg)
	if err != nil {
		return nil, err
	}
	c.caller.IdempotencyKey = "" // API v1 has none here, yet stripe-go sends one
	if err := c.api.destinations.Delete(c.r.Context(), c.caller, d.ID); err != nil {
		return nil, endpointFault(err)
	}
	return encode(struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Deleted bool   `json:"deleted"`
	}{c.arg, "webhook_endpoint", true})
}

// endpoint finds the destination that API v1 knows by an id.
func (c *call) endpoint(id string) (*destination.Destination, error) {
	if ed := destination.IDOf(id); ed != id {
		d, err := c.api.destinations.Retrieve(c.r.Context(), c.caller, ed)
		if f := fault.As(err); err != nil && (f == nil || f.Kind != fault.NotFound) {
			return nil, err
		}
		if err == nil && d.Endpoint() {
			return d, nil
		}
	}
	return nil, fault.NotFoundf("No such webhook endpoint: %q. Check the id, and that the key is of the account and mode it was made in.", cutText(id))
}

// endpointCursor returns the number of the endpoint that a page is beside, 0
// for none.
func (c *call) endpointCursor(param, id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	d, err := c.endpoint(id)
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return 0, fault.Invalidf(param, "%s", f.Message)
	}
	if err != nil {
		return 0, err
	}
	return d.Number, nil
}

// endpointFault gives a fault about a destination the names of API v1.
func endpointFault(err error) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	v1 := *f
	switch key, ok := strings.CutPrefix(f.Param, "metadata."); {
	case ok:
		v1.Param = "metadata[" + key + "]"
	case f.Param == "webhook_endpoint.url":
		v1.Param = "url"
	case f.Param == "snapshot_api_version":
		v1.Param = "api_version"
	}
	return &v1
}

// metadata takes metadata[key]=value of a form. An empty value removes its key,
// and metadata= alone removes all of them.
func (p *params) metadata() (changes map[string]*string, none bool, err error) {
	const name = "metadata"
	all, none, err := p.text(name)
	if err != nil {
		return nil, false, err
	}
	if all != "" {
		return nil, false, fault.Invalidf(name, "This is an object. Send metadata[key]=value, or nothing in metadata to remove all keys.")
	}
	changes = make(map[string]*string)
	for i := range p.all {
		rest, ok := strings.CutPrefix(p.all[i].key, name+"[")
		key, closed := strings.CutSuffix(rest, "]")
		if !ok || !closed || strings.ContainsAny(key, "[]") {
			continue // unknown, then
		}
		if _, again := changes[key]; again {
			return nil, false, duplicate(cutText(p.all[i].key))
		}
		p.all[i].taken, changes[key] = true, nil
		if p.all[i].value != "" {
			changes[key] = &p.all[i].value
		}
	}
	return changes, none, nil
}

// textPtr takes a parameter that may be left out.
func (p *params) textPtr(name string) (*string, error) {
	v, ok, err := p.text(name)
	if err != nil || !ok {
		return nil, err
	}
	return &v, nil
}

// between takes the two cursors of API v1 lists, of which one can be given.
func (p *params) between() (after, before string, err error) {
	if after, _, err = p.text("starting_after"); err != nil {
		return "", "", err
	}
	if before, _, err = p.text("ending_before"); err != nil {
		return "", "", err
	}
	if after != "" && before != "" {
		return "", "", fault.Invalidf("ending_before", "Send either starting_after or ending_before, not both.")
	}
	return after, before, nil
}
