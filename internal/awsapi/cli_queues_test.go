package awsapi_test

var queueSteps = []step{
	{typed: `sqs create-queue --queue-name dead --query QueueUrl`, keep: "DEAD"},
	{typed: `sqs create-queue --queue-name q --attributes '{"VisibilityTimeout": "0", "RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-west-2:'$ACCOUNT':dead\",\"maxReceiveCount\":100}"}' --tags team=a,tier=1 --query QueueUrl`, keep: "QUEUE"},
	{typed: `sqs create-queue --queue-name q2 --query QueueUrl`, keep: "QUEUE2"},
	{typed: `sqs get-queue-url --queue-name q --query QueueUrl`, want: `"$QUEUE"`},
	{typed: `sqs get-queue-url --queue-name none`, want: `!(AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl operation: The specified queue does not exist.`},
	{typed: `sqs list-queues --queue-name-prefix q --page-size 1 --query QueueUrls`, want: `["$QUEUE","$QUEUE2"]`},
	{typed: `sqs list-queues --page-size 1 --max-items 1 --query NextToken`, keep: "TOKEN"},
	{typed: `sqs list-queues --starting-token "$TOKEN" --query QueueUrls`, want: `["$QUEUE","$QUEUE2"]`},
	{typed: `sqs list-dead-letter-source-queues --queue-url "$DEAD" --page-size 1 --query queueUrls`, want: `["$QUEUE"]`},
	{typed: `sqs set-queue-attributes --queue-url "$QUEUE" --attributes MessageRetentionPeriod=3600`},
	{typed: `sqs get-queue-attributes --queue-url "$QUEUE" --attribute-names QueueArn MessageRetentionPeriod VisibilityTimeout --query 'Attributes.[QueueArn, MessageRetentionPeriod, VisibilityTimeout]'`, want: `["arn:aws:sqs:us-west-2:$ACCOUNT:q","3600","0"]`},
	{typed: `sqs tag-queue --queue-url "$QUEUE" --tags team=b`},
	{typed: `sqs untag-queue --queue-url "$QUEUE" --tag-keys tier`},
	{typed: `sqs list-queue-tags --queue-url "$QUEUE" --query Tags`, want: `{"team":"b"}`},
	{typed: `sqs add-permission --queue-url "$QUEUE" --label l --aws-account-ids "$CUSTOMER" --actions SendMessage`},
	{typed: `sqs remove-permission --queue-url "$QUEUE" --label l`},

	// The CLI compares the sums of what it sent.
	{typed: `sqs send-message --queue-url "$QUEUE" --message-body '<ü&>' --message-attributes 'kind={DataType=String,StringValue=x}' --query MD5OfMessageBody`, want: `"8c25be9279fea30e03ce350036332baf"`},
	{typed: `sqs receive-message --queue-url "$QUEUE" --attribute-names All --message-attribute-names All --query 'Messages[].[Body, Attributes.ApproximateReceiveCount, MessageAttributes.kind.StringValue]'`, want: `[["<ü&>","1","x"]]`},
	{typed: `sqs receive-message --queue-url "$QUEUE" --visibility-timeout 600 --query 'Messages[0].ReceiptHandle'`, keep: "RECEIPT"},
	{typed: `sqs change-message-visibility --queue-url "$QUEUE" --receipt-handle "$RECEIPT" --visibility-timeout 60`},
	{typed: `sqs delete-message --queue-url "$QUEUE" --receipt-handle "$RECEIPT"`},

	{typed: `sqs send-message-batch --queue-url "$QUEUE" --entries '[{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": ""}]' --query '[Successful[].Id, Failed[].[Id, Code, SenderFault]]'`, want: `[["a"],[["b","MissingParameter",true]]]`},
	{typed: `sqs receive-message --queue-url "$QUEUE" --visibility-timeout 600 --query 'Messages[0].ReceiptHandle'`, keep: "RECEIPT"},
	{typed: `sqs change-message-visibility-batch --queue-url "$QUEUE" --entries '[{"Id": "a", "ReceiptHandle": "'$RECEIPT'", "VisibilityTimeout": 60}, {"Id": "b", "ReceiptHandle": "x", "VisibilityTimeout": 60}]' --query '[Successful[].Id, Failed[].Code]'`, want: `[["a"],["ReceiptHandleIsInvalid"]]`},
	{typed: `sqs delete-message-batch --queue-url "$QUEUE" --entries '[{"Id": "a", "ReceiptHandle": "'$RECEIPT'"}]' --query 'Successful[].Id'`, want: `["a"]`},

	{typed: `sqs purge-queue --queue-url "$QUEUE"`},
	{typed: `sqs purge-queue --queue-url "$QUEUE"`, want: `!(AWS.SimpleQueueService.PurgeQueueInProgress) when calling the PurgeQueue operation: Only one PurgeQueue operation on q is allowed every 60 seconds.`},
	{typed: `sqs delete-queue --queue-url "$QUEUE"`},
	{typed: `sqs send-message --queue-url "$QUEUE" --message-body x`, want: `!(AWS.SimpleQueueService.NonExistentQueue)`},
}

