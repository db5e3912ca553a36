package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

// The access key of the server's first account, and where its resources are.
const (
	awsKeyID  = "AKIDBENCHBENCHBENCH0"
	awsSecret = "benchbenchbenchbenchbenchbenchbench"
	awsRegion = "us-east-1"
)

// putSize is how many entries a PutEvents call can have at most.
const putSize = 10

// busPattern is the pattern of the rule that is measured; every event matches.
const busPattern = `{"source":["bench"],"detail":{"object":["payment_intent"]}}`

// busRates measures PutEvents through a rule into a queue, and through a rule
// to an API destination against a webhook destination that the same events
// reach in batches of the same size.
func busRates(ctx context.Context, s settings, r *receiver, bare measured, rep *report) error {
	var peak int64
	if err := withFreshServer(ctx, s, func(srv *server) error {
		m, settled, err := queueRate(ctx, s, srv)
		if err != nil {
			return err
		}
		ratio := m.rate / bare.rate
		rep.add("PutEvents, 10 a call, rule to queue", fmt.Sprintf("%.0f/s (accepted %.0f/s)", m.rate, m.accepted),
			fmt.Sprintf("%.2f of bare (at least 0.60: %s)", ratio, verdict(ratio >= 0.60)))
		rep.add("rule to queue, server CPU an event", fmt.Sprintf("%.1f us", m.cpu), fmt.Sprintf("%.2f of bare", m.cpu/bare.cpu))
		rep.add("rule to queue, all there after the last answer", fmt.Sprintf("%.2f s", settled.Seconds()), "")
		peak = max(peak, srv.peakRSS())
		return nil
	}); err != nil {
		return err
	}
	var hook, destination measured
	if err := withServer(ctx, s, r, func(srv *server) error {
		hook = publishRate(ctx, s, r, putSize, srv)
		return nil
	}); err != nil {
		return err
	}
	rep.add("batches of 10 to a webhook destination", fmt.Sprintf("%.0f/s (accepted %.0f/s), %.1f us of server CPU", hook.rate, hook.accepted, hook.cpu),
		fmt.Sprintf("%.2f of bare", hook.rate/bare.rate))
	if err := withFreshServer(ctx, s, func(srv *server) error {
		var err error
		destination, err = apiDestinationRate(ctx, s, r, srv)
		peak = max(peak, srv.peakRSS())
		return err
	}); err != nil {
		return err
	}
	ratio := destination.rate / hook.rate
	rep.add("PutEvents, 10 a call, rule to API destination", fmt.Sprintf("%.0f/s (accepted %.0f/s)", destination.rate, destination.accepted),
		fmt.Sprintf("%.2f of the webhook destination (at least 0.80: %s)", ratio, verdict(ratio >= 0.80)))
	rep.add("rule to API destination, server CPU an event", fmt.Sprintf("%.1f us", destination.cpu), fmt.Sprintf("%.2f of the webhook destination", destination.cpu/hook.cpu))
	rep.add("peak RSS of the bus", fmt.Sprintf("%.0f MB", float64(peak)/1e6), "")
	return nil
}

