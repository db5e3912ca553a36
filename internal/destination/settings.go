package destination

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sign"
)

// Settings are what Waybill adds to a webhook endpoint, as stored.
type Settings struct {
	Format     event.Format `json:"format,omitzero"`      // "" is event.FormatStripe
	Signatures []string     `json:"signatures,omitempty"` // none is SignStripe alone
	// HeaderNames are those of the owner's own headers, sorted. Their values
	// are sealed.
	HeaderNames []string         `json:"header_names,omitempty"`
	RateLimit   *event.RateLimit `json:"rate_limit,omitempty"`
	Ordering    string           `json:"ordering,omitzero"` // "" is OrderNone
	// PublicKey verifies the signatures of SignEd25519; "" without it.
	PublicKey string `json:"public_key,omitzero"`
}

// What a request can be signed with.
const (
	SignStripe   = "stripe"
	SignStandard = "standard_webhooks"
	SignEd25519  = "standard_webhooks_ed25519"
)

// In which order events are delivered.
const (
	OrderNone   = "none"
	OrderObject = "related_object"
)

// SettingsParams sets settings. What is nil stays as it is.
type SettingsParams struct {
	Format     *string
	Signatures []string
	// Headers is merged name by name; a nil value removes the header.
	Headers map[string]*string
	// RateLimit points to the new limit, or to nil for none.
	RateLimit **event.RateLimit
	Ordering  *string
}

func (p *SettingsParams) given() bool {
	return p.Format != nil || p.Signatures != nil || p.Headers != nil || p.RateLimit != nil || p.Ordering != nil
}

// Limits on settings. Lengths are in bytes.
const (
	maxHeaders     = 20
	maxHeaderName  = 100
	maxHeaderValue = 2000
	maxPerSecond   = 100_000
)

const settingsParam = "waybill."

// set applies p to a webhook endpoint and its vault.
func (d *Destination) set(p *SettingsParams, v *vault) error {
	to := &d.Settings
	if p.Format != nil {
		switch f := event.Format(*p.Format); f {
		case event.FormatStripe, event.FormatStandard, event.FormatCloudEvents, event.FormatCloudEventsBinary:
			to.Format = f
		default:
			return fault.Invalidf(settingsParam+"payload_format", "%s is not a format. Send %s, %s, %s or %s.", show(*p.Format),
				event.FormatStripe, event.FormatStandard, event.FormatCloudEvents, event.FormatCloudEventsBinary)
		}
	}
	if p.Signatures != nil {
		if err := checkSignatures(p.Signatures); err != nil {
			return err
		}
		to.Signatures = slices.Clone(p.Signatures)
	}
	if p.Headers != nil {
		headers, err := mergeHeaders(v.Headers, p.Headers)
		if err != nil {
			return err
		}
		v.Headers, to.HeaderNames = headers, slices.Sorted(maps.Keys(headers))
	}
	if p.RateLimit != nil {
		limit, err := checkRateLimit(*p.RateLimit)
		if err != nil {
			return err
		}
		to.RateLimit = limit
	}
	if p.Ordering != nil {
		if *p.Ordering != OrderNone && *p.Ordering != OrderObject {
			return fault.Invalidf(settingsParam+"ordering", "%s is not an order. Send %s or %s.", show(*p.Ordering), OrderNone, OrderObject)
		}
		to.Ordering = *p.Ordering
	}
	return to.fitSecrets(v)
}

func (to *Settings) signs(with string) bool {
	return slices.Contains(to.Signatures, with) || with == SignStripe && len(to.Signatures) == 0
}

// fitSecrets gives the newest secret what the signatures need of it.
func (to *Settings) fitSecrets(v *vault) error {
	newest := &v.Signing[0]
	if to.signs(SignStandard) && sign.CheckStandard(newest.Secret) != nil {
		return fault.Invalidf(settingsParam+"signatures",
			"The signing secret is of an earlier form, which libraries for Standard Webhooks cannot read. Roll it first.")
	}
	to.PublicKey = ""
	if to.signs(SignEd25519) {
		newest.needKey()
		to.PublicKey = sign.PublicKey(newest.privateKey())
	}
	return nil
}

