package stripeapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	future := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	const data = `"data":{"object":{"id":"x"}}`
	const related = `"related_object":{"type":"t","url":"/u"}`
	for name, tc := range map[string]struct {
		body string
		want []string // in the message
	}{
		"nothing":             {``, []string{"type:"}},
		"empty object":        {`{}`, []string{"type:", "missing"}},
		"broken JSON":         {`{"type":"a.b",`, []string{"not valid JSON"}},
		"no JSON":             {`colour=red`, []string{"not valid JSON"}},
		"array":               {`[]`, []string{"must be a JSON object"}},
		"string":              {`"x"`, []string{"must be a JSON object"}},
		"after the end":       {`{"type":"a",` + data + `} x`, []string{"not valid JSON"}},
		"bad UTF-8":           {`{"type":"a",` + data + `,"id":"` + "\xff" + `"}`, []string{"UTF-8"}},
		"bad UTF-8 inside":    {`{"type":"a","data":{"object":{"x":"` + "\xc3" + `"}}}`, []string{"UTF-8"}},
		"unknown field":       {`{"type":"a",` + data + `,"colour":"red"}`, []string{"colour:", "unknown"}},
		"duplicate":           {`{"type":"a","type":"b",` + data + `}`, []string{"type:", "more than once"}},
		"duplicate escaped":   {`{"type":"a","\u0074ype":"b",` + data + `}`, []string{"type:", "more than once"}},
		"type number":         {`{"type":1,` + data + `}`, []string{"type:", "string", "number"}},
		"type null":           {`{"type":null,` + data + `}`, []string{"type:", "null"}},
		"type empty":          {`{"type":"",` + data + `}`, []string{"type:"}},
		"type with space":     {`{"type":"a b",` + data + `}`, []string{"type:"}},
		"type wildcard":       {`{"type":"a.*",` + data + `}`, []string{"type:"}},
		"type long":           {`{"type":"` + strings.Repeat("a", 256) + `",` + data + `}`, []string{"type:"}},
		"no data":             {`{"type":"a"}`, []string{"data:", "missing"}},
		"data null":           {`{"type":"a","data":null}`, []string{"data:", "missing"}},
		"data array":          {`{"type":"a","data":[]}`, []string{"data:", "object", "array"}},
		"data empty":          {`{"type":"a","data":{}}`, []string{"data.object:"}},
		"object null":         {`{"type":"a","data":{"object":null}}`, []string{"data.object:", "null"}},
		"object string":       {`{"type":"a","data":{"object":"x"}}`, []string{"data.object:", "object", "string"}},
		"object twice":        {`{"type":"a","data":{"object":{},"object":{}}}`, []string{"data.object:", "more than once"}},
		"data unknown":        {`{"type":"a","data":{"object":{},"x":1}}`, []string{"data.x:"}},
		"previous array":      {`{"type":"a","data":{"object":{},"previous_attributes":[]}}`, []string{"data.previous_attributes:", "array"}},
		"object id long":      {`{"type":"a","data":{"object":{"id":"` + strings.Repeat("i", 256) + `"}}}`, []string{"data.object.id:"}},
		"id number":           {`{"id":1,"type":"a",` + data + `}`, []string{"id:", "string"}},
		"id empty":            {`{"id":"","type":"a",` + data + `}`, []string{"id:"}},
		"id slash":            {`{"id":"a/b","type":"a",` + data + `}`, []string{"id:"}},
		"id quote":            {`{"id":"a\"b","type":"a",` + data + `}`, []string{"id:"}},
		"id long":             {`{"id":"` + strings.Repeat("i", 256) + `","type":"a",` + data + `}`, []string{"id:"}},
		"created text":        {`{"created":"yesterday","type":"a",` + data + `}`, []string{"created:", "RFC 3339"}},
		"created fraction":    {`{"created":1700000000.5,"type":"a",` + data + `}`, []string{"created:", "integer"}},
		"created bool":        {`{"created":true,"type":"a",` + data + `}`, []string{"created:", "integer"}},
		"created negative":    {`{"created":-1,"type":"a",` + data + `}`, []string{"created:"}},
		"created old":         {`{"created":1,"type":"a",` + data + `}`, []string{"created:", "2000"}},
		"created future":      {`{"created":` + future + `,"type":"a",` + data + `}`, []string{"created:", "future"}},
		"created ms":          {`{"created":1700000000000,"type":"a",` + data + `}`, []string{"created:"}},
		"created huge":        {`{"created":99999999999999999999,"type":"a",` + data + `}`, []string{"created:", "out of range"}},
		"version quote":       {`{"api_version":"2\"","type":"a",` + data + `}`, []string{"api_version:"}},
		"version number":      {`{"api_version":2,"type":"a",` + data + `}`, []string{"api_version:", "string"}},
		"other mode":          {`{"livemode":true,"type":"a",` + data + `}`, []string{"livemode:", "mode"}},
		"livemode text":       {`{"livemode":"false","type":"a",` + data + `}`, []string{"livemode:", "boolean"}},
		"account":             {`{"account":"acct_1","type":"a",` + data + `}`, []string{"account:"}},
		"context":             {`{"context":"acct_1","type":"a",` + data + `}`, []string{"context:"}},
		"object tag":          {`{"object":"charge","type":"a",` + data + `}`, []string{"object:"}},
		"snapshot tag thin":   {`{"object":"event","type":"a",` + related + `}`, []string{"object:"}},
		"thin tag snapshot":   {`{"object":"v2.core.event","type":"a",` + data + `}`, []string{"related_object:"}},
		"pending text":        {`{"pending_webhooks":"1","type":"a",` + data + `}`, []string{"pending_webhooks:", "integer"}},
		"request text":        {`{"request":"req_1","type":"a",` + data + `}`, []string{"request:", "object"}},
		"request unknown":     {`{"request":{"x":1},"type":"a",` + data + `}`, []string{"request.x:"}},
		"request id number":   {`{"request":{"id":1},"type":"a",` + data + `}`, []string{"request.id:", "string"}},
		"request twice":       {`{"request":{"id":null,"id":null},"type":"a",` + data + `}`, []string{"request.id:", "more than once"}},
		"request of thin":     {`{"request":{},"type":"a",` + related + `}`, []string{"request:", "thin"}},
		"version of thin":     {`{"api_version":"2","type":"a",` + related + `}`, []string{"api_version:", "thin"}},
		"reason of snapshot":  {`{"reason":{"type":"request","request":{}},"type":"a",` + data + `}`, []string{"reason:", "thin"}},
		"changes of snapshot": {`{"changes":{},"type":"a",` + data + `}`, []string{"changes:", "thin"}},
		"related text":        {`{"related_object":"x","type":"a"}`, []string{"related_object:", "object"}},
		"related no type":     {`{"related_object":{"url":"/u"},"type":"a"}`, []string{"related_object.type:"}},
		"related no url":      {`{"related_object":{"type":"t"},"type":"a"}`, []string{"related_object.url:"}},
		"related empty url":   {`{"related_object":{"type":"t","url":""},"type":"a"}`, []string{"related_object.url:"}},
		"related id null":     {`{"related_object":{"id":null,"type":"t","url":"/u"},"type":"a"}`, []string{"related_object.id:"}},
		"related unknown":     {`{"related_object":{"type":"t","url":"/u","x":1},"type":"a"}`, []string{"related_object.x:"}},
		"related twice":       {`{"related_object":{"type":"t","type":"t","url":"/u"},"type":"a"}`, []string{"related_object.type:", "more than once"}},
		"thin data array":     {`{"data":[],"type":"a",` + related + `}`, []string{"data:", "object"}},
		"changes unknown":     {`{"changes":{"x":1},"type":"a",` + related + `}`, []string{"changes.x:"}},
		"changes number":      {`{"changes":{"before":1},"type":"a",` + related + `}`, []string{"changes.before:", "object"}},
		"reason type":         {`{"reason":{"type":"x","request":{}},"type":"a",` + related + `}`, []string{"reason.type:"}},
		"reason no request":   {`{"reason":{"type":"request"},"type":"a",` + related + `}`, []string{"reason.request:"}},
		"reason bad request":  {`{"reason":{"type":"request","request":{"id":3}},"type":"a",` + related + `}`, []string{"reason.request.id:"}},
		"snapshot_event":      {`{"snapshot_event":"evt_1","type":"a",` + related + `}`, []string{"snapshot_event:"}},
		"batch empty":         {`{"events":[]}`, []string{"events:", "empty"}},
		"batch null":          {`{"events":null}`, []string{"events:", "array"}},
		"batch object":        {`{"events":{}}`, []string{"events:", "array"}},
		"batch twice":         {`{"events":[` + customer + `],"events":[]}`, []string{"events:", "more than once"}},
		"beside batch":        {`{"events":[` + customer + `],"type":"a"}`, []string{"type:", "beside events"}},
		"batch second":        {`{"type":"a","events":[]}`, []string{"events:"}},
		"batch in batch":      {`{"events":[{"events":[]}]}`, []string{"events[0].events:"}},
		"element number":      {`{"events":[` + customer + `,7]}`, []string{"events[1]:", "object"}},
		"element type":        {`{"events":[` + customer + `,` + customer + `,` + customer + `,{"type":"a b"}]}`, []string{"events[3].type:"}},
		"element data":        {`{"events":[` + customer + `,{"type":"a"}]}`, []string{"events[1].data:"}},
		"batch too long":      {`{"events":[` + strings.Repeat(customer+",", 1000) + customer + `]}`, []string{"events:", "1000"}},
		"batch cut off":       {`{"events":[` + customer + `,`, []string{"not valid JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakes{publish: func(context.Context, account.Caller, []*event.Draft) ([]*event.Event, error) {
				t.Error("reached the domain")
				return nil, nil
			}}
			newFake(t, f).post("/v2/core/events", tc.body).refused(400, tc.want...)
		})
	}
}

