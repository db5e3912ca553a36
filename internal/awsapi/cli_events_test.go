package awsapi_test

var busSteps = []step{
	{typed: `events create-event-bus --name orders --tags Key=a,Value=1 --query EventBusArn`, want: `"arn:aws:events:us-west-2:$ACCOUNT:event-bus/orders"`},
	{typed: `events create-event-bus --name orders`, want: `!(ResourceAlreadyExistsException) when calling the CreateEventBus operation: Event bus orders already exists.`},
	{typed: `events put-permission --event-bus-name orders --action events:PutEvents --principal "$CUSTOMER" --statement-id s`},
	{typed: `events describe-event-bus --name orders --query "contains(Policy, 'arn:aws:iam::$CUSTOMER:root')"`, want: `true`},
	{typed: `events remove-permission --event-bus-name orders --statement-id s`},
	{typed: `events list-event-buses --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-event-buses --next-token "$TOKEN" --query '[EventBuses[].[Name, Policy], NextToken]'`, want: `[[["orders",null]],null]`},
	{typed: `events tag-resource --resource-arn "arn:aws:events:us-west-2:$ACCOUNT:event-bus/orders" --tags Key=b,Value=2`},
	{typed: `events untag-resource --resource-arn "arn:aws:events:us-west-2:$ACCOUNT:event-bus/orders" --tag-keys a`},
	{typed: `events list-tags-for-resource --resource-arn "arn:aws:events:us-west-2:$ACCOUNT:event-bus/orders" --query Tags`, want: `[{"Key":"b","Value":"2"}]`},
	{typed: `events delete-event-bus --name orders`},
	{typed: `events describe-event-bus --name orders`, want: `!(ResourceNotFoundException) when calling the DescribeEventBus operation: Event bus orders does not exist.`},

	{typed: `events put-rule --name r1 --event-pattern '{"source":["shop"]}' --query RuleArn`, want: `"arn:aws:events:us-west-2:$ACCOUNT:rule/r1"`},
	{typed: `events put-rule --name r2 --schedule-expression 'rate(1 day)' --state DISABLED --query RuleArn`, want: `"arn:aws:events:us-west-2:$ACCOUNT:rule/r2"`},
	{typed: `events put-rule --name r3 --event-pattern '{"source":"shop"}'`, want: `!(InvalidEventPatternException) when calling the PutRule operation: Event pattern is not valid. Reason: "source" must be an object or an array`},
	{typed: `events put-rule --name r3 --event-pattern '{"source":["else"]}' --query RuleArn`, want: `"arn:aws:events:us-west-2:$ACCOUNT:rule/r3"`},
	{typed: `events list-rules --page-size 1 --query 'Rules[].Name'`, want: `["r1","r2","r3"]`},
	{typed: `events list-rules --max-items 2 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-rules --starting-token "$TOKEN" --query '[Rules[].Name, NextToken]'`, want: `[["r3"],null]`},
	{typed: `events disable-rule --name r1`},
	{typed: `events describe-rule --name r1 --query '[State, EventBusName, EventPattern]'`, want: `["DISABLED","default","{\"source\":[\"shop\"]}"]`},
	{typed: `events enable-rule --name r1`},

	{typed: `sqs create-queue --queue-name q --query QueueUrl`, keep: "QUEUE"},
	{typed: `events put-targets --rule r1 --targets "Id=1,Arn=arn:aws:sqs:us-west-2:$ACCOUNT:q,InputPath=$.detail" "Id=2,Arn=arn:aws:lambda:us-west-2:$ACCOUNT:function:f" --query FailedEntryCount`, want: `0`},
	{typed: `events put-targets --rule r3 --targets '[{"Id": "1", "Arn": "arn:aws:sqs:us-west-2:'$ACCOUNT':q", "InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": "<m>"}}]'`, want: `!(ValidationException) when calling the PutTargets operation: InputTemplate for target 1 contains invalid placeholder m.`},
	{typed: `events put-targets --rule r3 --targets "Id=1,Arn=arn:aws:sqs:us-west-2:$ACCOUNT:q" --query FailedEntryCount`, want: `0`},
	{typed: `events list-targets-by-rule --rule r1 --page-size 1 --query 'Targets[].[Id, InputPath]'`, want: `[["1","$.detail"],["2",null]]`},
	{typed: `events list-targets-by-rule --rule r1 --max-items 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-targets-by-rule --rule r1 --starting-token "$TOKEN" --query 'Targets[].Id'`, want: `["2"]`},
	{typed: `events list-rule-names-by-target --target-arn "arn:aws:sqs:us-west-2:$ACCOUNT:q" --page-size 1 --query RuleNames`, want: `["r1","r3"]`},

	{typed: `events put-events --entries '[{"Source": "shop", "DetailType": "t", "Detail": "{\"n\":1}"}, {"Source": "shop", "DetailType": "t", "Detail": "n"}]' --query '[FailedEntryCount, Entries[].ErrorCode]'`, want: `[1,["MalformedDetail"]]`},
	{typed: `sqs receive-message --queue-url "$QUEUE" --wait-time-seconds 20 --query 'Messages[].Body'`, want: `["{\"n\":1}"]`},
	{typed: `events test-event-pattern --event-pattern '{"source":[{"prefix":"sh"}]}' --event '{"id":"1","account":"1","source":"shop","time":"2026-01-02T03:04:05Z","region":"r","detail-type":"t","detail":{}}' --query Result`, want: `true`},

	{typed: `events remove-targets --rule r1 --ids 1 2 3 --query '[FailedEntryCount, FailedEntries[].TargetId]'`, want: `[1,["3"]]`},
	{typed: `events delete-rule --name r1`},
	{typed: `events describe-rule --name r1`, want: `!(ResourceNotFoundException)`},

	{typed: `events create-endpoint --name e --routing-config 'FailoverConfig={Primary={HealthCheck=arn:aws:route53:::healthcheck/x},Secondary={Route=us-east-1}}' --event-buses "EventBusArn=arn:aws:events:us-west-2:$ACCOUNT:event-bus/default" "EventBusArn=arn:aws:events:us-east-1:$ACCOUNT:event-bus/default"`, want: noEndpoints},
	{typed: `events update-endpoint --name e --description d`, want: noEndpoints},
	{typed: `events describe-endpoint --name e`, want: noEndpoints},
	{typed: `events list-endpoints`, want: noEndpoints},
	{typed: `events delete-endpoint --name e`, want: noEndpoints},
}

