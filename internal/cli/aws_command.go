package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// awsCommand is one call: it can be carried out, and printed as what a person
// types to the AWS CLI for the same.
type awsCommand struct {
	service   awsService
	operation string
	input     []awsParam // in the order of the command line
}

type awsParam struct {
	name  string
	value any // a string, a number, or what is JSON on the command line
}

func newAWSCommand(service awsService, operation string, input ...awsParam) awsCommand {
	return awsCommand{service, operation, input}
}

// values is the call's input.
func (a awsCommand) values() map[string]any {
	in := make(map[string]any, len(a.input))
	for _, p := range a.input {
		in[p.name] = p.value
	}
	return in
}

// line is the command line, whose endpoint is in $AWS_ENDPOINT_URL. The flag is
// for versions of the AWS CLI before 2.13, which do not look there themselves.
func (a awsCommand) line() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `aws --endpoint-url "$AWS_ENDPOINT_URL" %s %s`, a.service.name, kebab(a.operation))
	if slices.ContainsFunc(a.input, awsParam.fetched) {
		text, err := commandJSON(a.values())
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", a.operation, err)
		}
		fmt.Fprintf(&b, " --cli-input-json %s", shellWord(text))
		return b.String(), nil
	}
	for _, p := range a.input {
		text, ok := p.value.(string)
		if !ok {
			var err error
			if text, err = commandJSON(p.value); err != nil {
				return "", fmt.Errorf("encode %s: %w", p.name, err)
			}
		}
		fmt.Fprintf(&b, " --%s %s", kebab(p.name), shellWord(text))
	}
	return b.String(), nil
}

// fetched tells whether version 1 of the AWS CLI would take the value for the
// address of a file that has the value, and fetch it. It knows the URLs of
// queues.
func (p awsParam) fetched() bool {
	text, _ := p.value.(string)
	return p.name != "QueueUrl" && (strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://"))
}

func commandJSON(v any) (string, error) {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false) // <name> is a placeholder of a template
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSpace(raw.String()), nil
}

// kebab turns a name of AWS's, such as EventBusName, into its form on the
// command line: event-bus-name.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// shellWord quotes text for a POSIX shell where it needs that.
func shellWord(text string) string {
	plain := strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,") == ""
	if text != "" && plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