func TestPublishBoundsTheEvent(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fakes{}, func(o *stripeapi.Options) { o.MaxEvent = 1000 })
	sized := func(n int) string {
		const frame = `{"type":"a","data":{"object":{"x":""}}}`
		return `{"type":"a","data":{"object":{"x":"` + strings.Repeat("y", n-len(frame)) + `"}}}`
	}
	c.post("/v2/core/events", sized(1000)).ok()
	c.post("/v2/core/events", "  "+sized(1000)+"\n").ok()
	c.post("/v2/core/events", sized(1001)).refused(413, "1001", "1000")
	c.post("/v2/core/events", `{"events":[ `+sized(1000)+` , `+sized(1000)+`]}`).ok()
	c.post("/v2/core/events", `{"events":[`+sized(1000)+`,`+sized(1002)+`]}`).refused(413, "events[1]", "1002")
	c.post("/v2/core/events?x=1", customer).refused(400, "x:", "body")
}

// published returns the drafts that a body leads to.
func published(t *testing.T, body string) []*event.Draft {
	t.Helper()
	var got []*event.Draft
	f := &fakes{}
	f.publish = func(ctx context.Context, c account.Caller, d []*event.Draft) ([]*event.Event, error) {
		for _, one := range d { // the drafts point into a buffer that is used again
			c := *one
			for _, raw := range []*[]byte{&c.Object, &c.PreviousAttributes, &c.RelatedObject, &c.Data, &c.Changes, &c.Reason} {
				*raw = bytes.Clone(*raw)
			}
			got = append(got, &c)
		}
		return (&fakes{}).Publish(ctx, c, d)
	}
	newFake(t, f).post("/v2/core/events", body).ok()
	return got
}

