package template

import (
	"encoding/json"
	"strings"
	"testing"
)

var in = Options{Stack: "shop", Account: "123456789012", Region: "us-east-1"}

const shop = `
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Threshold: {Type: Number, Default: 100}
  Env: {Type: String}
Resources:
  Big:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern:
        detail-type: [order.paid]
        detail: {amount: [{numeric: [">", !Ref Threshold]}]}
      Targets:
        - Id: q
          Arn: !GetAtt Orders.Arn
          DeadLetterConfig: {Arn: !GetAtt Dead.Arn}
        - {Id: f, Arn: !GetAtt Worker.Arn}
  Bus: {Type: "AWS::Events::EventBus", Properties: {Name: !Sub "orders-${Env}"}}
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  Dead: {Type: "AWS::SQS::Queue"}
  Fifo: {Type: "AWS::SQS::Queue", Properties: {FifoQueue: true, Tags: !Ref AWS::NoValue}}
  Worker: {Type: "AWS::Lambda::Function"}
`

func TestResolve(t *testing.T) {
	t.Parallel()
	o := in
	o.Parameters = map[string]string{"Env": "test"}
	o.Map = map[string]string{"Worker": "arn:aws:sqs:us-east-1:123456789012:worker"}
	got, err := Resolve([]byte(shop), o)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	byID := map[string]Resource{}
	for _, r := range got.Resources {
		order = append(order, r.LogicalID)
		byID[r.LogicalID] = r
	}
	if want := "Dead Orders Fifo Bus Big"; strings.Join(order, " ") != want {
		t.Errorf("order %v, want %s", order, want)
	}
	if len(got.Unknown) != 0 {
		t.Errorf("unknown: %v", got.Unknown)
	}
	rule, err := json.Marshal(byID["Big"].Properties)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"EventBusName":"orders-test","EventPattern":{"detail":{"amount":[{"numeric":["\u003e","100"]}]},"detail-type":["order.paid"]},"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:shop-Orders","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:123456789012:shop-Dead"},"Id":"q"},{"Arn":"arn:aws:sqs:us-east-1:123456789012:worker","Id":"f"}]}`
	if string(rule) != want {
		t.Errorf("rule\n%s\nwant\n%s", rule, want)
	}
	if got := byID["Big"].ARN; got != "arn:aws:events:us-east-1:123456789012:rule/orders-test/shop-Big" {
		t.Errorf("ARN %s", got)
	}
	if byID["Fifo"].Name != "shop-Fifo.fifo" || byID["Fifo"].Properties["Tags"] != nil {
		t.Errorf("Fifo: %+v", byID["Fifo"])
	}
}

func TestJSONTemplatesAndIntrinsics(t *testing.T) {
	t.Parallel()
	got, err := Resolve([]byte(`{"Mappings":{"M":{"a":{"b":"x"}}},"Resources":{"L":{"Type":"AWS::Logs::LogGroup","Properties":{
		"LogGroupName":{"Fn::Join":["/",["",{"Fn::Select":[1,{"Fn::Split":["-","p-q"]}]},{"Fn::FindInMap":["M","a","b"]},{"Fn::Sub":["${y}${!z}",{"y":{"Ref":"AWS::AccountId"}}]}]]}}}}}`), in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/q/x/123456789012${z}"; got.Resources[0].Name != want {
		t.Errorf("name %q, want %q", got.Resources[0].Name, want)
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"", "mapping with a key Resources"},
		{"a: [", "neither YAML nor JSON"},
		{"Resources: {}", "there are none"},
		{"Resources: {A: {}}", "has no Type"},
		{"Parameters: {P: {Type: String}}\nResources: {Q: {Type: 'AWS::SQS::Queue'}}", "--parameter P=VALUE"},
		{"Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Targets: [{Arn: !GetAtt F.Arn}]}}, F: {Type: 'AWS::Lambda::Function'}}", "--map F=ARN"},
		{"Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Name: !Ref Nobody}}}", "no parameter or resource Nobody"},
		{"Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Name: !Ref R}}}", "depends on itself"},
		{"Resources: {R: {Type: 'AWS::Events::Rule', Properties: {EventBusName: !GetAtt R.Arn}}}", "depends on itself"},
		{"Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Name: !Cidr x}}}", "Fn::Cidr is not supported"},
		{"Resources: {R: {Type: 'AWS::SQS::Queue', Condition: Prod}}", "conditions are not supported"},
		{"Resources:\n  R: {Type: 'AWS::Events::Rule', Properties: {Name: !GetAtt R}}", "line 2"},
	} {
		if _, err := Resolve([]byte(tc.text), in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n%v, want %q", tc.text, err, tc.want)
		}
	}
	o := in
	o.Parameters = map[string]string{"Typo": "x"}
	if _, err := Resolve([]byte("Resources: {Q: {Type: 'AWS::SQS::Queue'}}"), o); err == nil || !strings.Contains(err.Error(), "Parameters.Typo") {
		t.Errorf("a parameter that is not there: %v", err)
	}
}

func TestUnknownTypesAreListed(t *testing.T) {
	t.Parallel()
	got, err := Resolve([]byte("Resources: {F: {Type: 'AWS::Lambda::Function'}, Q: {Type: 'AWS::SQS::Queue'}}"), in)
	if err != nil || len(got.Unknown) != 1 || got.Unknown[0] != "F (AWS::Lambda::Function)" {
		t.Errorf("unknown: %v, %v", got, err)
	}
}

const worker = `
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Timeout: 3, Runtime: nodejs22.x}}
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: index.handler
      Events:
        Paid:
          Type: EventBridgeRule
          Properties:
            RuleName: paid
            EventBusName: !Ref Bus
            Pattern: {detail-type: [order.paid]}
            Target: {Id: mine}
            InputPath: $.detail
            RetryPolicy: {MaximumRetryAttempts: 3}
            DeadLetterConfig: {Type: SQS}
            State: DISABLED
        Old:
          Type: CloudWatchEvent
          Properties: {Pattern: {source: [shop]}, DeadLetterConfig: {Arn: !GetAtt Dead.Arn}}
        Nightly:
          Type: Schedule
          Properties: {Schedule: rate(1 day), Name: nightly, Description: Clean up, Enabled: !Ref On, Input: '{"a":1}'}
        Named:
          Type: Schedule
          Properties: {Schedule: rate(1 hour), DeadLetterConfig: {Type: SQS, QueueLogicalId: Letters}}
        Http: {Type: Api, Properties: {Path: /, Method: get}}
  Flow:
    Type: AWS::Serverless::StateMachine
    Properties:
      Events: {Go: {Type: EventBridgeRule, Properties: {Pattern: {source: [shop]}}}}
  Other:
    Type: AWS::Serverless::Function
    Properties:
      Events: {Go: {Type: EventBridgeRule, Properties: {Pattern: {source: [!Ref Nobody]}}}}
  Bus: {Type: "AWS::Events::EventBus", Properties: {Name: orders}}
  Dead: {Type: "AWS::SQS::Queue"}
