package sign

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SigV4MaxSkew is how far the time of a request signed with AWS Signature
// Version 4 may be from now, either way.
const SigV4MaxSkew = 15 * time.Minute

const (
	sigV4Algorithm  = "AWS4-HMAC-SHA256"
	sigV4Terminator = "aws4_request"
	sigV4Time       = "20060102T150405Z"
	sigV4MaxExpires = 7 * 24 * time.Hour // of a presigned request
)

// The reasons for which a request signed with AWS Signature Version 4 is
// refused, which AWS answers with different codes. Errors wrap these, and
// their text is what AWS says to a client, nothing added.
var (
	// ErrSigV4Missing: the request carries no signature of this kind at all
	// (MissingAuthenticationTokenException).
	ErrSigV4Missing = errors.New("Missing Authentication Token") //nolint:staticcheck // ST1005: the text is AWS's, and clients show it
	// ErrSigV4Incomplete: a part of the signature is absent or unreadable
	// (IncompleteSignatureException).
	ErrSigV4Incomplete = errors.New("signature is incomplete")
	// ErrSigV4Skew: the request was signed too long ago, or in the future
	// (InvalidSignatureException; RequestExpired for a presigned one).
	ErrSigV4Skew = errors.New("signature is not of now")
	// ErrSigV4Mismatch: the secret, or what was signed, is another
	// (InvalidSignatureException).
	ErrSigV4Mismatch = errors.New("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.") //nolint:revive,staticcheck // error-strings, ST1005: the text is AWS's, and clients show it
)

// sigV4Error is one of the reasons above in words of its own.
type sigV4Error struct {
	reason error
	text   string
}

func (e *sigV4Error) Error() string { return e.text }
func (e *sigV4Error) Unwrap() error { return e.reason }

// SigV4 is what a request says of its signature. The strings are parts of the
// request, not copies.
type SigV4 struct {
	AccessKeyID   string
	Date          string // of the credential scope, YYYYMMDD
	Region        string
	Service       string
	SignedHeaders string // lowercase names, joined by semicolons
	Signature     string // lowercase hex
	Time          time.Time

	stamp   string        // Time as it is signed
	expires time.Duration // 0 unless the signature is in the query
}

// ParseSigV4 reads the signature of r: from the Authorization header, or, of a
// presigned request, from the query. It looks at no secret, so nothing in the
// result is to be believed before [SigV4.Verify] has returned nil. It returns
// [ErrSigV4Missing], [ErrSigV4Incomplete] or [ErrSigV4Mismatch].
func ParseSigV4(r *http.Request) (SigV4, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return parseSigV4Header(r, header)
	}
	if strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return parseSigV4Query(r.URL.Query())
	}
	return SigV4{}, ErrSigV4Missing
}

func parseSigV4Header(r *http.Request, header string) (SigV4, error) {
	var s SigV4
	rest, ok := strings.CutPrefix(header, sigV4Algorithm)
	if !ok || rest != "" && rest[0] != ' ' {
		return s, ErrSigV4Missing
	}
	var credential string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			continue
		}
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			s.SignedHeaders = value
		case "Signature":
			s.Signature = value
		}
	}
	s.stamp = r.Header.Get("X-Amz-Date")
	if s.stamp == "" {
		// Old clients sign the Date header; the string to sign has it in the
		// other form all the same.
		if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			s.stamp = t.UTC().Format(sigV4Time)
		}
	}
	if credential == "" || s.SignedHeaders == "" || s.Signature == "" || s.stamp == "" {
		var text strings.Builder
		for _, part := range []struct{ name, value string }{
			{"Credential", credential}, {"Signature", s.Signature}, {"SignedHeaders", s.SignedHeaders},
		} {
			if part.value == "" {
				fmt.Fprintf(&text, "Authorization header requires '%s' parameter. ", part.name)
			}
		}
		if s.stamp == "" {
			text.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
		}
		return SigV4{}, &sigV4Error{ErrSigV4Incomplete, strings.TrimSpace(text.String())}
	}
	return s.scoped(credential)
}

func parseSigV4Query(query url.Values) (SigV4, error) {
	if query.Get("X-Amz-Algorithm") != sigV4Algorithm {
		return SigV4{}, &sigV4Error{ErrSigV4Incomplete, "AWS query-string parameters must include 'X-Amz-Algorithm' with the value " + sigV4Algorithm + "."}
	}
	for _, name := range []string{"X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if query.Get(name) == "" {
			return SigV4{}, &sigV4Error{ErrSigV4Incomplete, "AWS query-string parameters must include '" + name + "'."}
		}
	}
	s := SigV4{
		SignedHeaders: query.Get("X-Amz-SignedHeaders"),
		Signature:     query.Get("X-Amz-Signature"),
		stamp:         query.Get("X-Amz-Date"),
	}
	seconds, err := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 32)
	s.expires = time.Duration(seconds) * time.Second
	if err != nil || s.expires <= 0 || s.expires > sigV4MaxExpires {
		return SigV4{}, &sigV4Error{ErrSigV4Incomplete, "X-Amz-Expires must be a number of seconds from 1 to 604800."}
	}
	return s.scoped(query.Get("X-Amz-Credential"))
}

