package awsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-dev/waybill/internal/config"
)

// refusal is a request and why it is refused; without text, it is carried out.
type refusal struct {
	operation  string
	in         in
	code, text string
}

const (
	codeValidation = "ValidationException"
	codeNotFound   = "ResourceNotFoundException"
	codeExists     = "ResourceAlreadyExistsException"
	codeLogs       = "InvalidParameterException"
	codeValue      = "InvalidParameterValue"
)

// TestRefusals sends what is to be refused, and finds each text that buses and
// queues refuse with in an answer. So whoever adds one has to add a request.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var told []string
	for target, requests := range map[string][]refusal{
		"events AWSEvents.":   slices.Concat(busRefusals(s), worksRefusals(s)),
		"sqs AmazonSQS.":      queueRefusals(s),
		"logs Logs_20140328.": logRefusals(),
	} {
		service, prefix, _ := strings.Cut(target, " ")
		for _, r := range requests {
			code, body := s.call(service, prefix+r.operation, r.in)
			texts := textsOf(t, body)
			if code != r.code || !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, r.text) }) {
				t.Errorf("%s %v\nanswered %.500s\nwant     %s: %s", r.operation, r.in, body, r.code, r.text)
			}
			told = append(told, texts...)
		}
	}
	for _, format := range append(formats(t, "../bus"), formats(t, "../queue")...) {
		if !slices.ContainsFunc(told, formatPattern(format).MatchString) && !slices.ContainsFunc(elsewhere, func(part string) bool { return strings.Contains(format, part) }) {
			t.Errorf("no request here is refused with %q", format)
		}
	}
}

// elsewhere are the texts that no single request brings about. The tests of
// the domains bring about those that are not about chance.
var elsewhere = []string{
	"Too many changes of this",               // by others at the same time
	"it is not JSON that can be archived by", // only if two parsers disagreed
	"Invalid input for target",               // only if transform had a new kind of error
	"create it, or remove the rule's target", // of a delivery
	"has a schedule and no event pattern",    // of ExplainRule
	"the URL must start with https://",       // a developer's server takes http
	"The receipt handle has expired.",        // of a message received again
	"is not in a valid state",                // of what has ended by itself
	"Only active tasks can be cancelled.",
	"There is already a task running.",
	"replays are under way already",
	"A log group takes at most",
}

// textsOf are all texts in JSON.
func textsOf(t *testing.T, body []byte) []string {
	t.Helper()
	texts := []string{""}
	d := json.NewDecoder(strings.NewReader(string(body)))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if text, ok := token.(string); ok {
			texts = append(texts, text)
		}
	}
}

// refusing are the functions that word a refusal.
var refusing = []string{
	"badParameter", "exists", "fault.New", "invalid", "invalidLog", "invalidState", "notFound", "v.add",
}

// formats are the texts that a package's source gives to one of refusing.
func formats(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	var found []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !slices.Contains(refusing, callee(call)) {
				return true
			}
			for _, arg := range call.Args {
				if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING && strings.Contains(literal.Value, " ") {
					text, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					found = append(found, text)
				}
			}
			return true
		})
	}
	return found
}

func callee(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return fn.Name
	case *ast.SelectorExpr:
		if of, ok := fn.X.(*ast.Ident); ok {
			return of.Name + "." + fn.Sel.Name
		}
	}
	return ""
}

var verb = regexp.MustCompile(`%[a-z]`)

// formatPattern matches what a format makes.
func formatPattern(format string) *regexp.Regexp {
	return regexp.MustCompile("(?s)" + verb.ReplaceAllString(regexp.QuoteMeta(format), ".*"))
}

func long(n int) string { return strings.Repeat("x", n) }

