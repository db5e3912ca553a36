package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logServer answers FilterLogEvents, two entries a page. Before each first page
// it takes one of its steps.
type logServer struct {
	entries []map[string]any
	steps   []func()
}

func (s *logServer) add(id int, at time.Time, message string) {
	s.entries = append(s.entries, map[string]any{"eventId": fmt.Sprint(id), "timestamp": at.UnixMilli(), "logStreamName": "events", "message": message})
}

func (s *logServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var in struct {
		StartTime int64  `json:"startTime"`
		NextToken string `json:"nextToken"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	if in.NextToken == "" && len(s.steps) > 0 {
		s.steps[0]()
		s.steps = s.steps[1:]
	}
	out := map[string]any{}
	after := in.NextToken
	var page []map[string]any
	for _, e := range s.entries {
		id := e["eventId"].(string)
		if e["timestamp"].(int64) < in.StartTime || after != "" && id <= after {
			continue
		}
		if len(page) == 2 {
			out["nextToken"] = page[1]["eventId"]
			break
		}
		page = append(page, e)
	}
	out["events"] = page
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(raw))}, nil
}

// What is followed is printed once, whenever and in whatever order it comes.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var log logServer
		c := &cli{stdout: &out, now: time.Now}
		client := c.newAWSClient("http://waybill.invalid", "AKIA", "secret", "us-east-1")
		client.http = &http.Client{Transport: &log}
		ctx, cancel := context.WithCancel(t.Context())
		printed := func(want string) {
			t.Helper()
			var got []string
			for line := range strings.Lines(out.String()) {
				_, message, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " events ")
				got = append(got, message)
			}
			out.Reset()
			if strings.Join(got, ", ") != want {
				t.Errorf("printed %q, want %q", got, want)
			}
		}
		start := time.Now()
		log.steps = []func(){
			func() {
				log.add(1, start.Add(-time.Hour), "too old")
				for i := range 4 {
					log.add(2+i, start, fmt.Sprint("before ", i))
				}
			},
			func() { printed("before 0, before 1, before 2, before 3"); log.add(6, time.Now(), "first") },
			func() { printed("first"); log.add(7, start, "late"); log.add(8, time.Now(), "a\x1b[31mred\nline") },
			func() { printed("late, a [31mred line") },
			func() { printed(""); log.add(9, start.Add(time.Minute), "much later") },
			func() { printed("much later") },
			func() { printed(""); cancel() },
		}
		if err := c.follow(ctx, client, "g", start.Add(-time.Minute)); !errors.Is(err, context.Canceled) || len(log.steps) > 0 {
			t.Errorf("it ended with %v and %d steps to go", err, len(log.steps))
		}
		if took := time.Since(start); took != 6*followEvery {
			t.Errorf("seven looks took %v", took)
		}
	})
}
