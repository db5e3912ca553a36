package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"strings"

	"github.com/waybill-dev/waybill/internal/sign"
)

// defaultRegion is where resources are made unless told otherwise.
const defaultRegion = "us-east-1"

// awsClient calls a server in AWS's protocols, as the AWS CLI would.
type awsClient struct {
	base, id, secret, region string
	http                     *http.Client
	sign                     func(r *http.Request, body []byte, service string)
}

// awsService is one of the services: its JSON version, the prefix of its
// operations, its name in signatures, and what it calls the token that leads to
// the next page of a list.
type awsService struct{ version, prefix, name, token string }

var (
	awsEvents = awsService{"1.1", "AWSEvents", "events", "NextToken"}
	awsQueues = awsService{"1.0", "AmazonSQS", "sqs", "NextToken"}
	awsLogs   = awsService{"1.1", "Logs_20140328", "logs", "nextToken"}
	// awsOwn is what Waybill adds to EventBridge.
	awsOwn = awsService{"1.1", "Waybill", "events", "NextToken"}
)

// aws returns the client that the environment describes: the variables are
// those of the AWS CLI.
func (c *cli) aws() (*awsClient, error) {
	id, secret := c.env("AWS_ACCESS_KEY_ID"), c.env("AWS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return nil, usagef("there is no access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to what `waybill keys create --aws` printed")
	}
	base := c.server
	for _, name := range []string{"WAYBILL_URL", "AWS_ENDPOINT_URL"} {
		if base == "" {
			base = c.env(name)
		}
	}
	if base == "" {
		base = defaultServer
	}
	region := c.env("AWS_REGION")
	for _, name := range []string{"AWS_DEFAULT_REGION", "WAYBILL_AWS_REGION"} {
		if region == "" {
			region = c.env(name)
		}
	}
	if region == "" {
		region = defaultRegion
	}
	return c.newAWSClient(strings.TrimSuffix(base, "/"), id, secret, region), nil
}

func (c *cli) newAWSClient(base, id, secret, region string) *awsClient {
	a := &awsClient{base: base, id: id, secret: secret, region: region, http: newClient(base, "").http}
	a.sign = func(r *http.Request, body []byte, service string) {
		sign.SignSigV4(r, body, a.id, a.secret, a.region, service, c.now())
	}
	return a
}

// awsError is an error as AWS's protocols answer it.
type awsError struct{ code, message string }

func (e *awsError) Error() string {
	text := e.code + ": " + e.message
	switch e.code {
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch":
		text += "; the access key is that of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: is it one of this server?"
	}
	return text
}

// call carries out one operation. out may be nil.
func (a *awsClient) call(ctx context.Context, service awsService, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-"+service.version)
	r.Header.Set("X-Amz-Target", service.prefix+"."+operation)
	a.sign(r, body, service.name)
	answer, err := a.http.Do(r)
	if err != nil {
		return (&client{base: a.base}).unreachable(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", a.base, err)
	}
	if answer.StatusCode > 299 {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &e) != nil || e.Type == "" {
			return fmt.Errorf("%s answered %s without saying why: is it a Waybill server?", a.base, answer.Status)
		}
		return &awsError{code: e.Type[strings.LastIndexByte(e.Type, '#')+1:], message: e.Message}
	}
	if out == nil || len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", operation, err)
	}
	return nil
}

// list collects what each yields.
func (a *awsClient) list(ctx context.Context, service awsService, operation, items string, in map[string]any) ([]map[string]any, error) {
	var all []map[string]any
	for item, err := range a.each(ctx, service, operation, items, in) {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// each yields the objects of all pages of a list, which are in the member items
// of each answer. An error is the last that it yields. in may be nil.
func (a *awsClient) each(ctx context.Context, service awsService, operation, items string, in map[string]any) iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		page := map[string]any{}
		maps.Copy(page, in)
		for {
			out := map[string]any{}
			if err := a.call(ctx, service, operation, page, &out); err != nil {
				yield(nil, err)
				return
			}
			found, _ := out[items].([]any)
			for _, item := range found {
				if m, ok := item.(map[string]any); ok && !yield(m, nil) {
					return
				}
			}
			next := text(out[service.token])
			if next == "" {
				return
			}
			page[service.token] = next
		}
	}
}
