package cli

import (
	"strings"
	"testing"
)

func TestAWSCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command awsCommand
		want    string
	}{
		{newAWSCommand(awsQueues, "ListQueues"), `aws --endpoint-url "$AWS_ENDPOINT_URL" sqs list-queues`},
		{
			newAWSCommand(awsQueues, "ReceiveMessage", awsParam{"QueueUrl", "http://h:1/1/q"}, awsParam{"WaitTimeSeconds", 20}),
			`aws --endpoint-url "$AWS_ENDPOINT_URL" sqs receive-message --queue-url http://h:1/1/q --wait-time-seconds 20`,
		},
		{
			newAWSCommand(awsEvents, "PutTargets", awsParam{"Targets", []map[string]string{{"InputTemplate": `it's "<a>"`}}}),
			`aws --endpoint-url "$AWS_ENDPOINT_URL" events put-targets --targets '[{"InputTemplate":"it'\''s \"<a>\""}]'`,
		},
		{
			newAWSCommand(awsEvents, "CreateApiDestination", awsParam{"Name", "a"}, awsParam{"InvocationEndpoint", "http://h:1/x?a=b&c"}),
			`aws --endpoint-url "$AWS_ENDPOINT_URL" events create-api-destination --cli-input-json '{"InvocationEndpoint":"http://h:1/x?a=b&c","Name":"a"}'`,
		},
		{newAWSCommand(awsEvents, "PutRule", awsParam{"Description", ""}), `aws --endpoint-url "$AWS_ENDPOINT_URL" events put-rule --description ''`},
	} {
		if got, err := c.command.line(); err != nil || got != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
}

func TestAWSErrorNamesTheVariables(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{"UnrecognizedClientException": true, "SignatureDoesNotMatch": true, "ResourceNotFoundException": false} {
		if text := (&awsError{code, "no"}).Error(); strings.Contains(text, "AWS_ACCESS_KEY_ID") != want {
			t.Errorf("%s", text)
		}
	}
}
