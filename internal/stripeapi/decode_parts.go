package stripeapi

import (
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/rawjson"
)

// dataShape is what was seen of data. A snapshot needs it to be {object,
// previous_attributes}; a thin event's can be any object. So what is wrong with
// it as a snapshot's is only noted while it is read.
type dataShape struct {
	raw              []byte // all of it
	object, previous []byte
	unknown, again   []byte       // a key that is neither, or there twice
	objectIs, prevIs rawjson.Kind // 0 if not there
}

func (d *decoder) readData(r *reading) error {
	d.s.Kind() // skips the space in front
	start := d.s.Offset()
	if err := d.s.BeginObject(); err != nil {
		return d.bad("data", err)
	}
	data := &r.data
	for {
		key, ok, err := d.s.NextKey()
		if err != nil {
			return d.bad("data", err)
		}
		if !ok {
			break
		}
		kind := d.s.Kind()
		raw, err := d.s.Raw()
		if err != nil {
			return d.bad("data", err)
		}
		switch string(key) {
		case "object":
			if data.objectIs != 0 {
				data.again = key
			}
			data.object, data.objectIs = raw, kind
		case "previous_attributes":
			if data.prevIs != 0 {
				data.again = key
			}
			data.previous, data.prevIs = raw, kind
		default:
			if data.unknown == nil {
				data.unknown = append([]byte{}, key...)
			}
		}
	}
	data.raw = d.body[start:d.s.Offset()]
	return nil
}

// judgeData checks data as that of a snapshot and takes its parts.
func (d *decoder) judgeData(r *reading) error {
	data, draft := &r.data, r.draft
	switch {
	case data.raw == nil:
		return d.fault("data", "The data is missing. Send data with the object that a snapshot shows, or related_object for a thin event.")
	case data.unknown != nil:
		return d.fault("data."+cutText(string(data.unknown)), "This parameter is unknown here. Those possible are: object, previous_attributes.")
	case data.again != nil:
		return d.duplicate("data." + string(data.again))
	case data.objectIs == 0:
		return d.fault("data.object", "The object is missing. Send what the snapshot shows.")
	case data.objectIs != rawjson.Object:
		return d.bad("data.object", &rawjson.TypeError{Want: "object", Got: data.objectIs.String()})
	case data.prevIs != 0 && data.prevIs != rawjson.Object && data.prevIs != rawjson.Null:
		return d.bad("data.previous_attributes", &rawjson.TypeError{Want: "object", Got: data.prevIs.String()})
	}
	draft.Object = data.object
	if data.prevIs == rawjson.Object {
		draft.PreviousAttributes = data.previous
	}
	return d.identify(draft)
}

// identify finds id and object in data.object, which is valid already. Both
// stand in front in practice, so this hardly ever reads on. What is no string
// is no reference; of a repeated key the first counts.
func (d *decoder) identify(draft *event.Draft) error {
	s := rawjson.New(draft.Object)
	if err := s.BeginObject(); err != nil {
		return d.bad("data.object", err)
	}
	var id, tag bool
	for !id || !tag {
		key, ok, err := s.NextKey()
		if err != nil {
			return d.bad("data.object", err)
		}
		if !ok {
			return nil
		}
		var into *string
		switch {
		case !id && string(key) == "id":
			id, into = true, &draft.ObjectID
		case !tag && string(key) == "object":
			tag, into = true, &draft.ObjectType
		}
		if into == nil || s.Kind() != rawjson.String {
			if _, err := s.Raw(); err != nil {
				return d.bad("data.object", err)
			}
			continue
		}
		if *into, err = s.String(); err != nil {
			return d.bad("data.object", err)
		}
		if len(*into) > maxReference {
			return d.fault("data.object."+string(key), "The text is longer than 255 bytes. Shorten it.")
		}
	}
	return nil
}

// readReference reads a short string; null is "" where it may be null.
func (d *decoder) readReference(name string, nullable bool) (string, error) {
	if nullable && d.s.Null() {
		return "", nil
	}
	v, err := d.s.String()
	if err != nil {
		return "", d.bad(name, err)
	}
	if len(v) > maxReference {
		return "", d.fault(name, "The text is longer than 255 bytes. Shorten it.")
	}
	return v, nil
}

