// Package awsapi is the surface that official AWS SDKs and the AWS CLI talk to:
// EventBridge, SQS, the little of CloudWatch Logs that reads what a rule wrote,
// and what Waybill adds to them (own_operations.go). It decodes a request, calls
// one verb of a domain and encodes what that returned; it decides nothing and
// keeps nothing.
//
// Each service is a table of operations, from a JSON object to a JSON object.
// A request names its operation in one of two ways:
//
//	X-Amz-Target: AWSEvents.PutRule    AWS's JSON protocol, for all services
//	Action=SendMessage&…               the query protocol, for SQS only, whose
//	                                   form is put into the same JSON object and
//	                                   whose answer is put into XML (query.go)
//
// Every request is signed (Signature Version 4) with an access key of an
// account, and its signature says the region that it is for. A key that is
// not known is refused before the body is read.
//
// Every answer carries x-amzn-RequestId, whatever went wrong:
//
//	fault        its code and message; the status is 400 but where AWS's differs
//	no operation 404, a body over the limit 413
//	too many bytes of bodies at a time: ThrottlingException, after a while of waiting
//	store outage 503 with Retry-After
//	anything else, a panic too: 500 that tells the request id and nothing more;
//	             the error goes to the log, which never sees secrets or bodies
package awsapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/admission"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/queue"
)

// Options are what the surface works with. The three domains are required.
type Options struct {
	Accounts *account.Service
	Buses    *bus.Service
	Queues   *queue.Service
	Log      *slog.Logger     // nil is slog.Default
	MaxBody  int64            // of one request, in bytes; 0 is 2 MiB
	Now      func() time.Time // nil is time.Now
}

// defaultMaxBody has room for the largest batch of AWS's, 1 MiB, in a form that
// escapes much of it.
const defaultMaxBody = 2 << 20

type api struct {
	o        Options
	services map[string]*service // by the prefix of X-Amz-Target
	buffers  sync.Pool           // of *bytes.Buffer
	// admission bounds the bodies that are held at a time.
	admission *admission.Gate
}

// service is one of AWS's services.
type service struct {
	signing    string // what it is called in a signature's scope
	json       string // its version of the JSON protocol, as the content type
	namespace  string // before the code of an error, or ""
	operations map[string]operation
	// queryCodes are the codes of the query protocol for those of the JSON
	// protocol that differ. Not nil says that the service has that protocol.
	queryCodes map[string]string
}

const (
	json10 = "application/x-amz-json-1.0"
	json11 = "application/x-amz-json-1.1"
)

// sqsTarget is the prefix of the service that has the query protocol.
const sqsTarget = "AmazonSQS"

// New returns the handler of AWS's protocols; see [Claims] for what is theirs.
func New(o Options) http.Handler {
	a := newAPI(o)
	a.services = a.tables()
	a.services["Waybill"] = a.own()
	return a
}

func newAPI(o Options) *api {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &api{o: o, admission: admission.NewGate(maxWait)}
	a.buffers.New = func() any { return new(bytes.Buffer) }
	return a
}

// tables are all of AWS's services with all their operations.
func (a *api) tables() map[string]*service {
	return map[string]*service{
		"AWSEvents":     {signing: "events", json: json11, operations: join(a.eventsBusOperations(), a.eventsMoreOperations())},
		sqsTarget:       {signing: "sqs", json: json10, namespace: "com.amazonaws.sqs#", operations: a.sqsOperations(), queryCodes: sqsQueryCodes},
		"Logs_20140328": {signing: "logs", json: json11, operations: a.logsOperations()},
	}
}

func join(tables ...map[string]operation) map[string]operation {
	all := make(map[string]operation)
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

// Claims tells whether a request speaks one of AWS's protocols, which have one
// path, and the paths of queues: /123456789012/name.
func Claims(r *http.Request) bool {
	if r.URL.Path != "/" && r.URL.Path != "" && !isQueuePath(r.URL.Path) {
		return false
	}
	return r.Header.Get("X-Amz-Target") != "" ||
		strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") ||
		strings.Contains(r.URL.RawQuery, "Action=") || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") ||
		r.Method == http.MethodPost && isForm(r)
}

// call is one request on its way through the surface.
type call struct {
	api     *api
	w       http.ResponseWriter
	r       *http.Request
	id      string
	service *service
	action  string
	query   bool // the query protocol
	wrote   bool
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r, id: newRequestID()}
	w.Header().Set("X-Amzn-Requestid", c.id)
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	if err := c.serve(r.Context()); err != nil {
		c.fail(err)
	}
}