func checkSignatures(words []string) error {
	const param = settingsParam + "signatures"
	if len(words) == 0 {
		return fault.Invalidf(param, "The list is empty, so nobody could tell your requests from others. Send [%q].", SignStripe)
	}
	for i, word := range words {
		if word != SignStripe && word != SignStandard && word != SignEd25519 {
			return fault.Invalidf(param, "%s is not a signature. Those possible are: %s, %s, %s.", show(word), SignStripe, SignStandard, SignEd25519)
		}
		if slices.Contains(words[:i], word) {
			return fault.Invalidf(param, "%s is in the list twice. Name each signature once.", word)
		}
	}
	return nil
}

// mergeHeaders returns have with changes applied: nil removes a header. The
// case of a name means nothing.
func mergeHeaders(have map[string]string, changes map[string]*string) (map[string]string, error) {
	merged := maps.Clone(have)
	if merged == nil {
		merged = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) { // so that the same request always gets the same error
		param := settingsParam + "headers." + strings.ToValidUTF8(name, "\uFFFD")
		if err := checkHeaderName(param, name); err != nil {
			return nil, err
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		value := changes[name]
		if value == nil {
			delete(merged, canonical)
			continue
		}
		if len(*value) > maxHeaderValue || strings.ContainsFunc(*value, func(c rune) bool { return c < ' ' || c > '~' }) || strings.TrimSpace(*value) != *value {
			return nil, fault.Invalidf(param, "The value must be up to %d printable ASCII characters, without space at its ends.", maxHeaderValue)
		}
		merged[canonical] = *value
	}
	if len(merged) > maxHeaders {
		return nil, fault.Invalidf(settingsParam+"headers", "There would be %d headers; at most %d are possible. Remove one by setting it to null.", len(merged), maxHeaders)
	}
	return merged, nil
}

// reservedHeaders are what Waybill or HTTP itself says in a request.
var reservedHeaders = []string{
	"Accept", "Accept-Encoding", "Cache-Control", "Connection", "Date", "Expect", "Host", "Keep-Alive", "Stripe-Signature",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via",
}

// reservedPrefixes likewise; "Ce-" is of CloudEvents.
var reservedPrefixes = []string{"Ce-", "Content-", "Proxy-", "Webhook-"}

func checkHeaderName(param, name string) error {
	token := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}
	if name == "" || len(name) > maxHeaderName || strings.ContainsFunc(name, func(c rune) bool { return !token(c) }) {
		return fault.Invalidf(settingsParam+"headers", "%s is not the name of a header. Send 1 to %d letters, digits and -.", show(name), maxHeaderName)
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if slices.Contains(reservedHeaders, canonical) ||
		slices.ContainsFunc(reservedPrefixes, func(prefix string) bool { return strings.HasPrefix(canonical, prefix) }) {
		return fault.Invalidf(param, "This header is reserved. Choose another name, such as X-%s.", canonical)
	}
	return nil
}

func checkRateLimit(limit *event.RateLimit) (*event.RateLimit, error) {
	if limit == nil {
		return nil, nil //nolint:nilnil // nil is no limit
	}
	checked := *limit
	if checked.Burst == 0 {
		checked.Burst = checked.PerSecond
	}
	if checked.PerSecond < 1 || checked.PerSecond > maxPerSecond || checked.Burst < 1 || checked.Burst > maxPerSecond {
		return nil, fault.Invalidf(settingsParam+"rate_limit", "Send per_second, and optionally burst, from 1 to %d.", maxPerSecond)
	}
	return &checked, nil
}

// compile writes the settings into a subscription with a webhook target.
func (to *Settings) compile(sub *event.Subscription, v *vault) {
	hook := sub.Target.Webhook
	sub.Format, hook.Format, hook.Name = to.Format, to.Format, sub.Name
	sub.RateLimit, sub.Ordered, sub.Watched = to.RateLimit, to.Ordering == OrderObject, true
	hook.Secrets = v.signing()
	hook.Stripe, hook.Standard, hook.Ed25519 = to.signs(SignStripe), to.signs(SignStandard), to.signs(SignEd25519)
	for _, name := range to.HeaderNames {
		hook.Header = append(hook.Header, event.Header{Name: name, Value: v.Headers[name]})
	}
}
