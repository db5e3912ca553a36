package queue

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/store"
)

// The attributes of a queue.
const (
	attrDelay         = "DelaySeconds"
	attrMaxSize       = "MaximumMessageSize"
	attrRetention     = "MessageRetentionPeriod"
	attrWait          = "ReceiveMessageWaitTimeSeconds"
	attrVisibility    = "VisibilityTimeout"
	attrPolicy        = "Policy"
	attrRedrive       = "RedrivePolicy"
	attrRedriveAllow  = "RedriveAllowPolicy"
	attrKMSKey        = "KmsMasterKeyId"
	attrKMSReuse      = "KmsDataKeyReusePeriodSeconds"
	attrSSE           = "SqsManagedSseEnabled"
	attrFIFO          = "FifoQueue"
	attrContentDedup  = "ContentBasedDeduplication"
	attrDedupScope    = "DeduplicationScope"
	attrThroughput    = "FifoThroughputLimit"
	attrARN           = "QueueArn"
	attrCreated       = "CreatedTimestamp"
	attrModified      = "LastModifiedTimestamp"
	attrDepth         = "ApproximateNumberOfMessages"
	attrDepthInFlight = "ApproximateNumberOfMessagesNotVisible"
	attrDepthDelayed  = "ApproximateNumberOfMessagesDelayed"
)

// defaults are the values of attributes that were not set. Those missing here
// are absent until they are.
var defaults = map[string]string{
	attrDelay: "0", attrMaxSize: "1048576", attrRetention: "345600", attrWait: "0", attrVisibility: "30", attrSSE: "true",
}

var fifoDefaults = map[string]string{
	attrContentDedup: "false", attrDedupScope: "queue", attrThroughput: "perQueue",
}

// settable are the attributes that a client may set, and what values they take.
// An empty value unsets the clearable ones.
var settable = map[string]struct {
	min, max  int      // of a number, if max is not 0
	words     []string // else one of these
	fifo      bool     // of FIFO queues only
	clearable bool
}{
	attrDelay:        {max: 900},
	attrMaxSize:      {min: 1024, max: 1 << 20},
	attrRetention:    {min: 60, max: 1209600},
	attrWait:         {max: 20},
	attrVisibility:   {max: 43200},
	attrKMSReuse:     {min: 60, max: 86400},
	attrSSE:          {words: []string{"true", "false"}},
	attrFIFO:         {words: []string{"true", "false"}},
	attrContentDedup: {words: []string{"true", "false"}, fifo: true},
	attrDedupScope:   {words: []string{"queue", "messageGroup"}, fifo: true},
	attrThroughput:   {words: []string{"perQueue", "perMessageGroupId"}, fifo: true},
	attrPolicy:       {clearable: true},
	attrRedrive:      {clearable: true},
	attrRedriveAllow: {clearable: true},
	attrKMSKey:       {clearable: true},
}

var computed = map[string]bool{
	attrARN: true, attrCreated: true, attrModified: true, attrDepth: true, attrDepthInFlight: true, attrDepthDelayed: true,
}

// checkAttributes reports the first attribute that a client may not set so.
func checkAttributes(given map[string]string, fifo bool) error {
	for name, value := range given {
		spec, ok := settable[name]
		if !ok || spec.fifo && !fifo {
			return invalid(codeAttributeName, "Unknown Attribute %s.", name)
		}
		if value == "" && spec.clearable {
			continue
		}
		good := true
		switch {
		case spec.max != 0:
			n, err := strconv.Atoi(value)
			good = err == nil && n >= spec.min && n <= spec.max
		case spec.words != nil:
			good = false
			for _, word := range spec.words {
				good = good || value == word
			}
		case name == attrPolicy:
			good = json.Valid([]byte(value))
		}
		if !good {
			return invalid(codeAttributeValue, "Invalid value for the parameter %s.", name)
		}
	}
	return nil
}

// checkTogether reports attributes that do not go together.
func checkTogether(a map[string]string) error {
	if a[attrThroughput] == "perMessageGroupId" && a[attrDedupScope] != "messageGroup" {
		return invalid(codeAttributeValue, "Invalid value for the parameter %s. Reason: perMessageGroupId is allowed only when DeduplicationScope is messageGroup.", attrThroughput)
	}
	return nil
}

