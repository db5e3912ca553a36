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

func FuzzResolve(f *testing.F) {
	f.Add(shop)
	f.Add("a: &a [*a, *a]\nResources: *a")
	f.Add("Resources: {R: {Type: 'AWS::Events::Rule', Properties: {Name: !Sub '${R.Arn}'}}}")
	f.Fuzz(func(_ *testing.T, text string) {
		o := in
		o.Parameters = map[string]string{"Env": "x"}
		_, _ = Resolve([]byte(text), o) // must return
	})
}
