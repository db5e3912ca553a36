package awsapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

const shopPattern = `{"source":["shop"]}`

func TestEventsArchiveAndReplay(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	ctx := t.Context()
	for _, group := range []string{"live", "again"} {
		must[cloudwatchlogs.CreateLogGroupOutput](t)(f.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}))
	}
	busARN := f.arn("events", "event-bus/default")
	made := must[eventbridge.CreateArchiveOutput](t)(f.events.CreateArchive(ctx, &eventbridge.CreateArchiveInput{
		ArchiveName: aws.String("orders"), EventSourceArn: busARN, EventPattern: aws.String(shopPattern),
		RetentionDays: aws.Int32(10), Description: aws.String("all orders"),
	}))
	if *made.ArchiveArn != *f.arn("events", "archive/orders") || made.State != types.ArchiveStateEnabled || made.CreationTime == nil {
		t.Errorf("%+v", made)
	}
	_, err := f.events.CreateArchive(ctx, &eventbridge.CreateArchiveInput{ArchiveName: aws.String("orders"), EventSourceArn: busARN})
	if taken := (*types.ResourceAlreadyExistsException)(nil); !errors.As(err, &taken) {
		t.Errorf("%v", err)
	}
	f.rule("live", `{"source":["shop"],"replay-name":[{"exists":false}]}`, types.Target{Arn: f.arn("logs", "log-group:"+"live")})
	ruleARN := f.rule("again", `{"detail":{"n":[{"numeric":[">",1]}]}}`, types.Target{Arn: f.arn("logs", "log-group:"+"again")})
	from := time.Now().Add(-time.Minute)
	for n := range 4 {
		f.put(fmt.Sprintf(`{"n":%d}`, n))
	}
	f.until("the deliveries", func() bool { return len(f.messages("live")) == 4 && len(f.messages("again")) == 2 })
	describe := func() *eventbridge.DescribeArchiveOutput {
		return must[eventbridge.DescribeArchiveOutput](t)(f.events.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("orders")}))
	}
	f.until("the archive", func() bool { return describe().EventCount == 4 })
	if d := describe(); *d.RetentionDays != 10 || *d.EventPattern != shopPattern || d.SizeBytes == 0 || *d.Description != "all orders" || *d.EventSourceArn != *busARN {
		t.Errorf("%+v", d)
	}

	started := must[eventbridge.StartReplayOutput](t)(f.events.StartReplay(ctx, &eventbridge.StartReplayInput{
		ReplayName: aws.String("r"), EventSourceArn: made.ArchiveArn, EventStartTime: &from, EventEndTime: aws.Time(time.Now().Add(time.Minute)),
		Destination: &types.ReplayDestination{Arn: busARN, FilterArns: []string{ruleARN}},
	}))
	if started.State != types.ReplayStateStarting || started.ReplayStartTime == nil {
		t.Errorf("%+v", started)
	}
	f.until("the replay", func() bool {
		r := must[eventbridge.DescribeReplayOutput](t)(f.events.DescribeReplay(ctx, &eventbridge.DescribeReplayInput{ReplayName: aws.String("r")}))
		return r.State == types.ReplayStateCompleted && r.ReplayEndTime != nil && r.EventLastReplayedTime != nil && r.Destination.FilterArns[0] == ruleARN
	})
	f.until("the deliveries", func() bool { return len(f.messages("again")) == 4 })
	if got := f.messages("again"); strings.Count(strings.Join(got, "\n"), `"replay-name":"r"`) != 2 || len(f.messages("live")) != 4 {
		t.Errorf("%q", got)
	}
	list := must[eventbridge.ListReplaysOutput](t)(f.events.ListReplays(ctx, &eventbridge.ListReplaysInput{State: types.ReplayStateCompleted}))
	if len(list.Replays) != 1 || *list.Replays[0].ReplayName != "r" {
		t.Errorf("%+v", list.Replays)
	}
	_, err = f.events.CancelReplay(ctx, &eventbridge.CancelReplayInput{ReplayName: aws.String("r")})
	if late := (*types.IllegalStatusException)(nil); !errors.As(err, &late) {
		t.Errorf("%v", err)
	}
	if d := describe(); d.EventCount != 4 {
		t.Errorf("the replay was archived: %d events", d.EventCount)
	}

	must[eventbridge.UpdateArchiveOutput](t)(f.events.UpdateArchive(ctx, &eventbridge.UpdateArchiveInput{ArchiveName: aws.String("orders"), RetentionDays: aws.Int32(0)}))
	archives := must[eventbridge.ListArchivesOutput](t)(f.events.ListArchives(ctx, &eventbridge.ListArchivesInput{NamePrefix: aws.String("o")}))
	if len(archives.Archives) != 1 || *archives.Archives[0].RetentionDays != 0 || archives.Archives[0].EventCount != 4 {
		t.Errorf("%+v", archives.Archives)
	}
	must[eventbridge.DeleteArchiveOutput](t)(f.events.DeleteArchive(ctx, &eventbridge.DeleteArchiveInput{ArchiveName: aws.String("orders")}))
	_, err = f.events.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("orders")})
	if none := (*types.ResourceNotFoundException)(nil); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

