package awsapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sign"
)

// The codes of requests that are not let in.
const (
	codeMissing    = "MissingAuthenticationTokenException"
	codeIncomplete = "IncompleteSignatureException"
	codeSignature  = "InvalidSignatureException"
	codeUnknownKey = "UnrecognizedClientException"
	codeExpired    = "RequestExpired"
)

// signature is a request's signature that names a known key and is yet to be
// verified.
type signature struct {
	parsed sign.SigV4
	secret string
	caller account.AWSCaller
	// presigned says that it came in the query.
	presigned bool
}

// identify finds out who the request claims to be from. It needs no body.
func (c *call) identify(ctx context.Context) (*signature, error) {
	s := &signature{presigned: c.r.Header.Get("Authorization") == ""}
	var err error
	if s.parsed, err = sign.ParseSigV4(c.r); err != nil {
		return nil, s.refused(err)
	}
	if s.parsed.Service != c.service.signing {
		return nil, fault.New(fault.Unauthorized, codeSignature, "Credential should be scoped to correct service: '%s'.", c.service.signing)
	}
	if !isRegion(s.parsed.Region) {
		return nil, fault.New(fault.Unauthorized, codeSignature, "Credential should be scoped to a valid region.")
	}
	secret, owner, err := c.api.o.Accounts.AWSSecret(ctx, s.parsed.AccessKeyID)
	if err != nil {
		return nil, err
	}
	s.secret = secret
	s.caller = account.NewAWSCaller(owner, s.parsed.Region, s.parsed.AccessKeyID)
	return s, nil
}

// verify returns the caller if the signature is that of r and its body.
func (s *signature) verify(r *http.Request, body []byte, now time.Time) (account.AWSCaller, error) {
	if err := s.parsed.Verify(r, body, s.secret, now); err != nil {
		return account.AWSCaller{}, s.refused(err)
	}
	return s.caller, nil
}

// refused gives a signature's error AWS's code.
func (s *signature) refused(err error) error {
	code := codeSignature
	switch {
	case errors.Is(err, sign.ErrSigV4Missing):
		code = codeMissing
	case errors.Is(err, sign.ErrSigV4Incomplete):
		code = codeIncomplete
	case errors.Is(err, sign.ErrSigV4Skew) && s.presigned:
		code = codeExpired
	case errors.Is(err, sign.ErrSigV4Skew), errors.Is(err, sign.ErrSigV4Mismatch):
	default:
		return err // ours, such as a key without a secret
	}
	return fault.New(fault.Unauthorized, code, "%s", err.Error())
}

// maxRegion is more than AWS's longest.
const maxRegion = 32

// isRegion tells whether text can be the name of a region. Any is as good as
// another: each has its own buses and queues.
func isRegion(text string) bool {
	if text == "" || len(text) > maxRegion {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
