package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
)

// redrive is a RedrivePolicy.
type redrive struct {
	Target string
	Max    int
}

var (
	errRedriveJSON   = errors.New("redrive policy is not a valid JSON map")
	errRedriveTarget = errors.New("redrive policy does not contain mandatory attribute: deadLetterTargetArn")
	errRedriveCount  = errors.New("redrive policy does not contain mandatory attribute: maxReceiveCount")
	errRedriveMax    = errors.New("invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive")
)

// parseRedrive reads a RedrivePolicy. The count may be a number or a string of
// one: clients send both.
func parseRedrive(text string) (redrive, error) {
	var raw struct {
		Target *string         `json:"deadLetterTargetArn"`
		Max    json.RawMessage `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(text), &raw) != nil || !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return redrive{}, errRedriveJSON
	}
	if raw.Target == nil {
		return redrive{}, errRedriveTarget
	}
	if len(raw.Max) == 0 {
		return redrive{}, errRedriveCount
	}
	n, err := strconv.Atoi(string(bytes.Trim(raw.Max, `"`)))
	if err != nil || n < 1 || n > 1000 {
		return redrive{}, errRedriveMax
	}
	return redrive{Target: *raw.Target, Max: n}, nil
}

// redriveAllow is a RedriveAllowPolicy.
type redriveAllow struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns"`
}

func parseRedriveAllow(text string) (redriveAllow, bool) {
	var p redriveAllow
	if json.Unmarshal([]byte(text), &p) != nil {
		return p, false
	}
	switch p.Permission {
	case "allowAll", "denyAll":
		return p, len(p.Sources) == 0
	case "byQueue":
		return p, len(p.Sources) > 0 && len(p.Sources) <= 10
	}
	return p, false
}

// checkRedrive checks the policies among attributes that are to be set on the
// caller's queue.
func (s *Service) checkRedrive(ctx context.Context, c account.AWSCaller, name string, fifo bool, given map[string]string) error {
	if text := given[attrRedriveAllow]; text != "" {
		if _, ok := parseRedriveAllow(text); !ok {
			return badParameter(attrRedriveAllow, text, "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.")
		}
	}
	text := given[attrRedrive]
	if text == "" {
		return nil
	}
	p, err := parseRedrive(text)
	if err != nil {
		reason := err.Error()
		return badParameter(attrRedrive, text, "%s.", strings.ToUpper(reason[:1])+reason[1:])
	}
	target, err := s.findARN(ctx, c.Scope, p.Target)
	if err != nil && !isCode(err, codeNoQueue) {
		return err
	}
	if err != nil || target.key.Region != c.Region {
		return badParameter(attrRedrive, text, "Dead letter target does not exist.")
	}
	if target.fifo != fifo {
		return badParameter(attrRedrive, text, "Dead-letter queue must be same type of queue as the source.")
	}
	if !target.admits(arn(c.Region, c.AccountID, name)) {
		return badParameter(attrRedrive, text, "Queue %s is not allowed to use it as a dead-letter queue by its RedriveAllowPolicy.", p.Target)
	}
	return nil
}

// admits tells whether a queue lets another use it for dead letters.
func (q *queue) admits(source string) bool {
	switch q.allow.Permission {
	case "denyAll":
		return false
	case "byQueue":
		return slices.Contains(q.allow.Sources, source)
	}
	return true
}

// DeadLetterSources is a page of the URLs of queues whose dead letters go to
// this one.
func (s *Service) DeadLetterSources(ctx context.Context, c account.AWSCaller, queueURL string, limit int, token string) (urls []string, next string, err error) {
	q, err := s.queueAt(ctx, c, queueURL)
	if err != nil {
		return nil, "", err
	}
	after, limit, err := page(limit, token)
	if err != nil {
		return nil, "", err
	}
	d, err := s.latest(ctx)
	if err != nil {
		return nil, "", err
	}
	var names []string
	for _, source := range d.byNumber {
		if source.deadLetter == q.arn && source.key.Scope == c.Scope && source.key.Name > after {
			names = append(names, source.key.Name)
		}
	}
	slices.Sort(names)
	if len(names) > limit {
		names = names[:limit]
		next = pageToken(names[limit-1])
	}
	for _, name := range names {
		urls = append(urls, s.queueURL(c.AccountID, name))
	}
	return urls, next, nil
}