Parameters:
  On: {Type: String, Default: false}
`

func TestEventsOfMappedFunctionsBecomeRules(t *testing.T) {
	t.Parallel()
	o := in
	o.Map = map[string]string{"Worker": "arn:aws:sqs:us-east-1:123456789012:worker", "Flow": "arn:aws:sqs:us-east-1:123456789012:flow"}
	got, err := Resolve([]byte(worker), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Worker.Events.Http (Api), Other (AWS::Serverless::Function)"; strings.Join(got.Unknown, ", ") != want {
		t.Errorf("unknown %v, want %s", got.Unknown, want)
	}
	want := map[string]string{
		"Bus": `orders {"Name":"orders"}`, "Dead": "shop-Dead {}", "WorkerPaidQueue": "shop-WorkerPaidQueue {}", "Letters": "shop-Letters {}",
		"WorkerPaid": `paid {"EventBusName":"orders","EventPattern":{"detail-type":["order.paid"]},"Name":"paid","State":"DISABLED",` +
			`"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:worker","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:123456789012:shop-WorkerPaidQueue"},"Id":"mine","InputPath":"$.detail","RetryPolicy":{"MaximumRetryAttempts":3}}]}`,
		"WorkerOld": `shop-WorkerOld {"EventPattern":{"source":["shop"]},` +
			`"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:worker","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:123456789012:shop-Dead"},"Id":"WorkerOldLambdaTarget"}]}`,
		"WorkerNightly": `nightly {"Description":"Clean up","Name":"nightly","ScheduleExpression":"rate(1 day)","State":"DISABLED",` +
			`"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:worker","Id":"WorkerNightlyLambdaTarget","Input":"{\"a\":1}"}]}`,
		"WorkerNamed": `shop-WorkerNamed {"ScheduleExpression":"rate(1 hour)",` +
			`"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:worker","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:123456789012:shop-Letters"},"Id":"WorkerNamedLambdaTarget"}]}`,
		"FlowGo": `shop-FlowGo {"EventPattern":{"source":["shop"]},` +
			`"Targets":[{"Arn":"arn:aws:sqs:us-east-1:123456789012:flow","Id":"FlowGoStepFunctionsTarget"}]}`,
	}
	if len(got.Resources) != len(want) {
		t.Errorf("%d resources, want %d", len(got.Resources), len(want))
	}
	for _, r := range got.Resources {
		properties, err := json.Marshal(r.Properties)
		if err != nil {
			t.Fatal(err)
		}
		if shown := r.Name + " " + string(properties); shown != want[r.LogicalID] {
			t.Errorf("%s\n%s\nwant\n%s", r.LogicalID, shown, want[r.LogicalID])
		}
	}
}

func TestWhatIsWrongWithTheEventsOfAFunction(t *testing.T) {
	t.Parallel()
	o := in
	o.Map = map[string]string{"F": "arn:aws:sqs:us-east-1:123456789012:worker"}
	for _, tc := range []struct{ events, want string }{
		{"[a]", "Events: it must be a mapping"},
		{"{A: {Properties: {}}}", "Events.A: it has no Type"},
		{"{A: {Type: Schedule}}", "A.Properties: it must be a mapping"},
		{"{A: {Type: Schedule, Properties: {DeadLetterConfig: {Type: SNS}}}}", "it needs either Arn, or Type SQS"},
		{"{A: {Type: Schedule, Properties: {DeadLetterConfig: {Type: SQS, Arn: 'arn:x'}}}}", "it needs either Arn, or Type SQS"},
		{"{A: {Type: Schedule, Properties: {DeadLetterConfig: {Type: SQS, QueueLogicalId: F}}}}", "F is there twice"},
		{"{A: {Type: Schedule, Properties: {Enabled: !Ref Nobody}}}", "no parameter or resource Nobody"},
		{"{A: {Type: Schedule, Properties: {Schedule: !Ref Nobody}}}", "line 1: Resources.FA.Properties.ScheduleExpression"},
	} {
		text := "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {Events: " + tc.events + "}}}"
		if _, err := Resolve([]byte(text), o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n%v, want %q", tc.events, err, tc.want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(shop)
	f.Add(worker)
	f.Add("Resources: {Worker: {Type: 'AWS::Serverless::Function', Properties: {Events: {A: {Type: Schedule, Properties: {Enabled: !Ref WorkerA}}}}}}")
	f.Add("a: &a [*a, *a]\nResources: *a")
	f.Add("Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Name: !Sub '${R.Arn}'}}}")
	f.Fuzz(func(_ *testing.T, text string) {
		o := in
		// As many as it has: one that it does not have is refused before anything else.
		if strings.Contains(text, "Env") {
			o.Parameters = map[string]string{"Env": "x"}
		}
		o.Map = map[string]string{"Worker": "arn:aws:sqs:us-east-1:123456789012:worker"}
		_, _ = Resolve([]byte(text), o) // must return
	})
}
