package template

import (
	"fmt"
	"maps"
	"slices"
)

// samTargets are the SAM types whose Events become rules, and what SAM puts
// behind the rule's logical id to make the id of its target.
var samTargets = map[string]string{
	"AWS::Serverless::Function":     "LambdaTarget",
	"AWS::Serverless::StateMachine": "StepFunctionsTarget",
}

// samRenamed are an event's properties that a rule calls something else, and
// samKept those that it calls the same. samTarget are its target's.
var (
	samRenamed = map[string]string{"Pattern": "EventPattern", "Schedule": "ScheduleExpression", "RuleName": "Name"}
	samKept    = []string{"Name", "Description", "EventBusName", "State"}
	samTarget  = []string{"Input", "InputPath", "InputTransformer", "RetryPolicy"}
)

// maxTargetID is how long EventBridge lets the id of a target be.
const maxTargetID = 64

// expand makes the rules that SAM would make of the events of each function
// that is mapped: what stands in for the function is their target. It returns
// the events that are not rules, as "LogicalId.Events.Name (Type)".
func (r *resolver) expand() (unknown []string, err error) {
	for _, id := range slices.Clone(r.order) {
		d := r.resources[id]
		suffix, known := samTargets[d.typ]
		if _, mapped := r.o.Map[id]; !known || !mapped {
			continue
		}
		properties, _ := d.properties.(map[string]any)
		where := "Resources." + id + ".Properties.Events"
		events, ok := properties["Events"].(map[string]any)
		if !ok && properties["Events"] != nil {
			return nil, &Error{Line: d.line, Where: where, Reason: "it must be a mapping"}
		}
		for _, name := range slices.Sorted(maps.Keys(events)) {
			event, _ := events[name].(map[string]any)
			switch event["Type"] {
			case "EventBridgeRule", "CloudWatchEvent", "Schedule":
				if err := r.expandEvent(id, name, suffix, event["Properties"], where+"."+name); err != nil {
					return nil, withLine(err, d.line)
				}
			case nil:
				return nil, &Error{Line: d.line, Where: where + "." + name, Reason: "it has no Type"}
			default:
				unknown = append(unknown, fmt.Sprintf("%s.Events.%s (%v)", id, name, event["Type"]))
			}
		}
	}
	return unknown, nil
}

// expandEvent adds the rule of one event. Its logical id, that of its target
// and that of its queue are those that SAM gives them.
func (r *resolver) expandEvent(function, name, suffix string, given any, where string) error {
	properties, ok := given.(map[string]any)
	if !ok {
		return &Error{Where: where + ".Properties", Reason: "it must be a mapping"}
	}
	id := function + name
	targetID := id + suffix
	target := map[string]any{"Arn": r.o.Map[function], "Id": targetID[max(0, len(targetID)-maxTargetID):]}
	if own, ok := properties["Target"].(map[string]any); ok && own["Id"] != nil {
		target["Id"] = own["Id"]
	}
	rule := map[string]any{}
	for from, to := range samRenamed {
		if v, ok := properties[from]; ok {
			rule[to] = v
		}
	}
	copyNamed(rule, properties, samKept)
	copyNamed(target, properties, samTarget)
	if enabled, ok := properties["Enabled"]; ok {
		on, err := r.resolve(enabled, where+".Properties.Enabled")
		if err != nil {
			return err
		}
		rule["State"] = "DISABLED"
		if text(on) == "true" {
			rule["State"] = "ENABLED"
		}
	}
	line := r.resources[function].line
	if given, ok := properties["DeadLetterConfig"]; ok {
		config, _ := given.(map[string]any)
		switch {
		case config["Arn"] != nil && config["Type"] == nil:
			target["DeadLetterConfig"] = map[string]any{"Arn": config["Arn"]}
		case config["Type"] == "SQS" && config["Arn"] == nil:
			queue, ok := config["QueueLogicalId"].(string)
			if !ok {
				queue = id + "Queue"
			}
			if err := r.define(queue, &definition{typ: "AWS::SQS::Queue", line: line}, where); err != nil {
				return err
			}
			target["DeadLetterConfig"] = map[string]any{"Arn": map[string]any{"Fn::GetAtt": []any{queue, "Arn"}}}
		default:
			return &Error{Where: where + ".Properties.DeadLetterConfig", Reason: "it needs either Arn, or Type SQS"}
		}
	}
	rule["Targets"] = []any{target}
	return r.define(id, &definition{typ: "AWS::Events::Rule", properties: rule, line: line}, where)
}

// define adds a resource.
func (r *resolver) define(id string, d *definition, where string) error {
	if _, twice := r.resources[id]; twice {
		return &Error{Line: d.line, Where: where, Reason: "the resource " + id + " is there twice"}
	}
	r.resources[id] = d
	r.order = append(r.order, id)
	return nil
}

func copyNamed(into, from map[string]any, names []string) {
	for _, name := range names {
		if v, ok := from[name]; ok {
			into[name] = v
		}
	}
}
