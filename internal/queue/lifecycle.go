package queue

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

var (
	queueName     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)
	fifoQueueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,75}\.fifo$`)
)

// Create makes a queue and returns its URL. A queue that is there already is
// left as it is if its attributes have the values given.
func (s *Service) Create(ctx context.Context, c account.AWSCaller, name string, attributes, tags map[string]string) (string, error) {
	if name == "" {
		return "", missing("QueueName")
	}
	fifo := attributes[attrFIFO] == "true"
	if fifo && !fifoQueueName.MatchString(name) {
		return "", invalid(codeParameter, "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	}
	if !fifo && !queueName.MatchString(name) {
		return "", invalid(codeParameter, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	}
	if err := checkAttributes(attributes, fifo); err != nil {
		return "", err
	}
	if err := checkTags(tags); err != nil {
		return "", err
	}
	url := s.queueURL(c.AccountID, name)
	for range 20 {
		_, doc, err := s.read(ctx, key(c, name))
		if err == nil {
			return url, sameAttributes(doc, attributes)
		}
		if !isCode(err, codeNoQueue) {
			return "", err
		}
		if err := s.checkRedrive(ctx, c, name, fifo, attributes); err != nil {
			return "", err
		}
		err = s.create(ctx, c, name, attributes, tags)
		if errors.Is(err, store.ErrExists) {
			continue // somebody else was faster
		}
		return url, err
	}
	return "", invalid(codeThrottled, "Too many changes of this queue at a time. Try again.")
}

func (s *Service) create(ctx context.Context, c account.AWSCaller, name string, attributes, tags map[string]string) error {
	doc := &document{AccountID: c.AccountID, Attributes: map[string]string{}, Tags: tags}
	setAttributes(doc.Attributes, attributes)
	if doc.Attributes[attrFIFO] == "false" {
		delete(doc.Attributes, attrFIFO)
	}
	if err := checkTogether(doc.Attributes); err != nil {
		return err
	}
	now := s.stamp()
	r := &store.Resource{ResourceKey: key(c, name), Status: event.Enabled, Created: now, Updated: now}
	if err := encode(r, doc); err != nil {
		return err
	}
	if err := s.store.ChangeResources(ctx, []*store.Resource{r}, false); err != nil {
		return failed("create queue", err)
	}
	return s.reload(ctx)
}

func sameAttributes(doc *document, given map[string]string) error {
	for name, value := range given {
		have, _ := doc.value(name)
		if name == attrFIFO && have == "" {
			have = "false"
		}
		if !sameValue(name, have, value) {
			return invalid(codeExists, "A queue already exists with the same name and a different value for attribute %s", name)
		}
	}
	return nil
}

// Delete removes a queue and its messages. Its name is free at once.
func (s *Service) Delete(ctx context.Context, c account.AWSCaller, queueURL string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	var gone int64
	err = s.change(ctx, k, false, func(r *store.Resource, _ *document) error {
		r.Status = event.Deleted
		gone = r.Number
		return nil
	})
	if err != nil {
		return err
	}
	s.purges.forget(gone)
	return nil
}

// List returns a page of the caller's queues, by name: their URLs, and a token
// for the next page if there is one. Limit 0 is 1000.
func (s *Service) List(ctx context.Context, c account.AWSCaller, prefix string, limit int, token string) (urls []string, next string, err error) {
	after, limit, err := page(limit, token)
	if err != nil {
		return nil, "", err
	}
	found, err := s.store.ListResources(ctx, store.ListResources{
		Scope: c.Scope, Region: c.Region, Kind: store.KindQueue, Prefix: prefix, After: after, Limit: limit,
	})
	if err != nil {
		return nil, "", failed("list queues", err)
	}
	for _, r := range found.Items {
		urls = append(urls, s.queueURL(c.AccountID, r.Name))
	}
	if found.More && len(found.Items) > 0 {
		next = pageToken(found.Items[len(found.Items)-1].Name)
	}
	return urls, next, nil
}

// page checks the limit of a listing and reads its token, the base64url of the
// name it goes on after.
func page(limit int, token string) (after string, n int, err error) {
	if limit < 0 || limit > 1000 {
		return "", 0, badParameter("MaxResults", limit, "MaxResults must be an integer between 1 and 1000.")
	}
	if limit == 0 {
		limit = 1000
	}
	name, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", 0, invalid(codeParameter, "Invalid or expired next token.")
	}
	return string(name), limit, nil
}

func pageToken(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// URL returns the URL of a queue that exists. Owner is its 12-digit account, ""
// for the caller's.
func (s *Service) URL(ctx context.Context, c account.AWSCaller, name, owner string) (string, error) {
	if name == "" {
		return "", missing("QueueName")
	}
	if owner != "" && owner != c.AccountID {
		return "", noQueue()
	}
	if _, err := s.find(ctx, key(c, name)); err != nil {
		return "", err
	}
	return s.queueURL(c.AccountID, name), nil
}

// purgeEvery is how often a queue may be purged.
const purgeEvery = time.Minute

// purges remembers when queues were purged.
type purges struct {
	mu sync.Mutex
	at map[int64]time.Time
}

func (p *purges) begin(queue int64, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.at[queue]; ok && now.Sub(at) < purgeEvery {
		return false
	}
	if p.at == nil {
		p.at = map[int64]time.Time{}
	}
	p.at[queue] = now
	return true
}

func (p *purges) forget(queue int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, queue)
}

// Purge removes all messages that are in a queue. If it fails some may be left.
func (s *Service) Purge(ctx context.Context, c account.AWSCaller, queueURL string) error {
	q, err := s.queueAt(ctx, c, queueURL)
	if err != nil {
		return err
	}
	if !s.purges.begin(q.number, s.now()) {
		return invalid(codePurging, "Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.key.Name)
	}
	err = s.drop(ctx, q, &store.QueueDrop{Max: dropBatch})
	if err != nil {
		s.purges.forget(q.number)
	}
	return err
}

// maxTags is how many tags a queue may have.
const maxTags = 50

func checkTags(tags map[string]string) error {
	for name, value := range tags {
		if name == "" || len(name) > 128 || strings.HasPrefix(strings.ToLower(name), "aws:") {
			return badParameter("Tags", name, "Tag keys are 1 to 128 characters long and do not start with aws:.")
		}
		if len(value) > 256 {
			return badParameter("Tags", name, "Tag values are at most 256 characters long.")
		}
	}
	if len(tags) > maxTags {
		return invalid(codeParameter, "Too many tags added for queue. Maximum of %d tags.", maxTags)
	}
	return nil
}

// Tag adds tags to a queue, in place of those with the same keys.
func (s *Service) Tag(ctx context.Context, c account.AWSCaller, queueURL string, tags map[string]string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	if len(tags) == 0 {
		return missing("Tags")
	}
	return s.change(ctx, k, true, func(_ *store.Resource, doc *document) error {
		if doc.Tags == nil {
			doc.Tags = map[string]string{}
		}
		for name, value := range tags {
			doc.Tags[name] = value
		}
		return checkTags(doc.Tags)
	})
}

// Untag takes tags from a queue; those it does not have do not matter.
func (s *Service) Untag(ctx context.Context, c account.AWSCaller, queueURL string, names []string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return missing("TagKeys")
	}
	return s.change(ctx, k, true, func(_ *store.Resource, doc *document) error {
		for _, name := range names {
			delete(doc.Tags, name)
		}
		return nil
	})
}

// Tags returns a queue's tags.
func (s *Service) Tags(ctx context.Context, c account.AWSCaller, queueURL string) (map[string]string, error) {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return nil, err
	}
	_, doc, err := s.read(ctx, k)
	if err != nil {
		return nil, err
	}
	return doc.Tags, nil
}
