package awsapi

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
)

// Forms as AWS CLI 1 and SDKs from before 2023 send them.
func TestQueryToJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ action, form, want string }{
		{"ListQueues", "Action=ListQueues&Version=2012-11-05", `{}`},
		{"ListQueues", "QueueNamePrefix=o&MaxResults=5&NextToken=x", `{"MaxResults":5,"NextToken":"x","QueueNamePrefix":"o"}`},
		{
			"CreateQueue", "QueueName=orders.fifo&Attribute.1.Name=FifoQueue&Attribute.1.Value=true&Attribute.2.Name=VisibilityTimeout&Attribute.2.Value=40&Tag.1.Key=team&Tag.1.Value=a%26b",
			`{"Attributes":{"FifoQueue":"true","VisibilityTimeout":"40"},"QueueName":"orders.fifo","Tags":{"team":"a&b"}}`,
		},
		{"SetQueueAttributes", "Attribute.Name=DelaySeconds&Attribute.Value=5&QueueUrl=u", `{"Attributes":{"DelaySeconds":"5"},"QueueUrl":"u"}`},
		{"GetQueueAttributes", "AttributeName.2=QueueArn&AttributeName.1=All&AttributeName.10=Policy", `{"AttributeNames":["All","QueueArn","Policy"]}`},
		{"GetQueueAttributes", "AttributeName=All", `{"AttributeNames":["All"]}`},
		{
			"SendMessage", "MessageBody=a+b%0A%3C%C3%A9%3E&DelaySeconds=3&MessageAttribute.1.Name=kind&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=x" +
				"&MessageAttribute.2.Name=raw&MessageAttribute.2.Value.DataType=Binary&MessageAttribute.2.Value.BinaryValue=AQI%3D" +
				"&MessageSystemAttribute.1.Name=AWSTraceHeader&MessageSystemAttribute.1.Value.StringValue=Root&MessageSystemAttribute.1.Value.DataType=String",
			`{"DelaySeconds":3,"MessageAttributes":{"kind":{"DataType":"String","StringValue":"x"},"raw":{"BinaryValue":"AQI=","DataType":"Binary"}},"MessageBody":"a b\n<é>",` +
				`"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"Root"}}}`,
		},
		{
			"SendMessageBatch", "SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=1&SendMessageBatchRequestEntry.1.DelaySeconds=2" +
				"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Number&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=7" +
				"&SendMessageBatchRequestEntry.3.Id=b&SendMessageBatchRequestEntry.3.MessageBody=2&SendMessageBatchRequestEntry.3.MessageGroupId=g",
			`{"Entries":[{"DelaySeconds":2,"Id":"a","MessageAttributes":{"n":{"DataType":"Number","StringValue":"7"}},"MessageBody":"1"},{"Id":"b","MessageBody":"2","MessageGroupId":"g"}]}`,
		},
		{"DeleteMessageBatch", "DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry.1.ReceiptHandle=r", `{"Entries":[{"Id":"a","ReceiptHandle":"r"}]}`},
		{"ChangeMessageVisibilityBatch", "ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=0", `{"Entries":[{"VisibilityTimeout":0}]}`},
		{
			"ReceiveMessage", "MaxNumberOfMessages=10&WaitTimeSeconds=20&VisibilityTimeout=30&AttributeName.1=All&MessageAttributeName.1=.*&MessageSystemAttributeName.1=SentTimestamp",
			`{"AttributeNames":["All"],"MaxNumberOfMessages":10,"MessageAttributeNames":[".*"],"MessageSystemAttributeNames":["SentTimestamp"],"VisibilityTimeout":30,"WaitTimeSeconds":20}`,
		},
		{"UntagQueue", "TagKey.1=a&TagKey.2=b", `{"TagKeys":["a","b"]}`},
		{"AddPermission", "Label=l&AWSAccountId.1=123456789012&ActionName.1=SendMessage", `{"AWSAccountIds":["123456789012"],"Actions":["SendMessage"],"Label":"l"}`},
		{"StartMessageMoveTask", "SourceArn=a&MaxNumberOfMessagesPerSecond=5", `{"MaxNumberOfMessagesPerSecond":5,"SourceArn":"a"}`},
		{"PurgeQueue", "AWSAccessKeyId=x&Signature=y&SignatureVersion=2&Timestamp=z&X-Amz-Date=d", `{}`},
	} {
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		got, err := queryToJSON(tt.action, form)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", tt.form, got, err, tt.want)
		}
	}
}

func TestQueriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for form, code := range map[string]string{
		"DelaySeconds=soon":                   "InvalidParameterValue",
		"DelaySeconds=":                       "InvalidParameterValue",
		"DelaySeconds=9999999999":             "InvalidParameterValue",
		"Attribute.1.Name=a":                  "MissingParameter",
		"Attribute.1.Value=a":                 "MissingParameter",
		"Attribute.1=a":                       "MissingParameter",
		"Attribute.x.Name=a":                  codeSerialization,
		"Attribute.0.Name=a":                  codeSerialization,
		"Attribute.01.Name=a":                 codeSerialization,
		"AttributeName.x=a":                   codeSerialization,
		"AttributeName.1.2=a":                 codeSerialization,
		"MessageBody.1=a":                     codeSerialization,
		"DeleteMessageBatchRequestEntry.1=a":  codeSerialization, // of another action
		"a.b.c.d.e.f.g.h.i=1":                 codeSerialization,
		"SendMessageBatchRequestEntry.-1.Id=": codeSerialization,
		"Attribute.1.Name=a&Attribute.1.Value=1&Attribute.2.Name=a&Attribute.2.Value=2": "InvalidParameterValue",
	} {
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		if form == "DeleteMessageBatchRequestEntry.1=a" {
			_, err = queryToJSON("ListQueues", values)
		} else {
			_, err = queryToJSON("SendMessageBatch", values)
		}
		if err == nil {
			t.Errorf("%s was read", form)
			continue
		}
		mustCode(t, err, code)
	}
	many := url.Values{}
	for i := range maxParams + 1 {
		many.Set("AttributeName."+string(rune('a'+i%26))+strings.Repeat("x", i/26), "")
	}
	_, err := queryToJSON("ListQueues", many)
	mustCode(t, err, codeSerialization)
}

// raw is an operation that answers with JSON as it is.
func raw(text string) operation {
	return func(context.Context, account.AWSCaller, []byte) (any, error) { return json.RawMessage(text), nil }
}

func newQuery(t *testing.T, operations map[string]operation) *protocolFixture {
	return newProtocol(t, map[string]*service{sqsTarget: {
		signing: "sqs", json: json10, namespace: "com.amazonaws.sqs#", operations: operations,
		queryCodes: map[string]string{"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue", "InvalidMessageContents": "InvalidMessageContents"},
	}})
}

func TestQueryAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct{ action, out, want string }{
		{"CreateQueue", `{"QueueUrl":"http://localhost:4242/123456789012/a"}`, `<CreateQueueResult><QueueUrl>http://localhost:4242/123456789012/a</QueueUrl></CreateQueueResult>`},
		{"ListQueues", `{"QueueUrls":["a","b"],"NextToken":"n"}`, `<ListQueuesResult><QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl><NextToken>n</NextToken></ListQueuesResult>`},
		{"ListQueues", `{}`, `<ListQueuesResult></ListQueuesResult>`},
		{"ListDeadLetterSourceQueues", `{"queueUrls":["a"]}`, `<ListDeadLetterSourceQueuesResult><QueueUrl>a</QueueUrl></ListDeadLetterSourceQueuesResult>`},
		{
			"GetQueueAttributes", `{"Attributes":{"QueueArn":"arn:a","Policy":"{\"a\":1}"}}`,
			`<GetQueueAttributesResult><Attribute><Name>QueueArn</Name><Value>arn:a</Value></Attribute><Attribute><Name>Policy</Name><Value>{&#34;a&#34;:1}</Value></Attribute></GetQueueAttributesResult>`,
		},
		{"ListQueueTags", `{"Tags":{"team":"a&b"}}`, `<ListQueueTagsResult><Tag><Key>team</Key><Value>a&amp;b</Value></Tag></ListQueueTagsResult>`},
		{"SendMessage", `{"MessageId":"m","MD5OfMessageBody":"5d","SequenceNumber":null}`, `<SendMessageResult><MessageId>m</MessageId><MD5OfMessageBody>5d</MD5OfMessageBody></SendMessageResult>`},
		{
			"ReceiveMessage", `{"Messages":[{"MessageId":"m","Body":"<a>\r\n&","Attributes":{"SentTimestamp":"1"},"MessageAttributes":{"k":{"DataType":"Binary","BinaryValue":"AQI="}}},{"MessageId":"n","Body":""}]}`,
			`<ReceiveMessageResult><Message><MessageId>m</MessageId><Body>&lt;a&gt;&#xD;&#xA;&amp;</Body><Attribute><Name>SentTimestamp</Name><Value>1</Value></Attribute>` +
				`<MessageAttribute><Name>k</Name><Value><DataType>Binary</DataType><BinaryValue>AQI=</BinaryValue></Value></MessageAttribute></Message>` +
				`<Message><MessageId>n</MessageId><Body></Body></Message></ReceiveMessageResult>`,
		},
		{
			"SendMessageBatch", `{"Successful":[{"Id":"a","MessageId":"m"}],"Failed":[{"Id":"b","SenderFault":true,"Code":"QueueDoesNotExist","Message":"no"}]}`,
			`<SendMessageBatchResult><SendMessageBatchResultEntry><Id>a</Id><MessageId>m</MessageId></SendMessageBatchResultEntry>` +
				`<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>no</Message></BatchResultErrorEntry></SendMessageBatchResult>`,
		},
		{
			"ListMessageMoveTasks", `{"Results":[{"Status":"RUNNING","StartedTimestamp":1772366400000}]}`,
			`<ListMessageMoveTasksResult><ListMessageMoveTasksResultEntry><Status>RUNNING</Status><StartedTimestamp>1772366400000</StartedTimestamp></ListMessageMoveTasksResultEntry></ListMessageMoveTasksResult>`,
		},
	}
	for _, tt := range tests {
		f := newQuery(t, map[string]operation{tt.action: raw(tt.out)})
		got := f.form("/", "Action="+tt.action+"&Version=2012-11-05")
		want := `<?xml version="1.0"?><` + tt.action + `Response xmlns="http://queue.amazonaws.com/doc/2012-11-05/">` + tt.want +
			`<ResponseMetadata><RequestId>` + got.header.Get("x-amzn-RequestId") + `</RequestId></ResponseMetadata></` + tt.action + `Response>`
		if got.status != http.StatusOK || got.header.Get("Content-Type") != "text/xml" || got.body != want {
			t.Errorf("%s: %d\ngot  %s\nwant %s", tt.action, got.status, got.body, want)
		}
	}
}

