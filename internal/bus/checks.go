package bus

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// checks gathers what AWS's model refuses of a request, and words it as AWS
// does: all at once.
type checks struct{ found []string }

func (v *checks) add(format string, args ...any) {
	v.found = append(v.found, fmt.Sprintf(format, args...))
}

func (v *checks) err() error {
	switch n := len(v.found); n {
	case 0:
		return nil
	case 1:
		return invalid("1 validation error detected: %s", v.found[0])
	default:
		return invalid("%d validation errors detected: %s", n, strings.Join(v.found, "; "))
	}
}

func (v *checks) required(member, text string) {
	if text == "" {
		v.add("Value null at '%s' failed to satisfy constraint: Member must not be null", member)
	}
}

func (v *checks) length(member, text string, low, high int) {
	switch n := utf8.RuneCountInString(text); {
	case n < low:
		v.add("Value '%s' at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", text, member, low)
	case n > high:
		v.add("Value '%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", text, member, high)
	}
}

func (v *checks) optional(member string, text *string, low, high int) {
	if text != nil {
		v.length(member, *text, low, high)
	}
}

// pattern checks a text that is not empty, which length refuses where needed.
func (v *checks) pattern(member, text, written string, is func(string) bool) {
	if text != "" && !is(text) {
		v.add("Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", text, member, written)
	}
}

func (v *checks) enum(member, text string, allowed ...string) {
	if !slices.Contains(allowed, text) {
		v.add("Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]", text, member, strings.Join(allowed, ", "))
	}
}

// checkEnum checks one word alone.
func checkEnum(member, text string, allowed ...string) error {
	var v checks
	v.enum(member, text, allowed...)
	return v.err()
}

func (v *checks) between(member string, n *int, low, high int) {
	switch {
	case n == nil:
	case *n < low:
		v.add("Value '%d' at '%s' failed to satisfy constraint: Member must have value greater than or equal to %d", *n, member, low)
	case *n > high:
		v.add("Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", *n, member, high)
	}
}

// count checks how many elements a list has.
func (v *checks) count(member string, n, low, high int) {
	switch {
	case n < low:
		v.add("Value '[]' at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", member, low)
	case n > high:
		v.add("Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, high)
	}
}

const resourceNamePattern = `[\.\-_A-Za-z0-9]+`

var isResourceName = regexp.MustCompile(`^` + resourceNamePattern + `$`).MatchString

// name checks a name of 1 to 64 characters.
func (v *checks) name(member, text string) { v.nameUpTo(member, text, 64) }

func (v *checks) nameUpTo(member, text string, limit int) {
	v.length(member, text, 1, limit)
	v.pattern(member, text, resourceNamePattern, isResourceName)
}

func (v *checks) arn(member, text string) {
	if _, ok := ParseARN(text); !ok || len(text) > 1600 {
		v.add("Value at '%s' failed to satisfy constraint: Member must be an ARN, like arn:aws:events:us-east-1:123456789012:event-bus/default", member)
	}
}

const sourceNamePattern = `aws\.partner(/[\.\-_A-Za-z0-9]+){2,}`

var isSourceName = regexp.MustCompile(`^` + sourceNamePattern + `$`).MatchString

func (v *checks) sourceName(member, text string) {
	v.length(member, text, 1, 256)
	v.pattern(member, text, sourceNamePattern, isSourceName)
}

// deadLetter checks a dead-letter queue's ARN; "" is none.
func (v *checks) deadLetter(text string) {
	if text == "" {
		return
	}
	if a, ok := ParseARN(text); !ok || a.Service != "sqs" {
		v.add("Value '%s' at 'deadLetterConfig.arn' failed to satisfy constraint: Member must be the ARN of an SQS queue", text)
	} else if strings.HasSuffix(a.Resource, ".fifo") {
		v.add("Value '%s' at 'deadLetterConfig.arn' failed to satisfy constraint: Member must be the ARN of a standard queue, not of a FIFO queue", text)
	}
}

func (v *checks) log(l *LogConfig) {
	if l == nil {
		return
	}
	if l.IncludeDetail != "" {
		v.enum("logConfig.includeDetail", l.IncludeDetail, "NONE", "FULL")
	}
	if l.Level != "" {
		v.enum("logConfig.level", l.Level, "OFF", "ERROR", "INFO", "TRACE")
	}
}

// maxTags is how many tags a resource may have.
const maxTags = 50

func (v *checks) tags(tags map[string]string) {
	if len(tags) > maxTags {
		v.add("Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxTags)
	}
	for k, value := range tags {
		v.length("tags.key", k, 1, 128)
		v.length("tags.value", value, 0, 256)
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			v.add("Value '%s' at 'tags.key' failed to satisfy constraint: Member must not start with aws:", k)
		}
	}
}

var isAccount = regexp.MustCompile(`^\d{12}$`).MatchString

// account checks an AWS account id.
func (v *checks) account(member, text string) {
	v.length(member, text, 12, 12)
	v.pattern(member, text, `\d{12}`, isAccount)
}
