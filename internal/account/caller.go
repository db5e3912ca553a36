package account

import "github.com/waybill-dev/waybill/internal/event"

// Caller is who makes a request, and the request's identity. Surfaces make
// one from an authenticated key; domains take it.
type Caller struct {
	Scope     event.Scope
	AccountID string // acct_…
	// APIVersion is the account's default version for snapshots, never "".
	APIVersion string

	// Key is the id of the API key, KeyHint its visible part.
	Key, KeyHint string
	// Grants is what a restricted key may do; "" is everything.
	Grants Grants

	// Generation is the API that was called: 1 or 2.
	Generation int
	// IdempotencyKey is the client's, or "".
	IdempotencyKey string
	// RequestHash is the SHA-256 of the method, the path and the body, set
	// if there is an IdempotencyKey.
	RequestHash [32]byte
}