var logSteps = []step{
	{typed: `logs create-log-group --log-group-name /aws/events/shop`},
	{typed: `logs create-log-group --log-group-name other`},
	{typed: `logs put-retention-policy --log-group-name other --retention-in-days 7`},
	{typed: `logs describe-log-groups --page-size 1 --query 'logGroups[].[logGroupName, retentionInDays]'`, want: `[["/aws/events/shop",null],["other",7]]`},
	{typed: `logs delete-retention-policy --log-group-name other`},
	{typed: `logs describe-log-groups --max-items 1 --query NextToken`, keep: "TOKEN"},
	{typed: `logs describe-log-groups --starting-token "$TOKEN" --query '[logGroups[].[logGroupName, retentionInDays], NextToken]'`, want: `[[["other",null]],null]`},
	{typed: `logs create-log-stream --log-group-name other --log-stream-name s1`},
	{typed: `logs create-log-stream --log-group-name other --log-stream-name s2`},
	{typed: `logs describe-log-streams --log-group-name other --log-stream-name-prefix s --page-size 1 --query 'logStreams[].logStreamName'`, want: `["s1","s2"]`},
	{typed: `logs put-log-events --log-group-name other --log-stream-name s1 --log-events "timestamp=$(date +%s)000,message=one" "timestamp=$(date +%s)001,message=two" --query rejectedLogEventsInfo`, want: `null`},
	{typed: `logs put-log-events --log-group-name other --log-stream-name s2 --log-events "timestamp=$(date +%s)002,message=three" "timestamp=32503680000000,message=new" --query rejectedLogEventsInfo`, want: `{"tooNewLogEventStartIndex":1}`},
	{typed: `logs get-log-events --log-group-name other --log-stream-name s1 --limit 1 --start-from-head --query nextForwardToken`, keep: "TOKEN"},
	{typed: `logs get-log-events --log-group-name other --log-stream-name s1 --next-token "$TOKEN" --query 'events[].message'`, want: `["two"]`},
	{typed: `logs filter-log-events --log-group-name other --page-size 1 --query 'events[].[logStreamName, message]'`, want: `[["s1","one"],["s1","two"],["s2","three"]]`},
	{typed: `logs filter-log-events --log-group-name other --filter-pattern three --query 'events[].message'`, want: `["three"]`},
	{typed: `logs delete-log-group --log-group-name other`},
	{typed: `logs describe-log-streams --log-group-name other`, want: `!(ResourceNotFoundException)`},
}

// newerSteps have what AWS added after Debian 12 took its CLI.
var newerSteps = []step{
	{typed: `events create-event-bus --name orders --description d --query Description`, want: `"d"`},
	{typed: `events update-event-bus --name orders --description e --query '[Name, Description]'`, want: `["orders","e"]`},

	{typed: `sqs create-queue --queue-name dead --query QueueUrl`, keep: "DEAD"},
	{typed: `sqs create-queue --queue-name q --attributes '{"RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-west-2:'$ACCOUNT':dead\",\"maxReceiveCount\":1}"}' --query QueueUrl`, keep: "QUEUE"},
	{typed: `sqs send-message-batch --queue-url "$DEAD" --entries Id=a,MessageBody=1 Id=b,MessageBody=1 --query 'Successful[].Id'`, want: `["a","b"]`},
	{typed: `sqs start-message-move-task --source-arn "arn:aws:sqs:us-west-2:$ACCOUNT:dead" --destination-arn "arn:aws:sqs:us-west-2:$ACCOUNT:q" --query TaskHandle`, keep: "TASK"},
	{typed: `sqs receive-message --queue-url "$QUEUE" --wait-time-seconds 20 --query 'Messages[].Body'`, want: `["1"]`},
	{typed: `sqs list-message-move-tasks --source-arn "arn:aws:sqs:us-west-2:$ACCOUNT:dead" --query 'Results[].[Status, ApproximateNumberOfMessagesMoved]'`, want: `[["COMPLETED",2]]`, wait: true},
	{typed: `sqs cancel-message-move-task --task-handle "$TASK"`, want: `!(AWS.SimpleQueueService.UnsupportedOperation) when calling the CancelMessageMoveTask operation: Only active tasks can be cancelled.`},
}