const noEndpoints = `!operation: Waybill has no global endpoints: all regions are in one installation. Put events on the event bus itself.`

var partnerSteps = []step{
	{typed: `events create-partner-event-source --name aws.partner/example.com/shop/1 --account "$CUSTOMER" --query EventSourceArn`, want: `"arn:aws:events:us-west-2::event-source/aws.partner/example.com/shop/1"`},
	{typed: `events create-partner-event-source --name aws.partner/example.com/shop/2 --account "$CUSTOMER" --query EventSourceArn`, want: `"arn:aws:events:us-west-2::event-source/aws.partner/example.com/shop/2"`},
	{typed: `events describe-partner-event-source --name aws.partner/example.com/shop/1 --query '[Name, Arn]'`, want: `["aws.partner/example.com/shop/1","arn:aws:events:us-west-2::event-source/aws.partner/example.com/shop/1"]`},
	{typed: `events list-partner-event-sources --name-prefix aws.partner/example.com --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-partner-event-sources --name-prefix aws.partner/example.com --next-token "$TOKEN" --query '[PartnerEventSources[].Name, NextToken]'`, want: `[["aws.partner/example.com/shop/2"],null]`},
	{typed: `events list-partner-event-source-accounts --event-source-name aws.partner/example.com/shop/1 --query 'PartnerEventSourceAccounts[].[Account, State]'`, want: `[["$CUSTOMER","PENDING"]]`},

	{typed: `events list-event-sources --profile customer --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-event-sources --profile customer --next-token "$TOKEN" --query '[EventSources[].[Name, State], NextToken]'`, want: `[[["aws.partner/example.com/shop/2","PENDING"]],null]`},
	{typed: `events create-event-bus --profile customer --name aws.partner/example.com/shop/1 --event-source-name aws.partner/example.com/shop/1 --query EventBusArn`, want: `"arn:aws:events:us-west-2:$CUSTOMER:event-bus/aws.partner/example.com/shop/1"`},
	{typed: `events describe-event-source --profile customer --name aws.partner/example.com/shop/1 --query '[State, CreatedBy]'`, want: `["ACTIVE","aws.partner/example.com"]`},
	{typed: `events put-rule --profile customer --event-bus-name aws.partner/example.com/shop/1 --name r --event-pattern '{"source":[{"prefix":"aws.partner/example.com"}]}' --query RuleArn`, want: `"arn:aws:events:us-west-2:$CUSTOMER:rule/aws.partner/example.com/shop/1/r"`},
	{typed: `sqs create-queue --profile customer --queue-name q --query QueueUrl`, keep: "QUEUE"},
	{typed: `events put-targets --profile customer --event-bus-name aws.partner/example.com/shop/1 --rule r --targets "Id=1,Arn=arn:aws:sqs:us-west-2:$CUSTOMER:q,InputPath=$.source" --query FailedEntryCount`, want: `0`},
	{typed: `events put-partner-events --entries '[{"Source": "aws.partner/example.com/shop/1", "DetailType": "t", "Detail": "{}"}]' --query FailedEntryCount`, want: `0`},
	{typed: `sqs receive-message --profile customer --queue-url "$QUEUE" --wait-time-seconds 20 --query 'Messages[].Body'`, want: `["\"aws.partner/example.com/shop/1\""]`},

	{typed: `events deactivate-event-source --profile customer --name aws.partner/example.com/shop/1`},
	{typed: `events deactivate-event-source --profile customer --name aws.partner/example.com/shop/1`, want: `!(InvalidStateException)`},
	{typed: `events activate-event-source --profile customer --name aws.partner/example.com/shop/1`},
	{typed: `events delete-partner-event-source --name aws.partner/example.com/shop/1 --account "$CUSTOMER"`},
	{typed: `events describe-event-source --profile customer --name aws.partner/example.com/shop/1 --query State`, want: `"DELETED"`},
	{typed: `events describe-partner-event-source --name aws.partner/example.com/shop/1`, want: `!(ResourceNotFoundException)`},
}