// queueRate measures what arrives in a queue for a while, and how long after
// the last answer everything that was accepted has.
func queueRate(ctx context.Context, s settings, srv *server) (m measured, settled time.Duration, err error) {
	url, arn, err := srv.queue(ctx, "bench")
	if err != nil {
		return m, 0, err
	}
	if err := srv.rule(ctx, arn); err != nil {
		return m, 0, err
	}
	hammering, stop := context.WithCancel(ctx)
	defer stop()
	done, failed, wait, err := putEvents(hammering, s, srv)
	if err != nil {
		return m, 0, err
	}
	defer wait()
	pause(ctx, warmUp)
	before, err := srv.depth(ctx, url)
	if err != nil {
		stop()
		return m, 0, err
	}
	busy, all := others(), startedCPU()
	accepted, cpu, start := done.Load(), srv.cpu(), time.Now()
	pause(ctx, s.window)
	after, err := srv.depth(ctx, url)
	took := time.Since(start)
	if err != nil || after == before {
		stop()
		return m, 0, fmt.Errorf("nothing arrived in the queue: %w", err)
	}
	warnBusy(others()-busy, took)
	m = measured{
		rate:     float64(after-before) / took.Seconds(),
		cpu:      float64((srv.cpu() - cpu).Microseconds()) / float64(after-before),
		started:  float64((startedCPU() - all).Microseconds()) / float64(after-before),
		accepted: float64((done.Load()-accepted)*putSize) / took.Seconds(),
	}
	stop()
	wait()
	last := time.Now()
	// A request whose answer the end of the measurement cut off may have been
	// accepted too.
	for want := int(done.Load()) * putSize; ; {
		n, err := srv.depth(ctx, url)
		if err != nil {
			return m, 0, err
		}
		if n >= want {
			break
		}
		if time.Since(last) > time.Minute {
			return m, 0, fmt.Errorf("%d of %d accepted events are not in the queue after a minute", want-n, want)
		}
		pause(ctx, 5*time.Millisecond)
	}
	if n := failed.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d PutEvents calls failed\n", n)
	}
	return m, time.Since(last), nil
}

// apiDestinationRate measures what arrives at the receiver by an API
// destination.
func apiDestinationRate(ctx context.Context, s settings, r *receiver, srv *server) (measured, error) {
	var connection struct{ ConnectionArn string }
	if err := srv.aws(ctx, "AWSEvents.CreateConnection", map[string]any{
		"Name": "bench", "AuthorizationType": "API_KEY",
		"AuthParameters": map[string]any{"ApiKeyAuthParameters": map[string]string{"ApiKeyName": "X-Api-Key", "ApiKeyValue": "benchbenchbench"}}, //nolint:gosec // of a server that lives for the run
	}, &connection); err != nil {
		return measured{}, err
	}
	var destination struct{ ApiDestinationArn string } //nolint:revive // AWS's name
	if err := srv.aws(ctx, "AWSEvents.CreateApiDestination", map[string]any{
		"Name": "bench", "ConnectionArn": connection.ConnectionArn, "InvocationEndpoint": r.url + "/hook", "HttpMethod": "POST",
		"InvocationRateLimitPerSecond": 1_000_000, // none
	}, &destination); err != nil {
		return measured{}, err
	}
	if err := srv.rule(ctx, destination.ApiDestinationArn); err != nil {
		return measured{}, err
	}
	hammering, stop := context.WithCancel(ctx)
	defer stop()
	done, failed, wait, err := putEvents(hammering, s, srv)
	if err != nil {
		return measured{}, err
	}
	pause(ctx, warmUp)
	before, start := done.Load(), time.Now()
	m := window(ctx, s.window, r, srv.cpu)
	m.accepted = float64((done.Load()-before)*putSize) / time.Since(start).Seconds()
	stop()
	wait()
	if n := failed.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d PutEvents calls failed\n", n)
	}
	return m, nil
}

// putEvents puts events from many connections until ctx ends, and counts calls.
// All send the same request, signed once: a signature is good for a quarter of
// an hour, and what signing costs a client is not what is measured.
func putEvents(ctx context.Context, s settings, srv *server) (done, failed *atomic.Int64, wait func(), err error) {
	detail, err := json.Marshal(object(s.size))
	if err != nil {
		return nil, nil, nil, err
	}
	one := `{"Source":"bench","DetailType":"payment_intent.succeeded","Detail":` + string(detail) + `},`
	body := []byte(`{"Entries":[` + strings.TrimSuffix(strings.Repeat(one, putSize), ",") + `]}`)
	signed, err := srv.signed(ctx, "AWSEvents.PutEvents", body)
	if err != nil {
		return nil, nil, nil, err
	}
	done, failed = new(atomic.Int64), new(atomic.Int64)
	t := transport()
	var wg sync.WaitGroup
	for range s.connections {
		wg.Go(func() {
			var answer bytes.Buffer
			for ctx.Err() == nil {
				if err := put(ctx, t, signed, body, &answer); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					if failed.Add(1) == 1 {
						fmt.Fprintln(os.Stderr, "bench:", err)
					}
				}
			}
		})
	}
	return done, failed, func() { wg.Wait(); t.CloseIdleConnections() }, nil
}