// scoped reads the credential and the time, which must be of the same day.
func (s SigV4) scoped(credential string) (SigV4, error) {
	rest, terminator, ok := cutLast(credential)
	if ok {
		rest, s.Service, ok = cutLast(rest)
	}
	if ok {
		rest, s.Region, ok = cutLast(rest)
	}
	if ok {
		s.AccessKeyID, s.Date, ok = cutLast(rest)
	}
	if !ok || s.AccessKeyID == "" || strings.Contains(s.AccessKeyID, "/") {
		return SigV4{}, &sigV4Error{ErrSigV4Incomplete, fmt.Sprintf("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)}
	}
	if terminator != sigV4Terminator {
		return SigV4{}, &sigV4Error{ErrSigV4Mismatch, fmt.Sprintf("Credential should be scoped with a valid terminator: '%s', not '%s'.", sigV4Terminator, terminator)}
	}
	t, err := time.Parse(sigV4Time, s.stamp)
	// The parser takes fractions of a second that the layout does not ask for.
	if err != nil || len(s.stamp) != len(sigV4Time) {
		return SigV4{}, &sigV4Error{ErrSigV4Incomplete, fmt.Sprintf("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", s.stamp)}
	}
	if s.Date != s.stamp[:len("20060102")] {
		return SigV4{}, &sigV4Error{ErrSigV4Mismatch, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.Date, s.stamp[:len("20060102")], s.stamp)}
	}
	s.Time = t
	return s, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// VerifySigV4 returns nil if r, whose whole body is given, was signed with the
// secret within [SigV4MaxSkew] of now, or is presigned and has not expired.
// Whoever looked the secret up by the key's id has parsed already, and saves a
// second parsing by [SigV4.Verify].
func VerifySigV4(r *http.Request, body []byte, secret string, now time.Time) error {
	s, err := ParseSigV4(r)
	if err != nil {
		return err
	}
	return s.Verify(r, body, secret, now)
}

// Verify returns nil if s is the signature of r with the secret. An empty
// secret is [ErrNoSecret]; a wrong time is [ErrSigV4Skew], anything else
// [ErrSigV4Mismatch].
//
// The hash that is checked is always that of the body which is given: a
// request that declares its payload unsigned, or signed in chunks, is refused.
// The host must be signed, and so must X-Amz-Target, for it says what is done.
// Region and service are the caller's to compare.
func (s SigV4) Verify(r *http.Request, body []byte, secret string, now time.Time) error {
	if secret == "" {
		return ErrNoSecret
	}
	if err := s.timely(now); err != nil {
		return err
	}
	host, target := s.covers()
	if !host {
		return &sigV4Error{ErrSigV4Mismatch, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."}
	}
	if !target && r.Header.Get("X-Amz-Target") != "" {
		return &sigV4Error{ErrSigV4Mismatch, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."}
	}

	id := sigV4KeyID{s.AccessKeyID, s.Date, s.Region, s.Service, sha256.Sum256([]byte(secret))}
	key, cached := sigV4Keys.get(&id)
	if !cached {
		key = deriveSigV4(secret, s.Date, s.Region, s.Service)
	}
	want := s.compute(&key, r, body)
	if subtle.ConstantTimeCompare(want[:], []byte(s.Signature)) != 1 {
		return ErrSigV4Mismatch
	}
	if !cached {
		// Only what was genuine is kept, so a stranger cannot flush the cache.
		id = id.clone()
		sigV4Keys.put(&id, key)
	}
	return nil
}

func (s *SigV4) timely(now time.Time) error {
	now = now.UTC()
	if limit := now.Add(SigV4MaxSkew); s.Time.After(limit) {
		return &sigV4Error{ErrSigV4Skew, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)",
			s.stamp, limit.Format(sigV4Time), now.Format(sigV4Time))}
	}
	if s.expires > 0 {
		if end := s.Time.Add(s.expires); now.After(end) {
			return &sigV4Error{ErrSigV4Skew, fmt.Sprintf("Signature expired: %s is now earlier than %s", end.Format(sigV4Time), now.Format(sigV4Time))}
		}
		return nil
	}
	if limit := now.Add(-SigV4MaxSkew); s.Time.Before(limit) {
		return &sigV4Error{ErrSigV4Skew, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)",
			s.stamp, limit.Format(sigV4Time), now.Format(sigV4Time))}
	}
	return nil
}