var archiveSteps = []step{
	{typed: `events create-archive --archive-name a1 --event-source-arn "arn:aws:events:us-west-2:$ACCOUNT:event-bus/default" --event-pattern '{"source":["shop"]}' --retention-days 10 --query '[ArchiveArn, State]'`, want: `["arn:aws:events:us-west-2:$ACCOUNT:archive/a1","ENABLED"]`},
	{typed: `events create-archive --archive-name a2 --event-source-arn "arn:aws:events:us-west-2:$ACCOUNT:event-bus/default" --query State`, want: `"ENABLED"`},
	{typed: `events list-archives --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-archives --next-token "$TOKEN" --query '[Archives[].ArchiveName, NextToken]'`, want: `[["a2"],null]`},
	{typed: `events delete-archive --archive-name a2`},
	{typed: `events update-archive --archive-name a1 --retention-days 0 --description d --query State`, want: `"ENABLED"`},
	{typed: `events put-events --entries '[{"Source": "shop", "DetailType": "t", "Detail": "{\"n\":1}"}]' --query FailedEntryCount`, want: `0`},
	{typed: `events describe-archive --archive-name a1 --query '[EventCount, RetentionDays, Description, EventPattern]'`, want: `[1,0,"d","{\"source\":[\"shop\"]}"]`, wait: true},

	{typed: `sqs create-queue --queue-name q --query QueueUrl`, keep: "QUEUE"},
	{typed: `events put-rule --name r --event-pattern '{"replay-name":["p1"]}' --query RuleArn`, keep: "RULE"},
	{typed: `events put-targets --rule r --targets "Id=1,Arn=arn:aws:sqs:us-west-2:$ACCOUNT:q,InputPath=$.detail" --query FailedEntryCount`, want: `0`},
	{typed: `events start-replay --replay-name p1 --event-source-arn "arn:aws:events:us-west-2:$ACCOUNT:archive/a1" --event-start-time 2020-01-01T00:00:00Z --event-end-time 2099-01-01T00:00:00Z --destination "Arn=arn:aws:events:us-west-2:$ACCOUNT:event-bus/default,FilterArns=$RULE" --query '[ReplayArn, State]'`, want: `["arn:aws:events:us-west-2:$ACCOUNT:replay/p1","STARTING"]`},
	{typed: `sqs receive-message --queue-url "$QUEUE" --wait-time-seconds 20 --query 'Messages[].Body'`, want: `["{\"n\":1}"]`},
	{typed: `events describe-replay --replay-name p1 --query '[State, Destination.FilterArns]'`, want: `["COMPLETED",["$RULE"]]`, wait: true},
	{typed: `events cancel-replay --replay-name p1`, want: `!(IllegalStatusException) when calling the CancelReplay operation: Replay p1 is not in a valid state for this operation.`},
	{typed: `events start-replay --replay-name p2 --event-source-arn "arn:aws:events:us-west-2:$ACCOUNT:archive/a1" --event-start-time 2020-01-01T00:00:00Z --event-end-time 2020-01-02T00:00:00Z --destination "Arn=arn:aws:events:us-west-2:$ACCOUNT:event-bus/default" --query State`, want: `"STARTING"`},
	{typed: `events list-replays --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-replays --next-token "$TOKEN" --query '[Replays[].ReplayName, NextToken]'`, want: `[["p2"],null]`},
	{typed: `events delete-archive --archive-name a1`},
}

