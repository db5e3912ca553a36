package queue

import (
	"crypto/md5" //nolint:gosec // SQS's checksums are MD5, and clients verify them
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
)

// MaxRequest bounds the messages of one request together, in bytes.
const MaxRequest = 1 << 20

// traceHeader is the one attribute that SQS lets senders set for the system.
// Among a message's attributes it has this name, which no other can have.
const (
	traceHeader       = "AWSTraceHeader"
	traceHeaderStored = ":" + traceHeader
)

// messageSize is what counts against MaximumMessageSize: the body and all names,
// types and values of attributes.
func messageSize(body []byte, attrs []event.Attribute) int {
	n := len(body)
	for _, a := range attrs {
		if a.Name != traceHeaderStored {
			n += len(a.Name) + len(a.Type) + len(a.Value)
		}
	}
	return n
}

// bodyMD5 is the checksum of a body.
func bodyMD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// The marks of a value's kind in the checksum of attributes.
const (
	markText   = 1
	markBinary = 2
)

// attributesMD5 is the checksum of attributes as clients compute it: by name,
// each part with its length before it and the value with a mark of its kind. ""
// if there are none.
func attributesMD5(attrs []event.Attribute) string {
	if len(attrs) == 0 {
		return ""
	}
	sorted := slices.SortedFunc(slices.Values(attrs), func(a, b event.Attribute) int { return strings.Compare(a.Name, b.Name) })
	h := md5.New() //nolint:gosec // see the import
	for _, a := range sorted {
		sumPart(h, a.Name)
		sumPart(h, a.Type)
		if isBinary(a.Type) {
			h.Write([]byte{markBinary})
		} else {
			h.Write([]byte{markText})
		}
		sumPart(h, a.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sumPart(h hash.Hash, part string) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(part)))
	h.Write(length[:])
	h.Write([]byte(part))
}

func isBinary(dataType string) bool {
	kind, _, _ := strings.Cut(dataType, ".")
	return kind == "Binary"
}

// goodText tells whether SQS takes a text: XML's characters only.
func goodText(text string) bool {
	for i, r := range text {
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				return false
			}
		case r == '\t', r == '\n', r == '\r', r >= 0x20 && r <= 0xd7ff, r >= 0xe000 && r <= 0xfffd, r >= 0x10000:
		default:
			return false
		}
	}
	return true
}

const (
	badCharacters = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
	maxAttributes = 10
)

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)
	identifier    = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]{1,128}$")
)

// checkAttributes reports the first attribute of a message that SQS would not
// take.
func checkMessageAttributes(attrs []event.Attribute) error {
	if len(attrs) > maxAttributes {
		return invalid(codeParameter, "Number of message attributes [%d] exceeds the allowed maximum [%d].", len(attrs), maxAttributes)
	}
	for _, a := range attrs {
		lower := strings.ToLower(a.Name)
		kind, _, _ := strings.Cut(a.Type, ".")
		switch {
		case !attributeName.MatchString(a.Name), strings.HasPrefix(a.Name, "."), strings.HasSuffix(a.Name, "."), strings.Contains(a.Name, ".."):
			return invalid(codeParameter, "The message attribute name '%s' is invalid. It can contain alphanumeric characters, hyphens, underscores and periods that do not begin, end or follow one another, and is at most 256 long.", a.Name)
		case strings.HasPrefix(lower, "aws."), strings.HasPrefix(lower, "amazon."):
			return invalid(codeParameter, "The message attribute name '%s' is invalid. It must not start with AWS. or Amazon.", a.Name)
		case a.Type == "":
			return invalid(codeParameter, "The message attribute '%s' must contain non-empty message attribute type.", a.Name)
		case len(a.Type) > 256 || kind != "String" && kind != "Number" && kind != "Binary":
			return invalid(codeParameter, "The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", a.Name)
		case a.Value == "":
			return invalid(codeParameter, "Message attribute '%s' must contain a non-empty value of type '%s'.", a.Name, a.Type)
		case kind != "Binary" && !goodText(a.Value):
			return invalid(codeParameter, "Message attribute '%s' has a value that is not valid. %s", a.Name, badCharacters)
		case kind == "Number" && !goodNumber(a.Value):
			return invalid(codeParameter, "Can't cast the value of message (user) attribute '%s' to a number.", a.Name)
		}
	}
	return nil
}

func goodNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && !strings.ContainsAny(text, "xXpP_iInN")
}

// handle is a receipt handle taken apart.
type handle struct {
	queue, id, receipt int64
}

const handleLength = 24

// String is the opaque form, without padding so that it fits anywhere.
func (h handle) String() string {
	var b [handleLength]byte
	binary.BigEndian.PutUint64(b[0:], uint64(h.queue))
	binary.BigEndian.PutUint64(b[8:], uint64(h.id))
	binary.BigEndian.PutUint64(b[16:], uint64(h.receipt))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// parseHandle reads a receipt handle of the queue with this number.
func parseHandle(queue int64, text string) (handle, error) {
	if text == "" {
		return handle{}, missing("ReceiptHandle")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != handleLength {
		return handle{}, invalid(codeReceipt, "The input receipt handle is invalid.")
	}
	h := handle{
		queue:   int64(binary.BigEndian.Uint64(b[0:])),
		id:      int64(binary.BigEndian.Uint64(b[8:])),
		receipt: int64(binary.BigEndian.Uint64(b[16:])),
	}
	if h.queue != queue {
		return handle{}, invalid(codeReceipt, "The input receipt handle %q is not valid for this queue.", text)
	}
	return h, nil
}
