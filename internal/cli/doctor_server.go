package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/app"
)

const (
	// serverPatience bounds all that is asked of a server about itself.
	serverPatience = 10 * time.Second
	// destinationPatience bounds looking at all destinations.
	destinationPatience = time.Minute
	// atOnce is how many destinations are looked at side by side.
	atOnce = 8
	// expiresSoon is when a certificate that is not renewed is worth a warning.
	expiresSoon = 14 * 24 * time.Hour
	// backlogLimit is the age of an event without a first try that is worth one.
	backlogLimit = time.Minute
)

// checkServer asks the server about itself; down is why it is not ready.
func (d *doctor) checkServer(ctx context.Context, down error) {
	if down != nil {
		d.fail("server", "see its log; `waybill ready --wait 30s` waits for it", "%v", down)
		d.skip("destinations", "", "not looked at without the server")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	asked := time.Now()
	raw, header, err := d.client.plain(ctx, "/healthz")
	if err != nil {
		d.fail("server", "", "%v", err)
		return
	}
	var health struct{ Version string }
	_ = json.Unmarshal(raw, &health) // an older one may not say
	d.ok("server", "%s is ready, version %s", d.client.base, cmp.Or(printable(health.Version), "unknown"))
	if health.Version != "" && health.Version != d.version {
		d.warn("server", "use the waybill that the server is", "this waybill is another version: %s", d.version)
	}
	if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
		// Whole seconds, cut off, at some moment since it was asked.
		ahead := theirs.Add(time.Second / 2).Sub(asked.Add(time.Since(asked) / 2))
		d.checkClock("server", ahead)
	}
	if raw, _, err = d.client.plain(ctx, "/metrics"); err != nil {
		d.skip("backlog", "", "the server's metrics cannot be read: %v", err)
		return
	}
	switch age := time.Duration(metric(string(raw), "waybill_backlog_age_seconds") * float64(time.Second)); {
	case age > backlogLimit:
		d.warn("backlog", "more comes in than goes out: see docs/scaling.md, and `waybill deliveries list --status pending`", "an event has waited for its first try for %s", short(age))
	default:
		d.ok("backlog", "no event waits long for its first try")
	}
}

// plain gets what is no part of the API and needs no key.
func (c *client) plain(ctx context.Context, path string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %s to %s", c.base, answer.Status, path)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return raw, answer.Header, err
}

// metric returns the value of a metric without labels, 0 if it is not there.
func metric(text, name string) float64 {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, _ := strconv.ParseFloat(rest, 64)
			return value
		}
	}
	return 0
}

// checkDestinations looks at each destination of the key; local says that the
// server's configuration is known, and so what it may connect to.
func (d *doctor) checkDestinations(ctx context.Context, local bool) {
	if d.client.key == "" {
		d.skip("destinations", "set WAYBILL_API_KEY to look at those of an account", "there is no API key")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, destinationPatience)
	defer cancel()
	all, err := d.client.allDestinations(ctx)
	if err != nil {
		d.fail("destinations", "", "%v", err)
		return
	}
	if len(all) == 0 {
		d.ok("destinations", "there is none yet")
	}
	found := make([]doctor, len(all))
	room := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i := range all {
		found[i] = doctor{cli: d.cli, cfg: d.cfg, client: d.client}
		room <- struct{}{}
		group.Go(func() {
			found[i].checkDestination(ctx, &all[i], local)
			<-room
		})
	}
	group.Wait()
	for i := range found {
		d.findings = append(d.findings, found[i].findings...)
	}
}

func (c *client) allDestinations(ctx context.Context) ([]destinationObject, error) {
	var all []destinationObject
	next := destinationsPath + "?" + url.Values{"limit": {"100"}, "include[0]": {"webhook_endpoint.url"}}.Encode()
	for next != "" {
		raw, err := c.get(ctx, next, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Data []destinationObject `json:"data"`
			Next string              `json:"next_page_url"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		all, next = append(all, page.Data...), page.Next
	}
	return all, nil
}

func (d *doctor) checkDestination(ctx context.Context, o *destinationObject, local bool) {
	name := o.ID + " (" + o.Name + ")"
	last := d.lastSuccess(ctx, o.ID)
	if o.Status == "disabled" {
		d.warn("destination", "when its owner has mended it: waybill destinations enable "+o.ID, "%s is %s, %s; its events are discarded", name, o.status(), last)
		return
	}
	if w := o.Waybill; w != nil && !w.FailingSince.IsZero() {
		text := fmt.Sprintf("%s has been failing since %s, %s", name, w.FailingSince.UTC().Format(time.RFC3339), last)
		if !w.DisablesAt.IsZero() {
			text += ", and is disabled " + d.ago(w.DisablesAt)
		}
		d.warn("destination", "see why: waybill deliveries list --destination "+o.ID, "%s", text)
	} else {
		d.ok("destination", "%s is enabled, %s", name, last)
	}
	if o.Webhook == nil || o.Webhook.URL == "" {
		return
	}
	if !local {
		d.skip("destination", "", "%s is not connected to: it can be reached from where the server is, not from here", name)
		return
	}
	expires, err := app.ReachEndpoint(ctx, d.cfg, o.Webhook.URL)
	switch left := time.Until(expires); {
	case err != nil:
		d.warn("destination", "deliveries to it fail for the same reason; check its URL: waybill destinations get "+o.ID, "%s cannot be reached: %v", name, err)
	case !expires.IsZero() && left < expiresSoon:
		d.warn("destination", "tell its owner to renew the certificate", "the certificate of %s expires in %s", name, short(left))
	}
}

// lastSuccess words when something was last delivered.
func (d *doctor) lastSuccess(ctx context.Context, id string) string {
	raw, err := d.client.get(ctx, "/v2/core/deliveries", url.Values{"destination": {id}, "status": {"delivered"}, "limit": {"1"}})
	var page struct {
		Data []deliveryObject `json:"data"`
	}
	if err = errors.Join(err, json.Unmarshal(raw, &page)); err != nil {
		return "last success unknown"
	}
	if len(page.Data) == 0 || page.Data[0].Last == nil {
		return "nothing delivered yet"
	}
	return "last success " + d.ago(page.Data[0].Last.At)
}