// setAttributes puts given values into a document's, and tells whether that
// changed anything.
func setAttributes(have, given map[string]string) bool {
	changed := false
	for name, value := range given {
		old, ok := have[name]
		switch {
		case value == "":
			delete(have, name)
			changed = changed || ok
		case !ok || old != value:
			have[name] = value
			changed = true
		}
	}
	return changed
}

// sameValue tells whether two values of an attribute mean the same.
func sameValue(name, a, b string) bool {
	if a == b {
		return true
	}
	switch name {
	case attrPolicy, attrRedrive, attrRedriveAllow:
		var x, y any
		return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
	}
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	return errX == nil && errY == nil && x == y
}

// value is what an attribute of a queue is, set or by default.
func (d *document) value(name string) (string, bool) {
	if v, ok := d.Attributes[name]; ok {
		return v, true
	}
	if v, ok := defaults[name]; ok {
		return v, true
	}
	if d.Attributes[attrFIFO] == "true" {
		v, ok := fifoDefaults[name]
		return v, ok
	}
	if name == attrKMSReuse && d.Attributes[attrKMSKey] != "" {
		return "300", true
	}
	return "", false
}

// Attributes returns the named attributes of a queue; "All" names all of them.
// Those that are not set and have no default are left out.
func (s *Service) Attributes(ctx context.Context, c account.AWSCaller, queueURL string, names []string) (map[string]string, error) {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return nil, err
	}
	r, doc, err := s.read(ctx, k)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, name := range names {
		if name == "All" {
			for n := range settable {
				wanted[n] = true
			}
			for n := range computed {
				wanted[n] = true
			}
			continue
		}
		if _, ok := settable[name]; !ok && !computed[name] {
			return nil, invalid(codeAttributeName, "Unknown Attribute %s.", name)
		}
		wanted[name] = true
	}
	out := map[string]string{}
	var depth *store.QueueDepth
	for name := range wanted {
		switch name {
		case attrARN:
			out[name] = arn(r.Region, doc.AccountID, r.Name)
		case attrCreated:
			out[name] = strconv.FormatInt(r.Created.Unix(), 10)
		case attrModified:
			modified := doc.Modified
			if modified.IsZero() {
				modified = r.Created
			}
			out[name] = strconv.FormatInt(modified.Unix(), 10)
		case attrDepth, attrDepthInFlight, attrDepthDelayed:
			if depth == nil {
				d, err := s.store.QueueDepth(ctx, r.Number, s.now())
				if err != nil {
					return nil, failed("count messages", err)
				}
				depth = &d
			}
			out[name] = strconv.Itoa(map[string]int{
				attrDepth: depth.Visible, attrDepthInFlight: depth.InFlight, attrDepthDelayed: depth.Delayed,
			}[name])
		default:
			if v, ok := doc.value(name); ok {
				out[name] = v
			}
		}
	}
	return out, nil
}

// SetAttributes sets attributes of a queue. An empty value takes a policy or a
// key away.
func (s *Service) SetAttributes(ctx context.Context, c account.AWSCaller, queueURL string, given map[string]string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	if len(given) == 0 {
		return missing("Attribute.Name")
	}
	return s.change(ctx, k, false, func(r *store.Resource, doc *document) error {
		fifo := doc.Attributes[attrFIFO] == "true"
		if err := checkAttributes(given, fifo); err != nil {
			return err
		}
		if v, ok := given[attrFIFO]; ok && (v == "true") != fifo {
			return invalid(codeAttributeValue, "Invalid value for the parameter %s. Reason: Modifying queue type is not supported.", attrFIFO)
		}
		if err := s.checkRedrive(ctx, c, r.Name, fifo, given); err != nil {
			return err
		}
		if !setAttributes(doc.Attributes, given) {
			return errUnchanged
		}
		if err := checkTogether(doc.Attributes); err != nil {
			return err
		}
		doc.Modified = s.stamp()
		return nil
	})
}