// An OAuth connection gets its token, and an event its endpoint.
func TestEventsAPIDestination(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	ctx := t.Context()
	grant := make(chan struct{})
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-grant:
		case <-r.Context().Done():
			return
		}
		if r.FormValue("client_secret") != "s3cret" || r.FormValue("audience") != "shop" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"t0ken","expires_in":60}`)
	}))
	t.Cleanup(tokens.Close)
	type request struct{ uri, authorization, body string }
	requests := make(chan request, 10)
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.RequestURI, r.Header.Get("Authorization"), string(body)}
	}))
	t.Cleanup(shop.Close)

	connection := must[eventbridge.CreateConnectionOutput](t)(f.events.CreateConnection(ctx, &eventbridge.CreateConnectionInput{
		Name: aws.String("shop"), AuthorizationType: types.ConnectionAuthorizationTypeOauthClientCredentials,
		AuthParameters: &types.CreateConnectionAuthRequestParameters{OAuthParameters: &types.CreateConnectionOAuthRequestParameters{
			AuthorizationEndpoint: &tokens.URL, HttpMethod: types.ConnectionOAuthHttpMethodPost,
			ClientParameters: &types.CreateConnectionOAuthClientRequestParameters{ClientID: aws.String("id"), ClientSecret: aws.String("s3cret")},
			OAuthHttpParameters: &types.ConnectionHttpParameters{BodyParameters: []types.ConnectionBodyParameter{
				{Key: aws.String("audience"), Value: aws.String("shop"), IsValueSecret: true},
			}},
		}},
	}))
	if connection.ConnectionState != types.ConnectionStateAuthorizing {
		t.Errorf("%+v", connection)
	}
	made := must[eventbridge.CreateApiDestinationOutput](t)(f.events.CreateApiDestination(ctx, &eventbridge.CreateApiDestinationInput{
		Name: aws.String("shop"), ConnectionArn: connection.ConnectionArn, HttpMethod: types.ApiDestinationHttpMethodPost,
		InvocationEndpoint: aws.String(shop.URL + "/orders/*"),
	}))
	if made.ApiDestinationState != types.ApiDestinationStateInactive {
		t.Errorf("%+v", made)
	}
	close(grant)
	f.until("authorization", func() bool {
		d := must[eventbridge.DescribeApiDestinationOutput](t)(f.events.DescribeApiDestination(ctx, &eventbridge.DescribeApiDestinationInput{Name: aws.String("shop")}))
		return d.ApiDestinationState == types.ApiDestinationStateActive && *d.InvocationRateLimitPerSecond == 300 && *d.ConnectionArn == *connection.ConnectionArn
	})
	described := must[eventbridge.DescribeConnectionOutput](t)(f.events.DescribeConnection(ctx, &eventbridge.DescribeConnectionInput{Name: aws.String("shop")}))
	o := described.AuthParameters.OAuthParameters
	if described.ConnectionState != types.ConnectionStateAuthorized || described.LastAuthorizedTime == nil || described.SecretArn == nil ||
		*o.ClientParameters.ClientID != "id" || o.HttpMethod != types.ConnectionOAuthHttpMethodPost || o.OAuthHttpParameters.BodyParameters[0].Value != nil {
		t.Errorf("%+v, %+v", described, o)
	}

	f.rule("orders", shopPattern, types.Target{Arn: made.ApiDestinationArn, InputPath: aws.String("$.detail"), HttpParameters: &types.HttpParameters{
		PathParameterValues: []string{"$.detail.id"}, QueryStringParameters: map[string]string{"q": "1"},
	}})
	f.put(`{"id":"o-1"}`)
	select {
	case got := <-requests:
		if want := (request{"/orders/o-1?q=1", "Bearer t0ken", `{"id":"o-1"}`}); got != want {
			t.Errorf("got %+v", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no request")
	}

	must[eventbridge.UpdateApiDestinationOutput](t)(f.events.UpdateApiDestination(ctx, &eventbridge.UpdateApiDestinationInput{
		Name: aws.String("shop"), InvocationRateLimitPerSecond: aws.Int32(5), Description: aws.String("d"),
	}))
	list := must[eventbridge.ListApiDestinationsOutput](t)(f.events.ListApiDestinations(ctx, &eventbridge.ListApiDestinationsInput{ConnectionArn: connection.ConnectionArn}))
	if len(list.ApiDestinations) != 1 || *list.ApiDestinations[0].InvocationRateLimitPerSecond != 5 {
		t.Errorf("%+v", list.ApiDestinations)
	}
	updated := must[eventbridge.UpdateConnectionOutput](t)(f.events.UpdateConnection(ctx, &eventbridge.UpdateConnectionInput{
		Name: aws.String("shop"), AuthorizationType: types.ConnectionAuthorizationTypeApiKey,
		AuthParameters: &types.UpdateConnectionAuthRequestParameters{ApiKeyAuthParameters: &types.UpdateConnectionApiKeyAuthRequestParameters{
			ApiKeyName: aws.String("Authorization"), ApiKeyValue: aws.String("Key k"),
		}},
	}))
	if updated.ConnectionState != types.ConnectionStateAuthorized {
		t.Errorf("%+v", updated)
	}
	f.put(`{"id":"o-2"}`)
	if got := <-requests; got.authorization != "Key k" {
		t.Errorf("got %+v", got)
	}
	must[eventbridge.DeauthorizeConnectionOutput](t)(f.events.DeauthorizeConnection(ctx, &eventbridge.DeauthorizeConnectionInput{Name: aws.String("shop")}))
	connections := must[eventbridge.ListConnectionsOutput](t)(f.events.ListConnections(ctx, &eventbridge.ListConnectionsInput{ConnectionState: types.ConnectionStateDeauthorized}))
	if len(connections.Connections) != 1 || connections.Connections[0].AuthorizationType != types.ConnectionAuthorizationTypeApiKey {
		t.Errorf("%+v", connections.Connections)
	}
	must[eventbridge.DeleteConnectionOutput](t)(f.events.DeleteConnection(ctx, &eventbridge.DeleteConnectionInput{Name: aws.String("shop")}))
	must[eventbridge.DeleteApiDestinationOutput](t)(f.events.DeleteApiDestination(ctx, &eventbridge.DeleteApiDestinationInput{Name: aws.String("shop")}))
	_, err := f.events.DescribeApiDestination(ctx, &eventbridge.DescribeApiDestinationInput{Name: aws.String("shop")})
	if none := (*types.ResourceNotFoundException)(nil); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

func TestLogsOfClients(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	ctx := t.Context()
	group, stream := aws.String("/aws/events/shop"), aws.String("s")
	must[cloudwatchlogs.CreateLogGroupOutput](t)(f.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}))
	_, err := f.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
	if taken := (*logtypes.ResourceAlreadyExistsException)(nil); !errors.As(err, &taken) {
		t.Errorf("%v", err)
	}
	must[cloudwatchlogs.PutRetentionPolicyOutput](t)(f.logs.PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(7)}))
	groups := must[cloudwatchlogs.DescribeLogGroupsOutput](t)(f.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/aws")}))
	if len(groups.LogGroups) != 1 || *groups.LogGroups[0].RetentionInDays != 7 || *groups.LogGroups[0].LogGroupArn != *f.arn("logs", "log-group:"+*group) || *groups.LogGroups[0].CreationTime == 0 {
		t.Errorf("%+v", groups.LogGroups)
	}
	must[cloudwatchlogs.DeleteRetentionPolicyOutput](t)(f.logs.DeleteRetentionPolicy(ctx, &cloudwatchlogs.DeleteRetentionPolicyInput{LogGroupName: group}))
	must[cloudwatchlogs.CreateLogStreamOutput](t)(f.logs.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}))
	streams := must[cloudwatchlogs.DescribeLogStreamsOutput](t)(f.logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: group}))
	if len(streams.LogStreams) != 2 || *streams.LogStreams[1].LogStreamName != "s" {
		t.Errorf("%+v", streams.LogStreams)
	}
	at := time.Now().UnixMilli()
	put := must[cloudwatchlogs.PutLogEventsOutput](t)(f.logs.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{
		LogGroupName: group, LogStreamName: stream, LogEvents: []logtypes.InputLogEvent{
			{Timestamp: aws.Int64(at - 1), Message: aws.String("one error")},
			{Timestamp: &at, Message: aws.String("two")},
			{Timestamp: aws.Int64(at + 1e8), Message: aws.String("new")},
		},
	}))
	if put.RejectedLogEventsInfo == nil || *put.RejectedLogEventsInfo.TooNewLogEventStartIndex != 2 {
		t.Errorf("%+v", put.RejectedLogEventsInfo)
	}
	got := must[cloudwatchlogs.GetLogEventsOutput](t)(f.logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream, StartFromHead: aws.Bool(true)}))
	if len(got.Events) != 2 || *got.Events[0].Message != "one error" || *got.Events[1].Timestamp != at || got.NextForwardToken == nil || got.NextBackwardToken == nil {
		t.Errorf("%+v", got)
	}
	found := must[cloudwatchlogs.FilterLogEventsOutput](t)(f.logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupIdentifier: f.arn("logs", "log-group:"+*group), FilterPattern: aws.String("error"), StartTime: aws.Int64(at - 1), EndTime: aws.Int64(at - 1),
	}))
	if len(found.Events) != 1 || *found.Events[0].LogStreamName != "s" || *found.Events[0].EventId == "" {
		t.Errorf("%+v", found.Events)
	}
	must[cloudwatchlogs.DeleteLogGroupOutput](t)(f.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group}))
	_, err = f.logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: group})
	if none := (*logtypes.ResourceNotFoundException)(nil); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

func TestEventsMorePages(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	ctx := t.Context()
	var want, got []string
	for i := range 5 {
		name := fmt.Sprintf("a%d", i)
		want = append(want, name)
		must[eventbridge.CreateArchiveOutput](t)(f.events.CreateArchive(ctx, &eventbridge.CreateArchiveInput{ArchiveName: &name, EventSourceArn: f.arn("events", "event-bus/default")}))
	}
	in := &eventbridge.ListArchivesInput{Limit: aws.Int32(2)}
	for pages := 1; ; pages++ {
		out := must[eventbridge.ListArchivesOutput](t)(f.events.ListArchives(ctx, in))
		for _, a := range out.Archives {
			got = append(got, *a.ArchiveName)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