// covers tells whether the host and X-Amz-Target are among the signed headers.
func (s *SigV4) covers() (host, target bool) {
	for name := range strings.SplitSeq(s.SignedHeaders, ";") {
		switch name {
		case "host":
			host = true
		case "x-amz-target":
			target = true
		}
	}
	return host, target
}

// SignSigV4 signs r, whose whole body is given, and sets X-Amz-Date and
// Authorization. Signed are the host, Content-Type and every X-Amz- header
// that r has by then, so set them first. Paths are encoded as every service
// but S3 wants them.
func SignSigV4(r *http.Request, body []byte, accessKeyID, secret, region, service string, now time.Time) { //nolint:revive // exported: sign.SigV4 is the type
	stamp := now.UTC().Format(sigV4Time)
	r.Header.Set("X-Amz-Date", stamp)
	names := []string{"host"}
	for name := range r.Header {
		if lower := strings.ToLower(name); lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	s := SigV4{
		AccessKeyID: accessKeyID, Date: stamp[:len("20060102")], Region: region, Service: service,
		SignedHeaders: strings.Join(names, ";"), stamp: stamp,
	}
	key := deriveSigV4(secret, s.Date, region, service)
	signature := s.compute(&key, r, body)
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/%s/%s/%s, SignedHeaders=%s, Signature=%s",
		sigV4Algorithm, accessKeyID, s.Date, region, service, sigV4Terminator, s.SignedHeaders, signature[:]))
}

// sigV4Buffers holds the scratch space of canonical requests. They hold no
// secret: what is signed is what went over the wire.
var sigV4Buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1024)
	return &b
}}

// compute returns the signature that r should have, in hex.
func (s *SigV4) compute(key *[sha256.Size]byte, r *http.Request, body []byte) (signature [2 * sha256.Size]byte) {
	buffer := sigV4Buffers.Get().(*[]byte)
	defer sigV4Buffers.Put(buffer)

	b := s.appendCanonical((*buffer)[:0], r, body)
	sum := sha256.Sum256(b)

	b = append(b[:0], sigV4Algorithm+"\n"...)
	b = append(b, s.stamp...)
	b = append(b, '\n')
	for _, part := range [...]string{s.Date, s.Region, s.Service} {
		b = append(b, part...)
		b = append(b, '/')
	}
	b = append(b, sigV4Terminator+"\n"...)
	b = hex.AppendEncode(b, sum[:])
	*buffer = b

	mac := hmacSHA256(key[:], b)
	hex.Encode(signature[:], mac[:])
	return signature
}

// hmacSHA256 is HMAC-SHA256 for keys of at most a block. It stays on the stack
// where crypto/hmac allocates, except for long messages.
func hmacSHA256(key, message []byte) [sha256.Size]byte {
	var scratch [sha256.BlockSize + 256]byte
	inner := append(scratch[:0], key...)
	inner = inner[:sha256.BlockSize]
	for i := range inner {
		inner[i] ^= 0x36
	}
	sum := sha256.Sum256(append(inner, message...))
	for i := range inner {
		inner[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(inner, sum[:]...))
}

func deriveSigV4(secret, date, region, service string) [sha256.Size]byte {
	first := []byte("AWS4" + secret)
	if len(first) > sha256.BlockSize {
		sum := sha256.Sum256(first)
		first = sum[:]
	}
	key := hmacSHA256(first, []byte(date))
	for _, part := range [...]string{region, service, sigV4Terminator} {
		key = hmacSHA256(key[:], []byte(part))
	}
	return key
}

// sigV4KeyID is everything that a signing key is derived from, and whose it is.
type sigV4KeyID struct {
	accessKeyID, date, region, service string

	secret [sha256.Size]byte
}

// clone copies the strings, which are parts of a request that must not stay in
// memory on their account.
func (id *sigV4KeyID) clone() sigV4KeyID {
	return sigV4KeyID{
		strings.Clone(id.accessKeyID), strings.Clone(id.date), strings.Clone(id.region), strings.Clone(id.service),
		id.secret,
	}
}

// maxSigV4Keys bounds the cache. A key is of one day, so a cache that is full
// holds mostly yesterday's, and is emptied rather than sorted.
const maxSigV4Keys = 1024

var sigV4Keys sigV4Cache

// sigV4Cache saves the five hashings a signing key takes to derive.
type sigV4Cache struct {
	mu   sync.RWMutex
	keys map[sigV4KeyID][sha256.Size]byte
}

func (c *sigV4Cache) get(id *sigV4KeyID) ([sha256.Size]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key, ok := c.keys[*id]
	return key, ok
}

func (c *sigV4Cache) put(id *sigV4KeyID, key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxSigV4Keys {
		c.keys = make(map[sigV4KeyID][sha256.Size]byte)
	}
	c.keys[*id] = key
}
