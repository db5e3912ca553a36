package event

import "bytes"

// Origins says whose events a subscription selects.
type Origins uint8

// The origins, as seen from the subscription's own account. None is FromSelf.
const (
	FromSelf            Origins = 1 << iota
	FromAccounts                // its connected accounts
	FromMembers                 // the members of the organisation that it is
	FromMembersAccounts         // the connected accounts of those
)

// Lineage is an account's place among the others: the numbers of the platform
// that it is a connected account of, and of its organisation; 0 is none.
type Lineage struct {
	Account                int64
	ID                     string // acct_…
	Platform, Organization int64
}

const noContext = `","context":null,"reason":`

// Relay renders the copy of a connected account's event that lies with an
// account above: the same event with the same id, naming whose it is. path is
// where the account is found from an organisation, such as
// org_x/acct_y; "" is right below.
func (e *Event) Relay(above Scope, account, path string) *Event {
	r := &Event{Scope: above, Type: e.Type, Created: e.Created, ObjectID: e.ObjectID, relayed: e}
	b := make([]byte, 0, len(e.Payload)+64+len(account)+len(path))
	if e.Kind == Thin {
		r.Kind = RelayedThin
		if path == "" {
			path = account
		}
		at := bytes.Index(e.Payload, []byte(noContext)) + len(`","context":`)
		b = appendString(append(b, e.Payload[:at]...), path)
		b = append(b, e.Payload[at+len("null"):]...)
		r.shift = len(b) - len(e.Payload)
		r.Cut = e.Cut + r.shift
	} else {
		r.Kind = RelayedSnapshot
		b = append(b, e.Payload[:len(e.Payload)-1]...)
		b = appendString(append(b, `,"account":`...), account)
		if path != "" {
			b = appendString(append(b, `,"context":`...), path)
		}
		b = append(b, '}')
	}
	r.Payload = b
	return r
}

// takeIDs copies what Assign wrote into the event that e is a copy of.
func (e *Event) takeIDs() {
	from := e.relayed
	if at := from.seqAt; at != 0 {
		copy(e.Payload[at:], from.Payload[at:at+idLen])
	}
	if at := from.twinAt; from.twinOf != nil {
		copy(e.Payload[at+e.shift:], from.Payload[at:at+idLen])
	}
}
