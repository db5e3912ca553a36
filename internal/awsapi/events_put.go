package awsapi

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// putOut answers PutEvents and PutPartnerEvents: an entry for each of the
// request's, in order.
type putOut struct {
	FailedEntryCount int
	Entries          []putOutEntry
}

type putOutEntry struct {
	EventID      string `json:"EventId,omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

func (a *api) putEvents(ctx context.Context, c account.AWSCaller, body []byte) (any, error) {
	return put(ctx, c, body, a.o.Buses.PutEvents)
}

func (a *api) putPartnerEvents(ctx context.Context, c account.AWSCaller, body []byte) (any, error) {
	return put(ctx, c, body, a.o.Buses.PutPartnerEvents)
}

func put(
	ctx context.Context, c account.AWSCaller, body []byte,
	verb func(context.Context, account.AWSCaller, []bus.Entry) ([]bus.PutResult, error),
) (any, error) {
	entries, err := decodePut(body)
	if err != nil {
		return nil, fault.New(fault.Invalid, codeSerialization, "The body is not the JSON expected: %s.", err)
	}
	results, err := verb(ctx, c, entries)
	if err != nil {
		return nil, err
	}
	out := &putOut{Entries: make([]putOutEntry, len(results))}
	for i, r := range results {
		out.Entries[i] = putOutEntry{r.EventID, r.Code, r.Message}
		if r.Code != "" {
			out.FailedEntryCount++
		}
	}
	return out, nil
}

// decodePut reads the entries of a request. It is the one decoder that is
// written out, because each event passes it: nothing is built but the entries,
// and their details stay in the body where they can.
func decodePut(body []byte) ([]bus.Entry, error) {
	sc := rawjson.New(body)
	if sc.Kind() == rawjson.EOF {
		return nil, nil
	}
	if err := sc.BeginObject(); err != nil {
		return nil, err
	}
	var entries []bus.Entry
	for {
		name, ok, err := sc.NextKey()
		if err != nil {
			return nil, err
		}
		if !ok {
			return entries, sc.End()
		}
		if string(name) != "Entries" || sc.Kind() == rawjson.Null {
			_, err = sc.Raw()
		} else {
			entries, err = decodeEntries(&sc)
		}
		if err != nil {
			return nil, err
		}
	}
}

func decodeEntries(sc *rawjson.Scanner) ([]bus.Entry, error) {
	if err := sc.BeginArray(); err != nil {
		return nil, err
	}
	entries := make([]bus.Entry, 0, 10)
	for {
		ok, err := sc.NextElement()
		if err != nil || !ok {
			return entries, err
		}
		entries = append(entries, bus.Entry{})
		if err := decodeEntry(sc, &entries[len(entries)-1]); err != nil {
			return nil, err
		}
	}
}

func decodeEntry(sc *rawjson.Scanner, e *bus.Entry) error {
	if err := sc.BeginObject(); err != nil {
		return err
	}
	for {
		name, ok, err := sc.NextKey()
		if err != nil || !ok {
			return err
		}
		if sc.Null() {
			continue
		}
		switch string(name) {
		case "Source":
			e.Source, err = sc.String()
		case "DetailType":
			e.DetailType, err = sc.String()
		case "Detail":
			e.Detail, err = sc.StringBytes()
		case "EventBusName":
			e.Bus, err = sc.String()
		case "Resources":
			e.Resources, err = decodeTexts(sc)
		case "Time":
			var raw []byte
			if raw, err = sc.Raw(); err == nil {
				var at stamp
				err = at.UnmarshalJSON(raw)
				e.Time = time.Time(at)
			}
		default:
			_, err = sc.Raw()
		}
		if err != nil {
			return err
		}
	}
}

var errTooManyResources = errors.New("an entry has too many resources")

// maxResources keeps a list of empty strings, which has no size, in bounds.
const maxResources = 10_000

func decodeTexts(sc *rawjson.Scanner) ([]string, error) {
	if err := sc.BeginArray(); err != nil {
		return nil, err
	}
	var texts []string
	for {
		ok, err := sc.NextElement()
		if err != nil || !ok {
			return texts, err
		}
		text, err := sc.String()
		if err != nil {
			return nil, err
		}
		if texts = append(texts, text); len(texts) > maxResources {
			return nil, errTooManyResources
		}
	}
}