func TestPublishDecodes(t *testing.T) {
	t.Parallel()
	d := published(t, ` {
		"id": "evt_1:a.b-C", "object": "event", "account": null, "context": null, "livemode": false,
		"pending_webhooks": 3, "created": 1700000000, "api_version": "2025-01-27.acacia",
		"type": "v2.core.account[configuration.customer].updated",
		"data": {"previous_attributes": {"name": null}, "object": {"x": [1, {"id": "no"}], "object": "cust\u006fmer", "id": "cus_9", "id": "second"}},
		"request": {"id": "req_1", "idempotency_key": null}
	}`)[0]
	if d.ID != "evt_1:a.b-C" || d.Type != "v2.core.account[configuration.customer].updated" || d.APIVersion != "2025-01-27.acacia" ||
		d.ObjectID != "cus_9" || d.ObjectType != "customer" || d.RequestID != "req_1" || d.IdempotencyKey != "" ||
		d.Created.Unix() != 1700000000 || d.RelatedObject != nil {
		t.Errorf("%+v", d)
	}
	if got := string(d.PreviousAttributes); got != `{"name": null}` {
		t.Errorf("previous_attributes %s", got)
	}
	if !strings.HasPrefix(string(d.Object), `{"x": [1,`) {
		t.Errorf("object %s", d.Object)
	}

	d = published(t, `{"type":"v1.tax.settings.updated","snapshot_event":null,"data":{"any":1,"object":[]},
		"reason":{"type":"request","request":{"id":"r","idempotency_key":"k"}},"changes":{"before":{"a":1},"after":null},
		"created":"2024-02-29T12:00:00.5+01:00","object":"v2.core.event","related_object":{"type":"tax.settings","url":"/v1/tax/settings"}}`)[0]
	if string(d.RelatedObject) != `{"type":"tax.settings","url":"/v1/tax/settings"}` || d.ObjectID != "" ||
		string(d.Data) != `{"any":1,"object":[]}` || string(d.Changes) != `{"before":{"a":1},"after":null}` ||
		string(d.Reason) != `{"type":"request","request":{"id":"r","idempotency_key":"k"}}` ||
		!d.Created.Equal(time.Date(2024, 2, 29, 11, 0, 0, 5e8, time.UTC)) || d.Object != nil {
		t.Errorf("%+v", d)
	}

	d = published(t, `{"api_version":null,"request":null,"related_object":null,"changes":null,"reason":null,"data":{"object":{"id":5}},"type":"a"}`)[0]
	if d.APIVersion != "" || d.ObjectID != "" || string(d.Object) != `{"id":5}` || !d.Created.IsZero() || d.Hash != [32]byte{} {
		t.Errorf("%+v", d)
	}
}

