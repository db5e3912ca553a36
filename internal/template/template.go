// Package template reads CloudFormation and SAM templates, in YAML or JSON, and
// resolves them to what Waybill can make: buses, rules, archives, connections,
// API destinations, queues, log groups. It makes nothing itself and knows no
// server: `waybill apply` compares the result with what there is. Sections that
// describe nothing of that, such as Outputs and SAM's Globals, are not read.
//
// A template that cannot be understood whole is refused with the place of the
// first thing that is wrong; nothing is guessed.
package template

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Types are the types of resource that can be made, in the order in which they
// are.
var Types = []string{
	"AWS::Logs::LogGroup",
	"AWS::SQS::Queue",
	"AWS::Events::EventBus",
	"AWS::Events::Connection",
	"AWS::Events::ApiDestination",
	"AWS::Events::Archive",
	"AWS::Events::Rule",
}

// Options say where and with what a template is resolved.
type Options struct {
	Stack      string            // the part of generated names before the logical id
	Account    string            // AWS::AccountId
	Region     string            // AWS::Region
	Parameters map[string]string // for the template's Parameters
	// Map gives ARNs to logical ids that this installation cannot make, such
	// as functions; a rule may then have them as targets. The Events of a SAM
	// function that is mapped become rules with that target.
	Map map[string]string
}

// Resource is one that can be made, with all references resolved.
type Resource struct {
	LogicalID string
	Type      string
	Name      string
	ARN       string
	// Properties are as in the template, resolved: strings, float64s, bools,
	// []any, map[string]any.
	Properties map[string]any
}

// Result is a resolved template.
type Result struct {
	// Resources in an order in which each comes after those it needs.
	Resources []Resource
	// Unknown are resources whose types cannot be made and that nobody mapped,
	// as "LogicalId (Type)", and the events of SAM functions that are no rules,
	// as "LogicalId.Events.Name (Type)".
	Unknown []string
}

// Error is a fault of the template.
type Error struct {
	Line   int    // 0 if it has no place
	Where  string // such as Resources.MyRule.Properties.EventPattern
	Reason string
}

func (e *Error) Error() string {
	text := e.Reason
	if e.Where != "" {
		text = e.Where + ": " + text
	}
	if e.Line > 0 {
		text = fmt.Sprintf("line %d: %s", e.Line, text)
	}
	return text
}

// maxDepth bounds how deep a template may be nested, aliases included.
const maxDepth = 64

type definition struct {
	typ        string
	properties any
	line       int
}

type resolver struct {
	o          Options
	parameters map[string]any
	resources  map[string]*definition
	order      []string
	mappings   map[string]any
	stack      []string // logical ids whose names are being resolved
}

