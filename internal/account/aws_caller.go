package account

import "github.com/waybill-dev/waybill/internal/event"

// AWSCaller is who makes a request in AWS's protocol, and to which region. The
// AWS surfaces make one from a verified signature; domains take it.
type AWSCaller struct {
	// Scope is the account's live one: AWS knows no modes, so an account's
	// buses and queues are one set.
	Scope event.Scope
	// AccountID is the 12-digit AWS account id.
	AccountID   string
	Region      string
	AccessKeyID string
}