func busRefusals(s *server) []refusal {
	queue, fifo := *s.arn("sqs", "q"), *s.arn("sqs", "q.fifo")
	busARN := *s.arn("events", "event-bus/default")
	const pattern = `{"source":["a"]}`
	target := func(more in) in {
		to := in{"Id": "1", "Arn": queue}
		for name, value := range more {
			to[name] = value
		}
		return in{"Rule": "r", "Targets": []in{to}}
	}
	many := func(n int, one in) []in { return slices.Repeat([]in{one}, n) }
	paths := in{}
	for i := range 101 {
		paths["p"+strconv.Itoa(i)] = "$.x"
	}
	tags := func(n int) []in {
		list := make([]in, n)
		for i := range list {
			list[i] = in{"Key": "k" + strconv.Itoa(i), "Value": ""}
		}
		return list
	}
	const source = "aws.partner/example.com/1"
	return []refusal{
		{"CreateEventBus", in{}, codeValidation, "1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"CreateEventBus", in{"Name": long(257), "Description": long(513)}, codeValidation, "2 validation errors detected: "},
		{"CreateEventBus", in{"Name": "a b"}, codeValidation, "Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"CreateEventBus", in{"Name": "a/b"}, codeValidation, "Event bus name must not contain '/'."},
		{"CreateEventBus", in{"Name": source}, codeValidation, "Parameter Name is not valid. Reason: a name that starts with aws.partner/ is for the event bus of a partner event source; give EventSourceName too."},
		{"CreateEventBus", in{"Name": "x", "EventSourceName": source}, codeValidation, "Parameter EventSourceName is not valid. Reason: the event bus of a partner event source has its name; give " + source + " as Name too."},
		{"CreateEventBus", in{"Name": source, "EventSourceName": source}, codeNotFound, "Event source " + source + " does not exist."},
		{"CreateEventBus", in{"Name": "x", "LogConfig": in{"Level": "LOUD"}}, codeValidation, "Value 'LOUD' at 'logConfig.level' failed to satisfy constraint: Member must satisfy enum value set: [OFF, ERROR, INFO, TRACE]"},
		{"CreateEventBus", in{"Name": "x", "DeadLetterConfig": in{"Arn": busARN}}, codeValidation, "Member must be the ARN of an SQS queue"},
		{"CreateEventBus", in{"Name": "x", "DeadLetterConfig": in{"Arn": fifo}}, codeValidation, "Member must be the ARN of a standard queue, not of a FIFO queue"},
		{"CreateEventBus", in{"Name": "x", "Tags": tags(51)}, codeValidation, "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
		{"CreateEventBus", in{"Name": "x", "Tags": []in{{"Key": "aws:x", "Value": ""}}}, codeValidation, "Value 'aws:x' at 'tags.key' failed to satisfy constraint: Member must not start with aws:"},
		{"CreateEventBus", in{"Name": "default"}, codeExists, "Event bus default already exists."},
		{"DescribeEventBus", in{"Name": "none"}, codeNotFound, "Event bus none does not exist."},
		{"UpdateEventBus", in{"Name": "none"}, codeNotFound, "Event bus none does not exist."},
		{"DeleteEventBus", in{"Name": "default"}, codeValidation, "Cannot delete event bus default."},
		{"ListEventBuses", in{"Limit": 0}, codeValidation, "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"ListEventBuses", in{"Limit": 101}, codeValidation, "Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"},
		{"ListEventBuses", in{"NextToken": "x"}, codeValidation, "Parameter NextToken is not valid."},

		{"PutPermission", in{"Policy": "{}", "StatementId": "x"}, codeValidation, "Parameter Policy is not valid. Reason: give either Policy, or StatementId, Action, Principal and Condition."},
		{"PutPermission", in{"Policy": "{}"}, codeValidation, "Parameter Policy is not valid. Reason: it must be a JSON object with a list of statements."},
		{"PutPermission", in{"Policy": `{"Statement":[{"Effect":"Maybe"}]}`}, codeValidation, "Parameter Policy is not valid. Reason: each statement needs an Effect"},
		{"PutPermission", in{"Policy": long(10241)}, "PolicyLengthExceededException", "The event bus policy is too long."},
		{"PutPermission", in{"StatementId": "s", "Action": "events:PutRule", "Principal": "*"}, codeValidation, "Provided value in parameter 'action' is not supported."},
		{"PutPermission", in{"StatementId": "s", "Action": "events:PutEvents", "Principal": "me"}, codeValidation, "at 'principal' failed to satisfy constraint"},
		{"RemovePermission", in{"StatementId": "s"}, codeNotFound, "EventBus does not have a policy."},
		{"PutPermission", in{"StatementId": "s", "Action": "events:PutEvents", "Principal": "*"}, "", ""},
		{"RemovePermission", in{"StatementId": "t"}, codeNotFound, "Statement with the provided id does not exist."},

		{"PutRule", in{"Name": "r"}, codeValidation, "Parameter(s) EventPattern or ScheduleExpression must be specified."},
		{"PutRule", in{"Name": "r", "EventBusName": "none", "EventPattern": pattern}, codeNotFound, "Event bus none does not exist."},
		{"PutRule", in{"Name": "r", "ScheduleExpression": "rate(1 minutes)"}, codeValidation, "Parameter ScheduleExpression is not valid."},
		{"PutRule", in{"Name": "r", "EventPattern": `{"source":[]}`}, "InvalidEventPatternException", "Event pattern is not valid. Reason: Empty arrays are not allowed"},
		{"PutRule", in{"Name": "r", "EventPattern": pattern, "State": "ON"}, codeValidation, "Value 'ON' at 'state' failed to satisfy constraint: Member must satisfy enum value set: "},
		{"CreateEventBus", in{"Name": "b"}, "", ""},
		{"PutRule", in{"Name": "r", "EventBusName": "b", "ScheduleExpression": "rate(1 minute)"}, codeValidation, "ScheduleExpression is supported only on the default event bus."},
		{"PutRule", in{"Name": "r", "EventBusName": "b", "EventPattern": pattern}, "", ""},
		{"DeleteEventBus", in{"Name": "b"}, codeValidation, "Event bus can't be deleted since it has rules."},
		{"DescribeRule", in{"Name": "none"}, codeNotFound, "Rule none does not exist on EventBus default."},
		{"ListTargetsByRule", in{"Rule": "none"}, codeNotFound, "Rule none does not exist on EventBus default."},
		{"ListRuleNamesByTarget", in{}, codeValidation, "at 'targetArn' failed to satisfy constraint"},

		{"PutRule", in{"Name": "r", "EventPattern": pattern}, "", ""},
		{"PutTargets", in{"Rule": "r"}, codeValidation, "Value '[]' at 'targets' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"PutTargets", in{"Rule": "r", "Targets": many(11, in{})}, codeValidation, "Value at 'targets' failed to satisfy constraint: Member must have length less than or equal to 10"},
		{"PutTargets", in{"Rule": "none", "Targets": many(1, in{"Id": "1", "Arn": queue})}, codeNotFound, "Rule none does not exist on EventBus default."},
		{"PutTargets", target(in{"Arn": "x"}), codeValidation, "Parameter x is not valid. Reason: Provided Arn is not in correct format."},
		{"PutTargets", target(in{"Arn": fifo}), codeValidation, "Parameter(s) SqsParameters must be specified for target: 1."},
		{"PutTargets", target(in{"SqsParameters": in{"MessageGroupId": "g"}}), codeValidation, "Parameter(s) SqsParameters is not supported for target: 1."},
		{"PutTargets", target(in{"Arn": fifo, "SqsParameters": in{"MessageGroupId": long(129)}}), codeValidation, "Parameter MessageGroupId is not valid for target 1. Reason: it is longer than 128 characters."},
		{"PutTargets", target(in{"HttpParameters": in{"PathParameterValues": []string{"x"}}}), codeValidation, "Parameter(s) HttpParameters is not supported for target: 1."},
		{"PutTargets", target(in{"Arn": *s.customer.arn("events", "event-bus/b"), "InputPath": "$.detail"}), codeValidation, "Parameter(s) Input, InputPath and InputTransformer are not supported for target: 1. The event bus of another account gets the event as it is."},
		{"PutTargets", target(in{"DeadLetterConfig": in{"Arn": busARN}}), codeValidation, "Parameter " + busARN + " is not valid. Reason: Provided Arn is not in correct format."},
		{"PutTargets", target(in{"DeadLetterConfig": in{"Arn": fifo}}), codeValidation, "Parameter " + fifo + " is not valid. Reason: the dead-letter queue of a target must be a standard queue."},
		{"PutTargets", target(in{"RetryPolicy": in{"MaximumEventAgeInSeconds": 59}}), codeValidation, "Member must have value greater than or equal to 60"},
		{"PutTargets", target(in{"RetryPolicy": in{"MaximumRetryAttempts": 186}}), codeValidation, "Member must have value less than or equal to 185"},
		{"PutTargets", target(in{"Input": "{}", "InputPath": "$.x"}), codeValidation, "Only one of Input, InputPath, or InputTransformer must be provided for target 1."},
		{"PutTargets", target(in{"Input": "{"}), codeValidation, "JSON syntax error in input for target 1."},
		{"PutTargets", target(in{"InputPath": "x"}), codeValidation, "Invalid InputPath for target 1."},
		{"PutTargets", target(in{"InputTransformer": in{"InputPathsMap": in{"p": "$.x"}, "InputTemplate": ""}}), codeValidation, "InputTemplate must be provided for target 1."},
		{"PutTargets", target(in{"InputTransformer": in{"InputPathsMap": in{"p": "x"}, "InputTemplate": "<p>"}}), codeValidation, "Invalid InputPathsMap for target 1 : key p, "},
		{"PutTargets", target(in{"InputTransformer": in{"InputPathsMap": paths, "InputTemplate": "<p0>"}}), codeValidation, "inputTransformer.inputPathsMap' failed to satisfy constraint: Member must have length less than or equal to 100"},
		{"PutTargets", target(in{"InputTransformer": in{"InputTemplate": "<p>"}}), codeValidation, "InputTemplate for target 1 contains invalid placeholder p."},
		{"PutTargets", target(in{"InputTransformer": in{"InputTemplate": `{"a": `}}), codeValidation, "Invalid InputTemplate for target 1 : "},
		{"PutTargets", in{"Rule": "r", "Targets": []in{{"Id": "1", "Arn": queue}, {"Id": "2", "Arn": queue}, {"Id": "3", "Arn": queue}, {"Id": "4", "Arn": queue}, {"Id": "5", "Arn": queue}, {"Id": "6", "Arn": queue}}}, "LimitExceededException", "The requested resource exceeds the maximum number allowed."},
		{"PutTargets", target(nil), "", ""},
		{"DeleteRule", in{"Name": "r"}, codeValidation, "Rule can't be deleted since it has targets."},

		{"PutEvents", in{}, codeValidation, "Value '[]' at 'entries' failed to satisfy constraint"},
		{"PutEvents", in{"Entries": many(11, in{})}, codeValidation, "Value at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10"},
		{"PutEvents", in{"Entries": many(1, in{"Source": "s", "DetailType": "t", "Detail": `{"a":"` + long(1<<20) + `"}`})}, codeValidation, "Total size of the entries in the request is over the limit."},
		{"PutEvents", in{"Entries": many(1, in{})}, "", "InvalidArgument"},
		{"PutEvents", in{"Entries": many(1, in{"Source": "s", "DetailType": "t", "Detail": "x"})}, "", "MalformedDetail"},
		{"PutPartnerEvents", in{"Entries": many(21, in{})}, codeValidation, "less than or equal to 20"},
		{"TestEventPattern", in{"EventPattern": pattern, "Event": "{}"}, codeValidation, "Parameter Event is not valid."},
		{"TestEventPattern", in{}, codeValidation, "failed to satisfy constraint: Member must not be null"},

		{"CreatePartnerEventSource", in{"Name": source, "Account": "000000000000"}, codeValidation, "Parameter Account is not valid. Reason: 000000000000 is not the AWS account id of an account of this Waybill installation."},
		{"CreatePartnerEventSource", in{"Name": "aws.partner/" + config.Default().PartnerName + "/x", "Account": s.account}, codeValidation, "is for the event destinations of this Waybill installation; use another partner name."},
		{"CreatePartnerEventSource", in{"Name": "shop", "Account": s.account}, codeValidation, "Value 'shop' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"CreatePartnerEventSource", in{"Name": source, "Account": s.account}, "", ""},
		{"CreatePartnerEventSource", in{"Name": source, "Account": s.account}, codeExists, "Event source " + source + " already exists."},
		{"ActivateEventSource", in{"Name": source}, "InvalidStateException", "Event source " + source + " is not associated with an event bus. Create one with its name first."},
		{"DeactivateEventSource", in{"Name": source}, "InvalidStateException", "Event source " + source + " is not in ACTIVE state."},
		{"DeletePartnerEventSource", in{"Name": source, "Account": s.account}, "", ""},
		{"CreateEventBus", in{"Name": source, "EventSourceName": source}, "InvalidStateException", "Event source " + source + " is not in PENDING state."},
		{"DescribeEventSource", in{"Name": "aws.partner/example.com/2"}, codeNotFound, "Event source aws.partner/example.com/2 does not exist."},

		{"TagResource", in{"ResourceARN": "x"}, codeValidation, "Parameter x is not valid. Reason: Provided Arn is not in correct format."},
		{"TagResource", in{"ResourceARN": *s.arn("events", "archive/a"), "Tags": tags(1)}, codeValidation, "Reason: only event buses and rules have tags."},
		{"TagResource", in{"ResourceARN": *s.arn("events", "event-bus/none"), "Tags": tags(1)}, codeNotFound, "Event bus none does not exist."},
		{"TagResource", in{"ResourceARN": *s.arn("events", "rule/none"), "Tags": tags(1)}, codeNotFound, "Rule none does not exist on EventBus default."},
		{"ListEndpoints", in{}, "OperationDisabledException", "Waybill has no global endpoints"},
	}
}

func worksRefusals(s *server) []refusal {
	busARN, archiveARN := *s.arn("events", "event-bus/default"), *s.arn("events", "archive/a")
	replay := func(more in) in {
		all := in{"ReplayName": "r", "EventSourceArn": archiveARN, "Destination": in{"Arn": busARN}, "EventStartTime": 1, "EventEndTime": 2}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	connection := func(authType string, auth in) in {
		return in{"Name": "c", "AuthorizationType": authType, "AuthParameters": auth}
	}
	invoke := func(parameters in) in {
		return connection("BASIC", in{"BasicAuthParameters": in{"Username": "u", "Password": "p"}, "InvocationHttpParameters": parameters})
	}
	key := func(name, value string) in {
		return connection("API_KEY", in{"ApiKeyAuthParameters": in{"ApiKeyName": name, "ApiKeyValue": value}})
	}
	authorized := *must[eventbridge.CreateConnectionOutput](s.t)(s.events.CreateConnection(s.t.Context(), &eventbridge.CreateConnectionInput{
		Name: aws.String("authorized"), AuthorizationType: types.ConnectionAuthorizationTypeApiKey,
		AuthParameters: &types.CreateConnectionAuthRequestParameters{ApiKeyAuthParameters: &types.CreateConnectionApiKeyAuthRequestParameters{
			ApiKeyName: aws.String("k"), ApiKeyValue: aws.String("v"),
		}},
	})).ConnectionArn
	destination := func(more in) in {
		all := in{"Name": "d", "ConnectionArn": *s.arn("events", "connection/none/1"), "HttpMethod": "POST", "InvocationEndpoint": "https://example.com/"}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	return []refusal{
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": "x"}, codeValidation, "Value at 'eventSourceArn' failed to satisfy constraint: Member must be an ARN, like arn:aws:events:"},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": archiveARN}, codeValidation, "Parameter EventSourceArn is not valid. Reason: Must contain an event bus ARN."},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": *s.customer.arn("events", "event-bus/b")}, codeNotFound, "Event bus b does not exist."},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": busARN, "RetentionDays": -1}, codeValidation, "Parameter RetentionDays is not valid. Reason: it must be from 0"},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": busARN, "EventPattern": "{}}"}, "InvalidEventPatternException", "Event pattern is not valid. Reason: "},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": busARN}, "", ""},
		{"CreateArchive", in{"ArchiveName": "a", "EventSourceArn": busARN}, codeExists, "Archive a already exists."},
		{"DescribeArchive", in{"ArchiveName": "none"}, codeNotFound, "Archive none does not exist."},
		{"ListArchives", in{"NamePrefix": "a", "State": "ENABLED"}, codeValidation, "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix."},
		{"ListArchives", in{"Limit": 101}, codeValidation, "Value '101' at 'limit' failed to satisfy constraint"},

		{"StartReplay", replay(in{"EventEndTime": 1}), codeValidation, "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."},
		{"StartReplay", replay(in{"EventSourceArn": busARN}), codeValidation, "Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN."},
		{"StartReplay", replay(in{"EventSourceArn": *s.arn("events", "archive/none")}), codeNotFound, "Archive none does not exist."},
		{"StartReplay", replay(in{"EventSourceArn": *s.customer.arn("events", "archive/a")}), codeNotFound, "Archive a does not exist."},
		{"StartReplay", replay(in{"Destination": in{"Arn": archiveARN}}), codeValidation, "Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN."},
		{"StartReplay", replay(in{"Destination": in{"Arn": *s.arn("events", "event-bus/b")}}), codeValidation, "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted."},
		{"StartReplay", replay(in{"Destination": in{"Arn": busARN, "FilterArns": []string{archiveARN}}}), codeValidation, "Parameter Destination.FilterArns is not valid. Reason: Must contain rule ARNs."},
		{"StartReplay", replay(in{"Destination": in{"Arn": busARN, "FilterArns": []string{*s.arn("events", "rule/b/r")}}}), codeValidation, "Parameter Destination.FilterArns is not valid. Reason: rule r is not of event bus default."},
		{"StartReplay", replay(in{"Destination": in{"Arn": busARN, "FilterArns": []string{*s.arn("events", "rule/none")}}}), codeNotFound, "Rule none does not exist on EventBus default."},
		{"StartReplay", replay(nil), "", ""},
		{"StartReplay", replay(nil), codeExists, "Replay r already exists."},
		{"CreateEventBus", in{"Name": "old"}, "", ""},
		{"CreateArchive", in{"ArchiveName": "old", "EventSourceArn": *s.arn("events", "event-bus/old")}, "", ""},
		{"DeleteEventBus", in{"Name": "old"}, "", ""},
		{"CreateEventBus", in{"Name": "old"}, "", ""},
		{"StartReplay", replay(in{"ReplayName": "s", "EventSourceArn": *s.arn("events", "archive/old"), "Destination": in{"Arn": *s.arn("events", "event-bus/old")}}), codeNotFound, "The event bus of archive old was deleted."},
		{"CancelReplay", in{"ReplayName": "none"}, codeNotFound, "Replay none does not exist."},
		{"ListReplays", in{"NamePrefix": "a", "State": "RUNNING"}, codeValidation, "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix."},

		{"CreateConnection", connection("NONE", in{}), codeValidation, "Value 'NONE' at 'authorizationType' failed to satisfy constraint: Member must satisfy enum value set: "},
		{"CreateConnection", connection("BASIC", in{}), codeValidation, "Authorization type BASIC needs BasicAuthParameters with a Username and a Password."},
		{"CreateConnection", connection("BASIC", in{"BasicAuthParameters": in{"Username": "a:b", "Password": "p"}}), codeValidation, "The Username of BasicAuthParameters cannot contain a colon: it would end there."},
		{"CreateConnection", connection("API_KEY", in{}), codeValidation, "Authorization type API_KEY needs ApiKeyAuthParameters with an ApiKeyName and an ApiKeyValue."},
		{"CreateConnection", connection("OAUTH_CLIENT_CREDENTIALS", in{}), codeValidation, "Authorization type OAUTH_CLIENT_CREDENTIALS needs OAuthParameters with an AuthorizationEndpoint"},
		{"CreateConnection", key("a b", "v"), codeValidation, "The header name 'a b' of ApiKeyName cannot be sent: it has characters that HTTP does not allow."},
		{"CreateConnection", key("a", "v\n"), codeValidation, "The value of header 'a' of ApiKeyName cannot be sent: it has control characters."},
		{"CreateConnection", key("host", "v"), codeValidation, "The header 'host' of ApiKeyName cannot be set: it belongs to the connection."},
		{"CreateConnection", invoke(in{"QueryStringParameters": []in{{"Value": "v"}}}), codeValidation, "A parameter of InvocationHttpParameters has no Key."},
		{"CreateConnection", invoke(in{"BodyParameters": slices.Repeat([]in{{"Key": "k"}}, 101)}), codeValidation, "InvocationHttpParameters can hold at most 100 parameters of a kind."},
		{"CreateConnection", invoke(nil), "", ""},
		{"CreateConnection", invoke(nil), codeExists, "Connection c already exists."},
		{"DescribeConnection", in{"Name": "none"}, codeNotFound, "Connection 'none' does not exist."},
		{"ListConnections", in{"Limit": -1}, codeValidation, "Value '-1' at 'limit' failed to satisfy constraint"},

		{"CreateApiDestination", destination(in{"HttpMethod": "TRACE"}), codeValidation, "Value 'TRACE' at 'httpMethod' failed to satisfy constraint: Member must satisfy enum value set: "},
		{"CreateApiDestination", destination(in{"InvocationEndpoint": "https://"}), codeValidation, "Parameter InvocationEndpoint is not valid. Reason: "},
		{"CreateApiDestination", destination(in{"InvocationEndpoint": "ftp://example.com/"}), codeValidation, "Parameter InvocationEndpoint is not valid. Reason: "},
		{"CreateApiDestination", destination(in{"ConnectionArn": busARN}), codeValidation, "Parameter ConnectionArn is not valid. Reason: Must contain a connection ARN."},
		{"CreateApiDestination", destination(nil), codeNotFound, "Connection 'none' does not exist."},
		{"CreateApiDestination", destination(in{"InvocationRateLimitPerSecond": 0}), codeValidation, "Member must have value greater than or equal to 1"},
		{"CreateApiDestination", destination(in{"ConnectionArn": authorized}), "", ""},
		{"CreateApiDestination", destination(in{"ConnectionArn": authorized}), codeExists, "An api-destination 'd' already exists."},
		{"DescribeApiDestination", in{"Name": "none"}, codeNotFound, "An api-destination 'none' does not exist."},
		{"PutTargets", in{"Rule": "r", "Targets": []in{{"Id": "1", "Arn": *s.arn("events", "api-destination/none/1")}}}, "", codeNotFound},
	}
}

func logRefusals() []refusal {
	event := func(at int64, message string) in { return in{"timestamp": at, "message": message} }
	put := func(events ...in) in {
		return in{"logGroupName": "g", "logStreamName": "s", "logEvents": events}
	}
	return []refusal{
		{"CreateLogGroup", in{"logGroupName": "a b"}, codeLogs, "Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"CreateLogGroup", in{"logGroupName": "g"}, "", ""},
		{"CreateLogGroup", in{"logGroupName": "g"}, codeExists, "The specified log group already exists"},
		{"DeleteLogGroup", in{"logGroupName": "none"}, codeNotFound, "The specified log group does not exist."},
		{"PutRetentionPolicy", in{"logGroupName": "g", "retentionInDays": 2}, codeLogs, "Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: "},
		{"CreateLogStream", in{"logGroupName": "g", "logStreamName": "a:b"}, codeLogs, "Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"PutLogEvents", put(event(1, "m")), codeNotFound, "The specified log stream does not exist."},
		{"CreateLogStream", in{"logGroupName": "g", "logStreamName": "s"}, "", ""},
		{"CreateLogStream", in{"logGroupName": "g", "logStreamName": "s"}, codeExists, "The specified log stream already exists"},
		{"PutLogEvents", put(), codeLogs, "Log events must number from 1 to 10000."},
		{"PutLogEvents", put(event(1, "")), codeLogs, "A log event has no message."},
		{"PutLogEvents", put(event(2, "m"), event(1, "m")), codeLogs, "Log events in a single PutLogEvents request must be in chronological order."},
		{"PutLogEvents", put(event(1, long(1<<20))), codeLogs, "Upload too large: it is more than 1048576 bytes"},
		{"FilterLogEvents", in{"logGroupName": "g", "logStreamNames": []string{"s"}, "logStreamNamePrefix": "s"}, codeLogs, "logStreamNames and logStreamNamePrefix cannot both be given."},
		{"FilterLogEvents", in{"logGroupName": "g", "filterPattern": "{ $.a = 1 }"}, codeLogs, "Invalid filter pattern: Waybill searches logs by words"},
		{"FilterLogEvents", in{"logGroupName": "g", "filterPattern": `"a`}, codeLogs, "Invalid filter pattern: a quote is not closed."},
		{"FilterLogEvents", in{"logGroupName": "g", "nextToken": "x"}, codeLogs, "The specified nextToken is invalid."},
		{"GetLogEvents", in{"logGroupName": "g"}, codeLogs, "logStreamName must be given."},
	}
}

func queueRefusals(s *server) []refusal {
	q, fifo, other := s.queue("q", map[string]string{"MaximumMessageSize": "1024"}), s.queue("q.fifo", map[string]string{"FifoQueue": "true"}), s.queue("other", map[string]string{"VisibilityTimeout": "0"})
	closed := s.queue("closed", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
	s.queue("source", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + *s.arn("sqs", "other") + `","maxReceiveCount":1}`})
	must[sqs.SendMessageOutput](s.t)(s.queues.SendMessage(s.t.Context(), &sqs.SendMessageInput{QueueUrl: other, MessageBody: aws.String("m")}))
	receive := func() string {
		return *must[sqs.ReceiveMessageOutput](s.t)(s.queues.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: other})).Messages[0].ReceiptHandle
	}
	former, receipt := receive(), receive()

	set := func(name, value string) in { return in{"QueueUrl": q, "Attributes": in{name: value}} }
	redrive := func(arn *string, count string) in {
		return set("RedrivePolicy", `{"deadLetterTargetArn":"`+*arn+`","maxReceiveCount":`+count+`}`)
	}
	send := func(more in) in {
		all := in{"QueueUrl": q, "MessageBody": "m"}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	attribute := func(name, kind, value string) in {
		return send(in{"MessageAttributes": in{name: in{"DataType": kind, "StringValue": value}}})
	}
	attributes := in{}
	for i := range 11 {
		attributes["a"+strconv.Itoa(i)] = in{"DataType": "String", "StringValue": "v"}
	}
	tags := in{}
	for i := range 51 {
		tags["k"+strconv.Itoa(i)] = ""
	}
	batch := func(entries ...in) in { return in{"QueueUrl": other, "Entries": entries} }
	move := func(source, destination string) in {
		all := in{"SourceArn": *s.arn("sqs", source)}
		if destination != "" {
			all["DestinationArn"] = *s.arn("sqs", destination)
		}
		return all
	}
	return []refusal{
		{"CreateQueue", in{}, "MissingParameter", "The request must contain the parameter QueueName."},
		{"CreateQueue", in{"QueueName": "a b"}, codeValue, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."},
		{"CreateQueue", in{"QueueName": "a", "Attributes": in{"FifoQueue": "true"}}, codeValue, "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."},
		{"CreateQueue", in{"QueueName": "q", "Attributes": in{"DelaySeconds": "1"}}, "QueueNameExists", "A queue already exists with the same name and a different value for attribute"},
		{"CreateQueue", in{"QueueName": "a", "tags": tags}, codeValue, "Too many tags added for queue. Maximum of 50 tags."},
		{"GetQueueUrl", in{"QueueName": "none"}, "QueueDoesNotExist", "The specified queue does not exist."},
		{"ListQueues", in{"MaxResults": 1001}, codeValue, "MaxResults must be an integer between 1 and 1000."},
		{"ListQueues", in{"MaxResults": 1, "NextToken": "?"}, codeValue, "Invalid or expired next token."},
		{"DeleteQueue", in{}, "MissingParameter", "The request must contain the parameter QueueUrl."},
		{"DeleteQueue", in{"QueueUrl": "::"}, "InvalidAddress", "The address :: is not valid for this endpoint."},
		{"DeleteQueue", in{"QueueUrl": "http://localhost/"}, "InvalidAddress", "The address http://localhost/ is not valid for this endpoint."},

		{"SetQueueAttributes", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter Attribute.Name."},
		{"SetQueueAttributes", set("Nonsense", "1"), "InvalidAttributeName", "Unknown Attribute Nonsense."},
		{"SetQueueAttributes", set("DelaySeconds", "901"), "InvalidAttributeValue", "Invalid value for the parameter DelaySeconds."},
		{"SetQueueAttributes", set("FifoQueue", "true"), "InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."},
		{"SetQueueAttributes", in{"QueueUrl": fifo, "Attributes": in{"FifoThroughputLimit": "perMessageGroupId"}}, "InvalidAttributeValue", "Reason: perMessageGroupId is allowed only when DeduplicationScope is messageGroup."},
		{"SetQueueAttributes", set("RedrivePolicy", "x"), codeValue, "Redrive policy is not a valid JSON map."},
		{"SetQueueAttributes", set("RedrivePolicy", "{}"), codeValue, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."},
		{"SetQueueAttributes", set("RedrivePolicy", `{"deadLetterTargetArn":"a"}`), codeValue, "Redrive policy does not contain mandatory attribute: maxReceiveCount."},
		{"SetQueueAttributes", redrive(s.arn("sqs", "other"), "0"), codeValue, "Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive."},
		{"SetQueueAttributes", redrive(s.arn("sqs", "none"), "1"), codeValue, "Dead letter target does not exist."},
		{"SetQueueAttributes", redrive(s.arn("sqs", "q.fifo"), "1"), codeValue, "Dead-letter queue must be same type of queue as the source."},
		{"SetQueueAttributes", redrive(s.arn("sqs", "closed"), "1"), codeValue, "is not allowed to use it as a dead-letter queue by its RedriveAllowPolicy."},
		{"SetQueueAttributes", in{"QueueUrl": closed, "Attributes": in{"RedriveAllowPolicy": "x"}}, codeValue, "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format."},
		{"GetQueueAttributes", in{"QueueUrl": q, "AttributeNames": []string{"Nonsense"}}, "InvalidAttributeName", "Unknown Attribute Nonsense."},
		{"TagQueue", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter Tags."},
		{"TagQueue", in{"QueueUrl": q, "Tags": in{"aws:x": ""}}, codeValue, "Tag keys are 1 to 128 characters long and do not start with aws:."},
		{"TagQueue", in{"QueueUrl": q, "Tags": in{"k": long(257)}}, codeValue, "Tag values are at most 256 characters long."},
		{"UntagQueue", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter TagKeys."},
		{"AddPermission", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter Label."},
		{"AddPermission", in{"QueueUrl": q, "Label": "a b"}, codeValue, "It can only include alphanumeric characters, hyphens, or underscores, 1 to 80 in length."},
		{"AddPermission", in{"QueueUrl": q, "Label": "l"}, "MissingParameter", "The request must contain the parameter AWSAccountIds."},
		{"AddPermission", in{"QueueUrl": q, "Label": "l", "AWSAccountIds": []string{"1"}}, "MissingParameter", "The request must contain the parameter Actions."},
		{"AddPermission", in{"QueueUrl": q, "Label": "l", "AWSAccountIds": []string{"1"}, "Actions": []string{"DeleteQueue"}}, codeValue, "Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action."},
		{"AddPermission", in{"QueueUrl": q, "Label": "l", "AWSAccountIds": []string{"1"}, "Actions": []string{"SendMessage"}}, "", ""},
		{"AddPermission", in{"QueueUrl": q, "Label": "l", "AWSAccountIds": []string{"1"}, "Actions": []string{"SendMessage"}}, codeValue, "Value l for parameter Label is invalid. Reason: Already exists."},
		{"RemovePermission", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter Label."},
		{"RemovePermission", in{"QueueUrl": q, "Label": "m"}, codeValue, "can't find label on existing policy."},

		{"SendMessage", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter MessageBody."},
		{"SendMessage", send(in{"MessageBody": "\x01"}), "InvalidMessageContents", "Invalid characters found."},
		{"SendMessage", send(in{"MessageBody": long(1025)}), codeValue, "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		{"SendMessage", send(in{"DelaySeconds": 901}), codeValue, "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{"SendMessage", send(in{"MessageDeduplicationId": "d"}), codeValue, "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid for this queue type."},
		{"SendMessage", send(in{"QueueUrl": fifo}), "MissingParameter", "The request must contain the parameter MessageGroupId."},
		{"SendMessage", send(in{"QueueUrl": fifo, "MessageGroupId": "a b"}), codeValue, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{"SendMessage", send(in{"QueueUrl": fifo, "MessageGroupId": "g"}), codeValue, "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		{"SendMessage", send(in{"QueueUrl": fifo, "MessageGroupId": "g", "MessageDeduplicationId": "a b"}), codeValue, "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{"SendMessage", send(in{"QueueUrl": fifo, "MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 1}), codeValue, "Value 1 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."},
		{"SendMessage", send(in{"MessageAttributes": attributes}), codeValue, "Number of message attributes [11] exceeds the allowed maximum [10]."},
		{"SendMessage", attribute("a b", "String", "v"), codeValue, "The message attribute name 'a b' is invalid. It can contain alphanumeric characters"},
		{"SendMessage", attribute("AWS.x", "String", "v"), codeValue, "The message attribute name 'AWS.x' is invalid. It must not start with AWS. or Amazon."},
		{"SendMessage", attribute("a", "", "v"), codeValue, "The message attribute 'a' must contain non-empty message attribute type."},
		{"SendMessage", attribute("a", "Bool", "v"), codeValue, "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."},
		{"SendMessage", attribute("a", "String", ""), codeValue, "Message attribute 'a' must contain a non-empty value of type 'String'."},
		{"SendMessage", attribute("a", "String", "\x01"), codeValue, "Message attribute 'a' has a value that is not valid."},
		{"SendMessage", attribute("a", "Number", "x"), codeValue, "Can't cast the value of message (user) attribute 'a' to a number."},
		{"SendMessage", send(in{"MessageSystemAttributes": in{"x": in{"DataType": "String", "StringValue": "v"}}}), codeValue, "Message system attribute name 'x' is invalid: only AWSTraceHeader of type String can be set."},
		{"SendMessageBatch", batch(), "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."},
		{"SendMessageBatch", batch(slices.Repeat([]in{{"Id": "a"}}, 11)...), "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11."},
		{"SendMessageBatch", batch(in{"Id": "a b"}), "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."},
		{"SendMessageBatch", batch(in{"Id": "a"}, in{"Id": "a"}), "BatchEntryIdsNotDistinct", "Id a repeated."},
		{"SendMessageBatch", batch(in{"Id": "a", "MessageBody": long(1 << 19)}, in{"Id": "b", "MessageBody": long(1<<19 + 1)}), "BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."},

		{"ReceiveMessage", in{"QueueUrl": q, "MaxNumberOfMessages": 11}, codeValue, "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{"ReceiveMessage", in{"QueueUrl": q, "VisibilityTimeout": 43201}, codeValue, "Must be >= 0 and <= 43200, if provided."},
		{"ReceiveMessage", in{"QueueUrl": q, "WaitTimeSeconds": 21}, codeValue, "Must be >= 0 and <= 20, if provided."},
		{"ReceiveMessage", in{"QueueUrl": q, "AttributeNames": []string{"Nonsense"}}, "InvalidAttributeName", "Unknown Attribute Nonsense."},
		{"DeleteMessage", in{"QueueUrl": q}, "MissingParameter", "The request must contain the parameter ReceiptHandle."},
		{"DeleteMessage", in{"QueueUrl": q, "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid", "The input receipt handle is invalid."},
		{"DeleteMessage", in{"QueueUrl": q, "ReceiptHandle": receipt}, "ReceiptHandleIsInvalid", "is not valid for this queue."},
		{"ChangeMessageVisibility", in{"QueueUrl": other, "ReceiptHandle": receipt}, "MissingParameter", "The request must contain the parameter VisibilityTimeout."},
		{"ChangeMessageVisibility", in{"QueueUrl": other, "ReceiptHandle": receipt, "VisibilityTimeout": 43201}, codeValue, "VisibilityTimeout must be an integer between 0 and 43200."},
		{"ChangeMessageVisibility", in{"QueueUrl": other, "ReceiptHandle": former, "VisibilityTimeout": 1}, "MessageNotInflight", "Reason: Message does not exist or is not available for visibility timeout change."},
		{"PurgeQueue", in{"QueueUrl": q}, "", ""},
		{"PurgeQueue", in{"QueueUrl": q}, "PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds."},

		{"StartMessageMoveTask", in{}, "MissingParameter", "The request must contain the parameter SourceArn."},
		{"StartMessageMoveTask", in{"SourceArn": "x"}, codeValue, "Value x for parameter SourceArn is invalid. Reason: It is not the ARN of a queue."},
		{"StartMessageMoveTask", move("none", ""), codeNotFound, "The resource that you specified for the SourceArn parameter doesn't exist."},
		{"StartMessageMoveTask", move("q", ""), codeValue, "Source queue must be configured as a Dead Letter Queue."},
		{"StartMessageMoveTask", move("other", "other"), codeValue, "Source and destination queue must be different."},
		{"StartMessageMoveTask", move("other", "q.fifo"), codeValue, "Source and destination queue must be of the same type."},
		{"StartMessageMoveTask", in{"SourceArn": *s.arn("sqs", "other"), "MaxNumberOfMessagesPerSecond": 501}, codeValue, "Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: It must be between 1 and 500."},
		{"ListMessageMoveTasks", in{"SourceArn": *s.arn("sqs", "other"), "MaxResults": 11}, codeValue, "Value 11 for parameter MaxResults is invalid. Reason: It must be between 1 and 10."},
		{"CancelMessageMoveTask", in{}, "MissingParameter", "The request must contain the parameter TaskHandle."},
		{"CancelMessageMoveTask", in{"TaskHandle": base64.StdEncoding.EncodeToString([]byte(`{"taskId":"x","sourceArn":"` + *s.arn("sqs", "other") + `"}`))}, codeNotFound, "Task does not exist."},
		{"CancelMessageMoveTask", in{"TaskHandle": "x"}, codeValue, "Value x for parameter TaskHandle is invalid. Reason: It is not a task handle."},
	}
}