func TestPublishHashesWhatWasSentWithAnID(t *testing.T) {
	t.Parallel()
	const compact = `{"id":"e","type":"a b","data":{"object":{}}}`
	want := sha256.Sum256([]byte(strings.Replace(compact, "a b", "a.b", 1)))
	one := published(t, "{ \"id\" : \"e\",\n\"type\":\"a.b\", \"data\":{\"object\":{ }}}")[0]
	two := published(t, `{"events":[`+customer+`, { "id":"e","type" :"a.b","data":{"object":{}} } ]}`)[1]
	if one.Hash != want || two.Hash != want {
		t.Error("the hash depends on white space or on the batch")
	}
	if other := published(t, `{"id":"e","type":"a.b","data":{"object":{"x":1}}}`)[0]; other.Hash == want {
		t.Error("other content has the same hash")
	}
}

func TestPublishAnswersWithTheEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.post("/v2/core/events", customer).ok()
	if a.text("object") != "event" || a.text("api_version") != apiVersion || a.at("pending_webhooks") != 0.0 ||
		!strings.HasPrefix(a.text("id"), "evt_test_") || a.text("data", "object", "id") != "cus_1" {
		t.Errorf("%s", a.body)
	}
	if got := h.get("/v1/events/" + a.text("id")).ok(); !bytes.Equal(got.body, a.body) {
		t.Errorf("retrieved\n%s\nafter publishing\n%s", got.body, a.body)
	}
	thin := h.post("/v2/core/events", thinCustomer).ok()
	if got := h.get("/v2/core/events/" + thin.text("id")).ok(); !bytes.Equal(got.body, thin.body) || thin.text("object") != "v2.core.event" {
		t.Errorf("retrieved\n%s\nafter publishing\n%s", got.body, thin.body)
	}
	batch := h.post("/v2/core/events", `{"events":[`+customer+`,`+thinCustomer+`]}`).ok().data()
	if len(batch) != 2 || batch[0].(map[string]any)["object"] != "event" || batch[1].(map[string]any)["object"] != "v2.core.event" {
		t.Errorf("%v", batch)
	}
	if got := h.post("/v2/core/events", `{"events":[`+customer+`]}`).ok().data(); len(got) != 1 {
		t.Errorf("a batch of one: %v", got)
	}
	live := h.live().post("/v2/core/events", customer).ok()
	if fmt.Sprint(live.at("livemode")) != "true" || strings.Contains(live.text("id"), "test") {
		t.Errorf("%s", live.body)
	}
}

func TestPublishIsOnceOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	withID := func(id, object string) string {
		return `{"id":"` + id + `","type":"a.b","data":{"object":` + object + `}}`
	}
	first := h.post("/v2/core/events", withID("mine", `{"id":"x"}`)).ok()
	again := h.post("/v2/core/events", withID("mine", ` { "id" : "x" } `)).ok()
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("the repeat answers %s, not %s", again.body, first.body)
	}
	a := h.post("/v2/core/events", withID("mine", `{"id":"y"}`))
	a.refused(409, "id")
	h.other().post("/v2/core/events", withID("mine", `{"id":"y"}`)).ok()
	h.post("/v2/core/events", `{"events":[`+withID("u", "{}")+`,`+customer+`,`+withID("u", "{}")+`]}`).refused(400, "events[2].id", "events[0]")
	h.post("/v2/core/events", withID("evt_test_00000000000", "{}")).refused(400, "id:", "Waybill")
	h.get("/v1/events/u").refused(404, "u")

	keyed := h.with("Idempotency-Key", "k")
	one, two := keyed.post("/v2/core/events", customer).ok(), keyed.post("/v2/core/events", customer).ok()
	if one.text("id") != two.text("id") {
		t.Errorf("%s and %s", one.text("id"), two.text("id"))
	}
	mismatch := keyed.post("/v2/core/events", thinCustomer)
	mismatch.refused(409, "Idempotency-Key")
	if mismatch.text("error", "type") != "idempotency_error" || mismatch.header.Get("Stripe-Should-Retry") != "false" {
		t.Errorf("%v %s", mismatch.header, mismatch.body)
	}
}

// TestStripeEventsCanBePublishedAsTheyAre takes an event in the form Stripe's
// own API returns it.
func TestStripeEventsCanBePublishedAsTheyAre(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const retrieved = `{
  "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
  "object": "event",
  "api_version": "2019-02-19",
  "created": 1686089970,
  "data": {
    "object": {"id": "seti_1NG8Du2eZvKYlo2C9XMqbR0x", "object": "setup_intent", "metadata": {}}
  },
  "livemode": false,
  "pending_webhooks": 0,
  "request": {"id": null, "idempotency_key": null},
  "type": "setup_intent.created"
}`
	h.post("/v2/core/events", retrieved).ok()
	got := h.get("/v1/events/evt_1NG8Du2eZvKYlo2CUI79vXWy").ok()
	var want, have map[string]any
	if err := json.Unmarshal([]byte(retrieved), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got.body, &have); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(want) != fmt.Sprint(have) {
		t.Errorf("published %v, retrieved %v", want, have)
	}
}
