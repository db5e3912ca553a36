package pattern

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// String returns the test as a pattern would write it, in JSON.
func (t Test) String() string {
	switch t.Op {
	case OpString:
		if _, ok := parseIP(t.Text); ok {
			return renderOp("exactly", t.Text)
		}
		return render(t.Text)
	case OpLiteral:
		return t.Text
	case OpNumber:
		return renderNumber(t.Number)
	case OpPrefix:
		return renderOp("prefix", t.Text)
	case OpSuffix:
		return renderOp("suffix", t.Text)
	case OpIgnoreCase:
		return renderOp("equals-ignore-case", t.Text)
	case OpPrefixIgnoreCase:
		return `{"prefix":` + renderOp("equals-ignore-case", t.Text) + "}"
	case OpSuffixIgnoreCase:
		return `{"suffix":` + renderOp("equals-ignore-case", t.Text) + "}"
	case OpWildcard:
		return renderOp("wildcard", t.Text)
	case OpRange:
		return t.Range.String()
	case OpCIDR:
		if t.Net.IsSingleIP() {
			return render(t.Net.Addr().String())
		}
		return renderOp("cidr", t.Net.String())
	case OpExists:
		return `{"exists":true}`
	case OpAbsent:
		return `{"exists":false}`
	case OpAnythingBut:
		var items []string
		for _, text := range t.Texts {
			items = append(items, render(text))
		}
		for _, n := range t.Numbers {
			items = append(items, renderNumber(n))
		}
		return `{"anything-but":` + renderList(items) + "}"
	case OpAnythingButPrefix:
		return t.renderBut("prefix")
	case OpAnythingButSuffix:
		return t.renderBut("suffix")
	case OpAnythingButIgnoreCase:
		return t.renderBut("equals-ignore-case")
	case OpAnythingButWildcard:
		return t.renderBut("wildcard")
	}
	return "null"
}

// String returns the range as a pattern would write it, in JSON.
func (r Range) String() string {
	var items []string
	if !math.IsInf(r.Low, 0) {
		op := ">="
		if r.LowOpen {
			op = ">"
		}
		items = append(items, render(op), renderNumber(r.Low))
	}
	if !math.IsInf(r.High, 0) {
		op := "<="
		if r.HighOpen {
			op = "<"
		}
		items = append(items, render(op), renderNumber(r.High))
	}
	return `{"numeric":[` + strings.Join(items, ",") + "]}"
}

func (t Test) renderBut(op string) string {
	var items []string
	for _, text := range t.Texts {
		items = append(items, render(text))
	}
	return `{"anything-but":{"` + op + `":` + renderList(items) + "}}"
}

// renderList returns a list, or the item alone if there is only one.
func renderList(items []string) string {
	if len(items) == 1 {
		return items[0]
	}
	return "[" + strings.Join(items, ",") + "]"
}

func renderOp(op, text string) string { return `{"` + op + `":` + render(text) + "}" }

func renderNumber(n float64) string {
	if math.Abs(n) < 1e21 && (math.Abs(n) >= 1e-6 || n == 0) {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

func render(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // < and > are operators here
	_ = enc.Encode(text)     // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