// serve answers the request, or returns why it did not.
func (c *call) serve(ctx context.Context) error {
	run, err := c.route()
	if err != nil {
		return err
	}
	signed, err := c.identify(ctx)
	if err != nil {
		return err
	}
	leave, err := c.api.admission.Enter(ctx, c.r.ContentLength)
	if errors.Is(err, admission.ErrFull) {
		return throttled()
	}
	if err != nil {
		return err
	}
	defer leave()
	body := c.api.buffers.Get().(*bytes.Buffer)
	defer c.api.release(body)
	if err := c.readBody(body); err != nil {
		return err
	}
	caller, err := signed.verify(c.r, body.Bytes(), c.api.o.Now())
	if err != nil {
		return err
	}
	input := body.Bytes()
	if c.query {
		if run, input, err = c.readQuery(input); err != nil {
			return err
		}
	}
	out, err := run(context.WithValue(ctx, originKey{}, originOf(c.r)), caller, input)
	if err != nil {
		return err
	}
	return c.reply(out)
}

// route finds the service and, in the JSON protocol, the operation.
func (c *call) route() (operation, error) {
	target := c.r.Header.Get("X-Amz-Target")
	if target == "" {
		if c.service = c.api.services[sqsTarget]; isForm(c.r) || hasAction(c.r) {
			c.query = true
			if c.r.Method == http.MethodPost || c.r.Method == http.MethodGet {
				return nil, nil // the operation is in the body
			}
			return nil, unknownOperation("The query protocol takes POST and GET, not %s.", c.r.Method)
		}
		c.service = nil
		return nil, unknownOperation("The request names no operation. Send X-Amz-Target, such as AWSEvents.PutEvents.")
	}
	prefix, action, _ := strings.Cut(target, ".")
	c.service, c.action = c.api.services[prefix], action
	if c.service == nil {
		return nil, unknownOperation("There is no service %q here. Those here are AWSEvents, AmazonSQS, Logs_20140328 and Waybill.", prefix)
	}
	run := c.service.operations[action]
	if run == nil {
		return nil, unknownOperation("The operation %q is not supported.", action)
	}
	if c.r.Method != http.MethodPost {
		return nil, unknownOperation("The JSON protocol takes POST, not %s.", c.r.Method)
	}
	return run, nil
}

// maxWait is how long a large request waits to be let in. Clients would wait
// longer, and they send again what was throttled.
const maxWait = 5 * time.Second

func throttled() error {
	f := fault.New(fault.Limited, "ThrottlingException", "Rate exceeded: too many large requests are under way. Send it again a little later.")
	f.RetryAfter = time.Second
	return f
}

const codeUnknownOperation = "UnknownOperationException"

func unknownOperation(format string, args ...any) error {
	return fault.New(fault.NotFound, codeUnknownOperation, format, args...)
}

// keptBuffer bounds the buffers that are used again.
const keptBuffer = 64 << 10

func (a *api) release(b *bytes.Buffer) {
	if b.Cap() <= keptBuffer {
		b.Reset()
		a.buffers.Put(b)
	}
}

// panicked turns a panic into a 500, unless the answer has begun: then it breaks
// the connection, so that the client does not take half an answer for one.
func (c *call) panicked(v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
		panic(v)
	}
	c.api.o.Log.Error("request panicked", "request_id", c.id, "operation", c.action, "panic", v, "stack", string(debug.Stack()))
	if c.wrote {
		panic(http.ErrAbortHandler)
	}
	c.internal()
}

// originOf is where the client reached this server, such as
// http://localhost:4242.
func originOf(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

type originKey struct{}

// origin is originOf the request that an operation answers. The URLs in answers
// begin with it.
func origin(ctx context.Context) string {
	text, _ := ctx.Value(originKey{}).(string)
	return text
}
