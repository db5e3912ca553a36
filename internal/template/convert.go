package template

import (
	"iter"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pairs yields the entries of a mapping in order.
func pairs(n *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

// converter turns YAML into the values that JSON has, writing CloudFormation's
// short tags (!Ref) as their long forms ({"Ref": …}).
type converter struct{ nodes int }

// maxNodes bounds a template with its aliases written out.
const maxNodes = 200_000

func (c *converter) convert(n *yaml.Node, where string, depth int) (any, error) {
	c.nodes++
	if depth > maxDepth || c.nodes > maxNodes {
		return nil, &Error{Line: n.Line, Where: where, Reason: "the template is nested too deep or too large"}
	}
	if n.Kind == yaml.AliasNode {
		return c.convert(n.Alias, where, depth+1)
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return c.tagged(n, where, depth)
	}
	return c.plain(n, where, depth)
}

func (c *converter) tagged(n *yaml.Node, where string, depth int) (any, error) {
	name := strings.TrimPrefix(n.Tag, "!")
	bare := *n
	bare.Tag = ""
	if n.Kind == yaml.ScalarNode {
		bare.Tag = "!!str"
	}
	v, err := c.plain(&bare, where, depth)
	if err != nil {
		return nil, err
	}
	switch name {
	case "Ref", "Condition":
		return map[string]any{name: v}, nil
	case "GetAtt":
		if text, ok := v.(string); ok {
			id, attribute, found := strings.Cut(text, ".")
			if !found {
				return nil, &Error{Line: n.Line, Where: where, Reason: "!GetAtt needs LogicalId.Attribute"}
			}
			v = []any{id, attribute}
		}
	}
	return map[string]any{"Fn::" + name: v}, nil
}

func (c *converter) plain(n *yaml.Node, where string, depth int) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for key, value := range pairs(n) {
			v, err := c.convert(value, where+"."+key, depth+1)
			if err != nil {
				return nil, err
			}
			out[key] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, err := c.convert(item, where, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, &Error{Line: n.Line, Where: where, Reason: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	switch v := v.(type) {
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case nil, bool, float64, string:
		return v, nil
	}
	return n.Value, nil // a date, which CloudFormation takes as text
}
