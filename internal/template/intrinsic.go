package template

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// resolve carries out the intrinsic functions inside v.
func (r *resolver) resolve(v any, where string) (any, error) {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for i, item := range v {
			x, err := r.resolve(item, where+"["+strconv.Itoa(i)+"]")
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return r.function(name, arg, where)
				}
			}
		}
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			x, err := r.resolve(v[key], where+"."+key)
			if err != nil {
				return nil, err
			}
			if x != noValue {
				out[key] = x
			}
		}
		return out, nil
	}
	return v, nil
}

// noValue is what AWS::NoValue leaves: the property is not there.
var noValue any = &struct{ _ int }{}

func (r *resolver) function(name string, arg any, where string) (any, error) {
	switch name {
	case "Ref":
		id, ok := arg.(string)
		if !ok {
			return nil, &Error{Where: where, Reason: "Ref needs a name"}
		}
		return r.ref(id, where)
	case "Fn::GetAtt":
		list, ok := arg.([]any)
		if text, isText := arg.(string); isText {
			id, attribute, found := strings.Cut(text, ".")
			list, ok = []any{id, attribute}, found
		}
		if !ok || len(list) != 2 {
			return nil, &Error{Where: where, Reason: "Fn::GetAtt needs a logical id and an attribute"}
		}
		return r.attribute(fmt.Sprint(list[0]), fmt.Sprint(list[1]), where)
	case "Fn::Sub":
		return r.sub(arg, where)
	}
	x, err := r.resolve(arg, where)
	if err != nil {
		return nil, err
	}
	list, _ := x.([]any)
	switch {
	case name == "Fn::Join" && len(list) == 2:
		items, ok := list[1].([]any)
		if !ok {
			break
		}
		parts := make([]string, len(items))
		for i, item := range items {
			parts[i] = text(item)
		}
		return strings.Join(parts, text(list[0])), nil
	case name == "Fn::Split" && len(list) == 2:
		var out []any
		for _, part := range strings.Split(text(list[1]), text(list[0])) {
			out = append(out, part)
		}
		return out, nil
	case name == "Fn::Select" && len(list) == 2:
		items, ok := list[1].([]any)
		i, err := strconv.Atoi(text(list[0]))
		if !ok || err != nil || i < 0 || i >= len(items) {
			return nil, &Error{Where: where, Reason: "Fn::Select needs the index of an item in a list"}
		}
		return items[i], nil
	case name == "Fn::FindInMap" && len(list) == 3:
		top, _ := r.mappings[text(list[0])].(map[string]any)
		second, _ := top[text(list[1])].(map[string]any)
		if found, ok := second[text(list[2])]; ok {
			return found, nil
		}
		return nil, &Error{Where: where, Reason: fmt.Sprintf("Mappings has no %s.%s.%s", text(list[0]), text(list[1]), text(list[2]))}
	case name == "Fn::Base64":
		return base64.StdEncoding.EncodeToString([]byte(text(x))), nil
	}
	return nil, &Error{Where: where, Reason: name + " is not supported, or has the wrong arguments"}
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func (r *resolver) ref(id, where string) (any, error) {
	switch id {
	case "AWS::AccountId":
		return r.o.Account, nil
	case "AWS::Region":
		return r.o.Region, nil
	case "AWS::Partition":
		return "aws", nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::StackName":
		return r.o.Stack, nil
	case "AWS::StackId":
		return "arn:aws:cloudformation:" + r.o.Region + ":" + r.o.Account + ":stack/" + r.o.Stack, nil
	case "AWS::NoValue":
		return noValue, nil
	}
	if v, ok := r.parameters[id]; ok {
		return v, nil
	}
	if arn, ok := r.o.Map[id]; ok {
		return arn, nil
	}
	d := r.resources[id]
	if d == nil {
		return nil, &Error{Where: where, Reason: "there is no parameter or resource " + id}
	}
	name, err := r.name(id)
	if err != nil || d.typ != "AWS::SQS::Queue" {
		return name, err
	}
	return "https://sqs." + r.o.Region + ".amazonaws.com/" + r.o.Account + "/" + name, nil
}

// nameProperty is where each type has its name.
var nameProperty = map[string]string{
	"AWS::Logs::LogGroup": "LogGroupName", "AWS::SQS::Queue": "QueueName", "AWS::Events::EventBus": "Name",
	"AWS::Events::Connection": "Name", "AWS::Events::ApiDestination": "Name", "AWS::Events::Archive": "ArchiveName", "AWS::Events::Rule": "Name",
}

// name is a resource's name: its own, or one made of the stack and its
// logical id, which is the same each time.
func (r *resolver) name(id string) (string, error) {
	d := r.resources[id]
	where := "Resources." + id
	property, ok := nameProperty[d.typ]
	if !ok {
		return "", &Error{Where: where, Reason: "Waybill cannot make a " + d.typ + "; give what stands in for it with --map " + id + "=ARN"}
	}
	properties, _ := d.properties.(map[string]any)
	given, ok := properties[property]
	if !ok {
		name := r.o.Stack + "-" + id
		if fifo, _ := properties["FifoQueue"].(bool); fifo {
			name += ".fifo"
		}
		return name, nil
	}
	if slices.Contains(r.stack, id) {
		return "", &Error{Where: where, Reason: "its name depends on itself: " + strings.Join(append(r.stack, id), " → ")}
	}
	r.stack = append(r.stack, id)
	defer func() { r.stack = r.stack[:len(r.stack)-1] }()
	v, err := r.resolve(given, where+".Properties."+property)
	if err != nil {
		return "", err
	}
	name, ok := v.(string)
	if !ok || name == "" {
		return "", &Error{Where: where + ".Properties." + property, Reason: "a name is a text"}
	}
	return name, nil
}

func (r *resolver) attribute(id, attribute, where string) (any, error) {
	if arn, ok := r.o.Map[id]; ok {
		return arn, nil
	}
	d := r.resources[id]
	if d == nil {
		return nil, &Error{Where: where, Reason: "there is no resource " + id}
	}
	name, err := r.name(id)
	if err != nil {
		return nil, err
	}
	arn := func(service, resource string) string {
		return "arn:aws:" + service + ":" + r.o.Region + ":" + r.o.Account + ":" + resource
	}
	switch d.typ + "." + attribute {
	case "AWS::Events::EventBus.Arn":
		return arn("events", "event-bus/"+name), nil
	case "AWS::Events::EventBus.Name":
		return name, nil
	case "AWS::Events::Rule.Arn":
		bus, err := r.busOf(d, where)
		if err != nil {
			return nil, err
		}
		if bus == "default" {
			return arn("events", "rule/"+name), nil
		}
		return arn("events", "rule/"+bus+"/"+name), nil
	case "AWS::Events::Archive.Arn":
		return arn("events", "archive/"+name), nil
	case "AWS::Events::Connection.Arn":
		return arn("events", "connection/"+name), nil
	case "AWS::Events::ApiDestination.Arn":
		return arn("events", "api-destination/"+name), nil
	case "AWS::SQS::Queue.Arn":
		return arn("sqs", name), nil
	case "AWS::SQS::Queue.QueueName":
		return name, nil
	case "AWS::SQS::Queue.QueueUrl":
		return r.ref(id, where)
	case "AWS::Logs::LogGroup.Arn":
		return arn("logs", "log-group:"+name+":*"), nil
	}
	return nil, &Error{Where: where, Reason: fmt.Sprintf("%s (%s) has no attribute %s that is known here", id, d.typ, attribute)}
}

// busOf is the name of a rule's bus.
func (r *resolver) busOf(d *definition, where string) (string, error) {
	properties, _ := d.properties.(map[string]any)
	given, ok := properties["EventBusName"]
	if !ok {
		return "default", nil
	}
	if len(r.stack) > maxDepth {
		return "", &Error{Where: where, Reason: "the name of its bus depends on itself"}
	}
	r.stack = append(r.stack, "")
	defer func() { r.stack = r.stack[:len(r.stack)-1] }()
	v, err := r.resolve(given, where+".EventBusName")
	if err != nil {
		return "", err
	}
	name := text(v)
	if at := strings.Index(name, ":event-bus/"); strings.HasPrefix(name, "arn:") && at >= 0 {
		name = name[at+len(":event-bus/"):]
	}
	return name, nil
}

// sub carries out Fn::Sub: ${Name}, ${Name.Attribute}, ${!Literal}.
func (r *resolver) sub(arg any, where string) (any, error) {
	template, own := "", map[string]any{}
	switch arg := arg.(type) {
	case string:
		template = arg
	case []any:
		if len(arg) == 2 {
			template, _ = arg[0].(string)
			own, _ = arg[1].(map[string]any)
		}
		if own == nil || template == "" {
			return nil, &Error{Where: where, Reason: "Fn::Sub needs a text and a mapping"}
		}
	default:
		return nil, &Error{Where: where, Reason: "Fn::Sub needs a text"}
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(template, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, &Error{Where: where, Reason: "Fn::Sub has a ${ without a }"}
		}
		template = after
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			out.WriteString("${" + literal + "}")
			continue
		}
		var v any
		var err error
		if mine, ok := own[name]; ok {
			v, err = r.resolve(mine, where)
		} else if id, attribute, dotted := strings.Cut(name, "."); dotted {
			v, err = r.attribute(id, attribute, where)
		} else {
			v, err = r.ref(name, where)
		}
		if err != nil {
			return nil, err
		}
		out.WriteString(text(v))
	}
}