// put sends a signed request, of which every entry must be accepted.
func put(ctx context.Context, t *http.Transport, signed *http.Request, body []byte, answer *bytes.Buffer) error {
	req := signed.WithContext(ctx)
	req.Body = io.NopCloser(bytes.NewReader(body))
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	answer.Reset()
	_, err = answer.ReadFrom(res.Body)
	_ = res.Body.Close()
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK || !bytes.Contains(answer.Bytes(), []byte(`"FailedEntryCount":0`)):
		return fmt.Errorf("PutEvents: %s: %s", res.Status, answer.Bytes())
	}
	return nil
}

// signed makes a request for an operation of AWS's JSON protocol.
func (srv *server) signed(ctx context.Context, target string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	service, version := "events", "1.1"
	if strings.HasPrefix(target, "AmazonSQS.") {
		service, version = "sqs", "1.0"
	}
	req.Header.Set("Content-Type", "application/x-amz-json-"+version)
	req.Header.Set("X-Amz-Target", target)
	sign.SignSigV4(req, body, awsKeyID, awsSecret, awsRegion, service, time.Now())
	return req, nil
}

// aws calls an operation and decodes its answer into out.
func (srv *server) aws(ctx context.Context, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := srv.signed(ctx, target, body)
	if err != nil {
		return err
	}
	res, err := srv.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", target, res.Status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: decode answer: %w", target, err)
	}
	return nil
}

func (srv *server) queue(ctx context.Context, name string) (url, arn string, err error) {
	var made struct{ QueueUrl string } //nolint:revive // AWS's name
	if err := srv.aws(ctx, "AmazonSQS.CreateQueue", map[string]string{"QueueName": name}, &made); err != nil {
		return "", "", err
	}
	attributes, err := srv.attributes(ctx, made.QueueUrl, "QueueArn")
	return made.QueueUrl, attributes["QueueArn"], err
}

func (srv *server) attributes(ctx context.Context, url string, names ...string) (map[string]string, error) {
	var out struct{ Attributes map[string]string }
	err := srv.aws(ctx, "AmazonSQS.GetQueueAttributes", map[string]any{"QueueUrl": url, "AttributeNames": names}, &out)
	return out.Attributes, err
}

// depth is how many messages a queue that nobody receives from holds.
func (srv *server) depth(ctx context.Context, url string) (int, error) {
	attributes, err := srv.attributes(ctx, url, "ApproximateNumberOfMessages")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(attributes["ApproximateNumberOfMessages"])
}

// rule makes one on the default bus, with one target.
func (srv *server) rule(ctx context.Context, targetARN string) error {
	var rule struct{ RuleArn string }
	if err := srv.aws(ctx, "AWSEvents.PutRule", map[string]string{"Name": "bench", "EventPattern": busPattern}, &rule); err != nil {
		return err
	}
	var put struct{ FailedEntries []json.RawMessage }
	err := srv.aws(ctx, "AWSEvents.PutTargets", map[string]any{
		"Rule": "bench", "Targets": []map[string]string{{"Id": "1", "Arn": targetARN, "RoleArn": "arn:aws:iam::123456789012:role/bench"}},
	}, &put)
	if err == nil && len(put.FailedEntries) > 0 {
		err = fmt.Errorf("PutTargets: %s", put.FailedEntries)
	}
	return err
}
