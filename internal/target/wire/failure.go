package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/target"
)

// fail sets the class and message of a try that brought no complete answer.
// The texts of network errors are never passed on: they name addresses of
// resolvers, of this machine and of its network.
func (o *Origin) fail(ctx context.Context, r *target.Result, err error) {
	if ctx.Err() != nil {
		r.Interrupt()
		return
	}
	if blocked, ok := errors.AsType[*netguard.BlockedError](err); ok {
		r.Class = event.ClassBlocked
		r.Message = o.host + " leads to an address that is " + blocked.Reason + "; Waybill does not deliver to private networks. " +
			"Whoever runs Waybill can allow it with --allow-network (or --dev on their own machine)."
		return
	}
	if errors.Is(err, netguard.ErrBlocked) {
		r.Class = event.ClassBlocked
		r.Message = o.host + " leads to an address that Waybill does not deliver to."
		return
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		r.Class = event.ClassDNS
		switch {
		case dns.IsNotFound:
			r.Message = "The host name of " + o.host + " does not exist in DNS; check the destination's URL."
		case dns.IsTimeout:
			r.Message = "DNS did not answer in time for the host name of " + o.host + "."
		default:
			r.Message = "DNS failed to resolve the host name of " + o.host + "."
		}
		return
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		o.timedOut(r)
		return
	}
	if text, ok := tlsText(err); ok {
		r.Class = event.ClassTLS
		r.Message = "The TLS handshake with " + o.host + " failed: " + text
		return
	}
	if text, ok := connectText(err); ok {
		r.Class = event.ClassConnect
		r.Message = o.host + " " + text
		return
	}
	r.Class = event.ClassProtocol
	r.Message = "The answer of " + o.host + " is not usable: " + protocolText(err)
	if r.Status == 0 && endOfStream(err) {
		r.Message = o.host + " closed the connection without an answer."
	}
}

func (o *Origin) timedOut(r *target.Result) {
	r.Class = event.ClassTimeout
	r.Message = "No answer within " + seconds(o.client.timeout) + "; answer 2xx first and do slow work afterwards."
	if r.Status != 0 {
		r.Message = "The answer " + StatusText(r.Status) + " began but its body did not end within " +
			seconds(o.client.timeout) + "; end the answer before slow work."
	}
}

// tlsText tells whether err is TLS's, and what to say.
func tlsText(err error) (string, bool) {
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if string(plain.RecordHeader[:]) == "HTTP/" {
			return "it answered in plain HTTP; use http:// or another port in the destination's URL.", true
		}
		return "what it answered is not TLS; check the port in the destination's URL.", true
	}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateText(unverified.Err), true
	}
	handshake, inHandshake := errors.AsType[*handshakeError](err)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "remote error", "local error": // how crypto/tls marks an alert
			return Shorten(Clean(op.Err.Error())) + ".", true
		}
		return "the connection broke off.", inHandshake
	}
	if !inHandshake {
		return "", false
	}
	if endOfStream(err) {
		return "it closed the connection.", true
	}
	return Shorten(Clean(handshake.err.Error())) + ".", true
}

func certificateText(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another name."
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is signed by an unknown authority; serve the full chain of a public one, or have your own authority trusted."
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "its certificate has expired or is not valid yet."
	}
	return "its certificate is not accepted: " + Shorten(Clean(err.Error())) + "."
}

// connectText tells whether err is the network's, and what to say.
func connectText(err error) (string, bool) {
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection; is the service running on that port?", true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return "reset the connection.", true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "cannot be reached from here.", true
	case isOp && op.Op == "dial":
		return "cannot be connected to.", true
	case isOp:
		return "broke the connection.", true
	}
	return "", false
}

// endOfStream tells whether the peer closed the connection where more was due.
func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func protocolText(err error) string {
	if endOfStream(err) {
		return "it broke off before its end."
	}
	text := err.Error()
	for _, prefix := range []string{"net/http: ", "HTTP/1.x transport connection broken: ", "http2: ", "http: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return Shorten(Clean(text)) + "."
}