// readRequest reads {id, idempotency_key}, each a string or null.
func (d *decoder) readRequest(at string) (id, key string, err error) {
	if err := d.s.BeginObject(); err != nil {
		return "", "", d.bad(at, err)
	}
	var hasID, hasKey bool
	for {
		name, ok, err := d.s.NextKey()
		switch {
		case err != nil:
			return "", "", d.bad(at, err)
		case !ok:
			return id, key, nil
		}
		switch string(name) {
		case "id":
			if hasID {
				return "", "", d.duplicate(at + ".id")
			}
			hasID = true
			id, err = d.readReference(at+".id", true)
		case "idempotency_key":
			if hasKey {
				return "", "", d.duplicate(at + ".idempotency_key")
			}
			hasKey = true
			key, err = d.readReference(at+".idempotency_key", true)
		default:
			err = d.fault(at+"."+cutText(string(name)), "This parameter is unknown here. Those possible are: id, idempotency_key.")
		}
		if err != nil {
			return "", "", err
		}
	}
}

// readRelated reads {id, type, url}; singletons have no id.
func (d *decoder) readRelated(draft *event.Draft) error {
	d.s.Kind()
	start := d.s.Offset()
	if err := d.s.BeginObject(); err != nil {
		return d.bad("related_object", err)
	}
	var hasID, hasType, hasURL bool
	for {
		name, ok, err := d.s.NextKey()
		if err != nil {
			return d.bad("related_object", err)
		}
		if !ok {
			break
		}
		var has *bool
		switch string(name) {
		case "id":
			has = &hasID
		case "type":
			has = &hasType
		case "url":
			has = &hasURL
		default:
			return d.fault("related_object."+cutText(string(name)), "This parameter is unknown here. Those possible are: id, type, url.")
		}
		if *has {
			return d.duplicate("related_object." + string(name))
		}
		*has = true
		if has == &hasID {
			if draft.ObjectID, err = d.readReference("related_object.id", false); err != nil {
				return err
			}
			continue
		}
		v, err := d.s.StringBytes()
		switch {
		case err != nil:
			return d.bad("related_object."+string(name), err)
		case len(v) == 0:
			return d.fault("related_object."+string(name), "The text is empty. Say which object the event is about.")
		}
	}
	switch {
	case !hasType:
		return d.fault("related_object.type", "The type is missing. Send what the object is, such as customer.")
	case !hasURL:
		return d.fault("related_object.url", "The URL is missing. Send where the object can be retrieved, such as /v1/customers/cus_123.")
	}
	draft.RelatedObject = d.body[start:d.s.Offset()]
	return nil
}

// readChanges reads {before, after}, each an object or null.
func (d *decoder) readChanges(draft *event.Draft) error {
	d.s.Kind()
	start := d.s.Offset()
	if err := d.s.BeginObject(); err != nil {
		return d.bad("changes", err)
	}
	var before, after bool
	for {
		name, ok, err := d.s.NextKey()
		if err != nil {
			return d.bad("changes", err)
		}
		if !ok {
			break
		}
		var has *bool
		switch string(name) {
		case "before":
			has = &before
		case "after":
			has = &after
		default:
			return d.fault("changes."+cutText(string(name)), "This parameter is unknown here. Those possible are: before, after.")
		}
		if *has {
			return d.duplicate("changes." + string(name))
		}
		*has = true
		at := "changes." + string(name)
		if k := d.s.Kind(); k != rawjson.Object && k != rawjson.Null && k != rawjson.Invalid && k != rawjson.EOF {
			return d.bad(at, &rawjson.TypeError{Want: "object", Got: k.String()})
		}
		if _, err := d.s.Raw(); err != nil {
			return d.bad(at, err)
		}
	}
	draft.Changes = d.body[start:d.s.Offset()]
	return nil
}

// readReason reads {type: "request", request: {id, idempotency_key}}.
func (d *decoder) readReason(draft *event.Draft) error {
	d.s.Kind()
	start := d.s.Offset()
	if err := d.s.BeginObject(); err != nil {
		return d.bad("reason", err)
	}
	var hasType, hasRequest bool
	for {
		name, ok, err := d.s.NextKey()
		if err != nil {
			return d.bad("reason", err)
		}
		if !ok {
			break
		}
		switch string(name) {
		case "type":
			if hasType {
				return d.duplicate("reason.type")
			}
			hasType = true
			v, err := d.s.StringBytes()
			if err != nil {
				return d.bad("reason.type", err)
			}
			if string(v) != "request" {
				return d.fault("reason.type", "The only reason there is, is request.")
			}
		case "request":
			if hasRequest {
				return d.duplicate("reason.request")
			}
			hasRequest = true
			if _, _, err := d.readRequest("reason.request"); err != nil {
				return err
			}
		default:
			return d.fault("reason."+cutText(string(name)), "This parameter is unknown here. Those possible are: type, request.")
		}
	}
	switch {
	case !hasType:
		return d.fault("reason.type", "The type is missing. Send request.")
	case !hasRequest:
		return d.fault("reason.request", "The request is missing. Send its id and idempotency_key.")
	}
	draft.Reason = d.body[start:d.s.Offset()]
	return nil
}