func TestQueryRequests(t *testing.T) {
	t.Parallel()
	in := ""
	f := newQuery(t, map[string]operation{
		"DeleteQueue": echo(&in),
		"PurgeQueue":  failing(fault.New(fault.NotFound, "QueueDoesNotExist", "The specified queue <x> does not exist.")),
		"TagQueue":    failing(fault.Unavailablef(nil, "Later.")),
		"ListQueues":  failing(errors.New("hunter2")),
	})
	got := f.form("/", "Action=DeleteQueue&QueueUrl=http%3A%2F%2Fh%2F123456789012%2Fa")
	if got.status != http.StatusOK || in != `{"QueueUrl":"http://h/123456789012/a"}` || strings.Contains(got.body, "Result>") ||
		!strings.HasPrefix(got.body, `<?xml version="1.0"?><DeleteQueueResponse xmlns="`+queryNamespace+`"><ResponseMetadata>`) {
		t.Errorf("%+v: %s", got, in)
	}
	// Older clients send to the queue's own URL, and name it no other way.
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		in = ""
		if method == http.MethodPost {
			got = f.form("/123456789012/orders", "Action=DeleteQueue")
		} else {
			got = f.send(signed(f.request(method, "/123456789012/orders?Action=DeleteQueue&Version=2012-11-05", "", ""), "sqs", ""))
		}
		if got.status != http.StatusOK || in != `{"QueueUrl":"http://localhost:4242/123456789012/orders"}` {
			t.Errorf("%s: %+v: %s", method, got, in)
		}
	}

	for _, tt := range []struct {
		form   string
		status int
		want   string
	}{
		{"Action=PurgeQueue", 400, `<Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue &lt;x&gt; does not exist.</Message><Detail/></Error>`},
		{"Action=TagQueue", 503, `<Error><Type>Receiver</Type><Code>ServiceUnavailable</Code><Message>Later.</Message>`},
		{"Action=ListQueues", 500, `<Error><Type>Receiver</Type><Code>InternalFailure</Code>`},
		{"Action=Fly", 400, `<Code>InvalidAction</Code>`},
		{"a=b", 400, `<Code>MissingAction</Code>`},
		{"Action=DeleteQueue&%zz", 400, `<Code>MalformedQueryString</Code>`},
		{"Action=DeleteQueue&a.b=c", 400, `<Code>MalformedInput</Code>`},
	} {
		got := f.form("/", tt.form)
		if got.status != tt.status || !strings.HasPrefix(got.body, `<?xml version="1.0"?><ErrorResponse xmlns="`+queryNamespace+`">`) ||
			!strings.Contains(got.body, tt.want) || !strings.HasSuffix(got.body, `<RequestId>`+got.header.Get("x-amzn-RequestId")+`</RequestId></ErrorResponse>`) {
			t.Errorf("%s: %+v", tt.form, got)
		}
		if strings.Contains(got.body, "hunter2") {
			t.Errorf("%s: our own error is told", tt.form)
		}
	}
	if got := f.send(f.request(http.MethodPut, "/", formType, "Action=DeleteQueue")); got.status != http.StatusNotFound {
		t.Errorf("PUT: %+v", got)
	}
}

// Whatever the form holds, it becomes an object or a fault.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"Action=SendMessage&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=b", "SendMessageBatchRequestEntry.1.Tag.Key=a",
		"Attribute=1&Attribute.Name=x&Attribute.Value.y=z", "AttributeName=&AttributeName.1=", "....=.", "=&%00=1", "DelaySeconds=-1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		form, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		raw, err := queryToJSON("SendMessage", form)
		if err != nil {
			if fault.As(err) == nil {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var object map[string]any
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatalf("%q: %s: %v", text, raw, err)
		}
	})
}

// Texts of any kind come through XML whole, but for what XML cannot say.
func FuzzAnswerText(f *testing.F) {
	for _, seed := range []string{"", "a", "<&>\"'", "\r\n\t", "é\U0001f600", "]]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		body, err := encode(map[string]any{"Messages": []any{map[string]any{"Body": text, "Attributes": map[string]string{text: text}}}})
		if err != nil {
			t.Fatal(err)
		}
		x := xmlWriter{codes: strings.Clone}
		d := json.NewDecoder(strings.NewReader(string(body)))
		x.open("R", "")
		if err := x.object(d, "ReceiveMessage", ""); err != nil {
			t.Fatal(err)
		}
		x.shut("R")
		var got struct {
			Message struct {
				Body      string
				Attribute struct{ Name, Value string }
			}
		}
		if err := xml.Unmarshal(x.Bytes(), &got); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v", x.Bytes(), err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return '\ufffd'
			}
			return r
		}, text)
		if got.Message.Body != want || got.Message.Attribute.Value != want || got.Message.Attribute.Name != want {
			t.Fatalf("%q became %q", text, got.Message)
		}
	})
}