// CLI 1 fetches a parameter that is a URL, unless it stands in a document.
var connectionSteps = []step{
	{typed: `events create-connection --name c1 --authorization-type BASIC --auth-parameters 'BasicAuthParameters={Username=u,Password=s3cret}' --query ConnectionState`, want: `"AUTHORIZED"`},
	{typed: `events create-connection --name c2 --authorization-type API_KEY --auth-parameters 'ApiKeyAuthParameters={ApiKeyName=X-Key,ApiKeyValue=s3cret}' --query ConnectionArn`, keep: "CONNECTION"},
	{typed: `events list-connections --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-connections --next-token "$TOKEN" --query '[Connections[].[Name, AuthorizationType], NextToken]'`, want: `[[["c2","API_KEY"]],null]`},
	{typed: `events update-connection --name c1 --description d --query ConnectionState`, want: `"AUTHORIZED"`},
	{typed: `events describe-connection --name c1 --query '[Description, AuthParameters]'`, want: `["d",{"BasicAuthParameters":{"Username":"u"}}]`},

	{typed: `events create-api-destination --cli-input-json '{"Name": "d1", "ConnectionArn": "'$CONNECTION'", "HttpMethod": "POST", "InvocationEndpoint": "https://example.com/*"}' --query ApiDestinationState`, want: `"ACTIVE"`},
	{typed: `events create-api-destination --cli-input-json '{"Name": "d2", "ConnectionArn": "'$CONNECTION'", "HttpMethod": "PUT", "InvocationEndpoint": "https://example.com/"}' --query ApiDestinationState`, want: `"ACTIVE"`},
	{typed: `events list-api-destinations --limit 1 --query NextToken`, keep: "TOKEN"},
	{typed: `events list-api-destinations --next-token "$TOKEN" --query '[ApiDestinations[].[Name, HttpMethod], NextToken]'`, want: `[[["d2","PUT"]],null]`},
	{typed: `events update-api-destination --name d1 --invocation-rate-limit-per-second 5 --query ApiDestinationState`, want: `"ACTIVE"`},
	{typed: `events describe-api-destination --name d1 --query '[InvocationEndpoint, InvocationRateLimitPerSecond, ConnectionArn]'`, want: `["https://example.com/*",5,"$CONNECTION"]`},
	{typed: `events deauthorize-connection --name c2 --query ConnectionState`, want: `"DEAUTHORIZED"`},
	{typed: `events describe-api-destination --name d1 --query ApiDestinationState`, want: `"INACTIVE"`},
	{typed: `events delete-api-destination --name d1`},
	{typed: `events describe-api-destination --name d1`, want: `!(ResourceNotFoundException)`},
	{typed: `events delete-connection --name c1 --query ConnectionState`, want: `"DELETING"`},
}
