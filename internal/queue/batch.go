package queue

import (
	"regexp"

	"github.com/waybill-dev/waybill/internal/fault"
)

// MaxBatch is how many entries a batch may have.
const MaxBatch = 10

// Failure is an entry of a batch that was not carried out.
type Failure struct {
	ID, Code, Message string
	SenderFault       bool
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkBatch reports what is wrong with a batch as a whole; shape is the name
// of its entries in SQS.
func checkBatch[E any](entries []E, shape string, id func(E) string) error {
	if len(entries) == 0 {
		return invalid(codeEmptyBatch, "There should be at least one %s in the request.", shape)
	}
	if len(entries) > MaxBatch {
		return invalid(codeTooManyEntries, "Maximum number of entries per request are %d. You have sent %d.", MaxBatch, len(entries))
	}
	seen := map[string]bool{}
	for _, e := range entries {
		switch name := id(e); {
		case !entryID.MatchString(name):
			return invalid(codeEntryID, "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		case seen[name]:
			return invalid(codeEntryIDs, "Id %s repeated.", name)
		default:
			seen[name] = true
		}
	}
	return nil
}

// failure makes a Failure of an entry's error. What is not the sender's fault
// has no text to show.
func failure(id string, err error) Failure {
	f := fault.As(err)
	if f == nil || f.Kind == fault.Unavailable {
		return Failure{ID: id, Code: "InternalError", Message: "The entry could not be carried out. Send it again."}
	}
	return Failure{ID: id, Code: f.Code, Message: f.Message, SenderFault: true}
}