// Resolve reads a template.
func Resolve(text []byte, o Options) (*Result, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &Error{Reason: "it is neither YAML nor JSON: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, &Error{Reason: "a template is a mapping with a key Resources"}
	}
	nodes := &converter{}
	r := &resolver{o: o, parameters: map[string]any{}, resources: map[string]*definition{}}
	for key, value := range pairs(doc.Content[0]) {
		var err error
		switch key {
		case "Parameters":
			err = r.readParameters(nodes, value)
		case "Mappings":
			var v any
			if v, err = nodes.convert(value, "Mappings", 0); err == nil {
				r.mappings, _ = v.(map[string]any)
			}
		case "Resources":
			err = r.readResources(nodes, value)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(r.resources) == 0 {
		return nil, &Error{Where: "Resources", Reason: "there are none"}
	}
	for name := range o.Parameters {
		if _, ok := r.parameters[name]; !ok {
			return nil, &Error{Where: "Parameters." + name, Reason: "a value is given, but the template has no such parameter"}
		}
	}
	return r.result()
}

func (r *resolver) readParameters(nodes *converter, node *yaml.Node) error {
	for name, n := range pairs(node) {
		where := "Parameters." + name
		v, err := nodes.convert(n, where, 0)
		if err != nil {
			return err
		}
		doc, _ := v.(map[string]any)
		given, isGiven := r.o.Parameters[name]
		fallback, hasDefault := doc["Default"]
		switch {
		case isGiven && (doc["Type"] == "CommaDelimitedList" || strings.HasPrefix(fmt.Sprint(doc["Type"]), "List<")):
			var list []any
			for _, item := range strings.Split(given, ",") {
				list = append(list, strings.TrimSpace(item))
			}
			r.parameters[name] = list
		case isGiven:
			r.parameters[name] = given
		case hasDefault:
			r.parameters[name] = scalarText(fallback)
		default:
			return &Error{Line: n.Line, Where: where, Reason: "it has no default; give it a value with --parameter " + name + "=VALUE"}
		}
	}
	return nil
}

func (r *resolver) readResources(nodes *converter, node *yaml.Node) error {
	for id, n := range pairs(node) {
		where := "Resources." + id
		if n.Kind != yaml.MappingNode {
			return &Error{Line: n.Line, Where: where, Reason: "it must be a mapping with a Type"}
		}
		d := &definition{line: n.Line}
		for key, value := range pairs(n) {
			switch key {
			case "Type":
				d.typ = value.Value
			case "Properties":
				var err error
				if d.properties, err = nodes.convert(value, where+".Properties", 0); err != nil {
					return err
				}
			case "Condition":
				return &Error{Line: value.Line, Where: where, Reason: "conditions are not supported; take the resource out or leave the condition out"}
			}
		}
		if d.typ == "" {
			return &Error{Line: n.Line, Where: where, Reason: "it has no Type"}
		}
		if err := r.define(id, d, where); err != nil {
			return err
		}
	}
	return nil
}

// result resolves the properties of everything that can be made.
func (r *resolver) result() (*Result, error) {
	events, err := r.expand()
	if err != nil {
		return nil, err
	}
	out := &Result{Unknown: events}
	for _, id := range r.order {
		d := r.resources[id]
		if !slices.Contains(Types, d.typ) {
			if _, mapped := r.o.Map[id]; !mapped {
				out.Unknown = append(out.Unknown, id+" ("+d.typ+")")
			}
		}
	}
	for _, typ := range Types {
		for _, id := range r.order {
			d := r.resources[id]
			if d.typ != typ {
				continue
			}
			where := "Resources." + id + ".Properties"
			properties := map[string]any{}
			if d.properties != nil {
				v, err := r.resolve(d.properties, where)
				if err != nil {
					return nil, withLine(err, d.line)
				}
				var ok bool
				if properties, ok = v.(map[string]any); !ok {
					return nil, &Error{Line: d.line, Where: where, Reason: "it must be a mapping"}
				}
			}
			name, err := r.name(id)
			if err != nil {
				return nil, withLine(err, d.line)
			}
			arn, err := r.attribute(id, "Arn", where)
			if err != nil {
				return nil, withLine(err, d.line)
			}
			out.Resources = append(out.Resources, Resource{LogicalID: id, Type: typ, Name: name, ARN: fmt.Sprint(arn), Properties: properties})
		}
	}
	return deadLettersFirst(out), nil
}

// deadLettersFirst puts queues that others name as their dead-letter queues
// before those.
func deadLettersFirst(out *Result) *Result {
	dead := map[string]bool{}
	for _, r := range out.Resources {
		if policy, ok := r.Properties["RedrivePolicy"].(map[string]any); ok && r.Type == "AWS::SQS::Queue" {
			dead[fmt.Sprint(policy["deadLetterTargetArn"])] = true
		}
	}
	slices.SortStableFunc(out.Resources, func(a, b Resource) int {
		if a.Type != "AWS::SQS::Queue" || b.Type != "AWS::SQS::Queue" {
			return 0
		}
		switch {
		case dead[a.ARN] && !dead[b.ARN]:
			return -1
		case dead[b.ARN] && !dead[a.ARN]:
			return 1
		}
		return 0
	})
	return out
}

func withLine(err error, line int) error {
	if e, ok := err.(*Error); ok && e.Line == 0 { //nolint:errorlint // made in this package, never wrapped
		e.Line = line
	}
	return err
}

func scalarText(v any) any {
	switch v := v.(type) {
	case string, []any:
		return v
	}
	return fmt.Sprint(v)
}
