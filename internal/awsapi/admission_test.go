package awsapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Bodies that are slow to come hold up large requests for a while, which then
// are throttled, and small ones not at all.
func TestLargeBodiesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got string
		f := newProtocol(t, map[string]*service{
			"AWSEvents": {signing: "events", json: json11, operations: map[string]operation{"PutEvents": echo(&got)}},
			sqsTarget:   {signing: "sqs", json: json10, namespace: "com.amazonaws.sqs#", operations: map[string]operation{"SendMessage": echo(&got)}, queryCodes: sqsQueryCodes},
		})
		large := `{"a":"` + strings.Repeat("a", 600<<10) + `"}`
		var bodies []io.Closer
		for range 4 {
			r := signed(f.request(http.MethodPost, "/", json11, large), "events", large)
			r.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
			body, comes := io.Pipe()
			r.Body = body
			bodies = append(bodies, comes)
			go f.send(r)
		}
		synctest.Wait()

		before := time.Now()
		if a := f.json("events", "AWSEvents.PutEvents", `{}`); a.status != http.StatusOK {
			t.Errorf("a small request: %+v", a)
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("a small request waited %v", waited)
		}
		for target, code := range map[string]string{"AWSEvents.PutEvents": "ThrottlingException", "AmazonSQS.SendMessage": "com.amazonaws.sqs#ThrottlingException"} {
			signing := "events"
			if strings.HasPrefix(target, sqsTarget) {
				signing = "sqs"
			}
			before := time.Now()
			a := f.json(signing, target, large)
			if a.status != http.StatusBadRequest || !strings.Contains(a.body, `"`+code+`"`) || a.header.Get("Retry-After") != "1" {
				t.Errorf("%s: %+v", target, a)
			}
			if waited := time.Since(before); waited != maxWait {
				t.Errorf("%s waited %v, want %v", target, waited, maxWait)
			}
		}
		for _, b := range bodies {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if a := f.json("events", "AWSEvents.PutEvents", large); a.status != http.StatusOK || got != large {
			t.Errorf("when they are gone: %d %.200s", a.status, a.body)
		}
	})
}
