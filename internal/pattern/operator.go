package pattern

import (
	"math"
	"net/netip"
)

// plainString is the test of a string that stands alone in a list. An address
// means the address, however the event spells it.
func plainString(text string) Test {
	if addr, ok := parseIP(text); ok {
		return Test{Op: OpCIDR, Net: netip.PrefixFrom(addr, addr.BitLen())}
	}
	return Test{Op: OpString, Text: text}
}

// operator reads the object just opened: one operator and its operand.
func (p *parser) operator() Test {
	if p.next() != tokName {
		p.fail("Match expression name not found")
	}
	var test Test
	switch name := p.name; name {
	case "exactly":
		test = Test{Op: OpString, Text: p.stringOperand("exact match pattern must be a string")}
		p.endOperator()
	case "prefix":
		test = p.affix(OpPrefix, OpPrefixIgnoreCase, "prefix", "Prefix")
	case "suffix":
		test = p.affix(OpSuffix, OpSuffixIgnoreCase, "suffix", "Suffix")
	case "equals-ignore-case":
		test = Test{Op: OpIgnoreCase, Text: p.stringOperand("equals-ignore-case match pattern must be a string")}
		p.endOperator()
	case "wildcard":
		test = Test{Op: OpWildcard, Text: p.stringOperand("wildcard match pattern must be a string")}
		p.checkWildcard(test.Text)
		p.endOperator()
	case "cidr":
		// AWS's text does name the wrong operator.
		net, reason := parseCIDR(p.stringOperand("prefix match pattern must be a string"))
		if reason != "" {
			panic(&Error{Reason: reason})
		}
		test = Test{Op: OpCIDR, Net: net}
		p.endOperator()
	case "exists":
		switch p.next() {
		case tokTrue:
			test = Test{Op: OpExists}
		case tokFalse:
			test = Test{Op: OpAbsent}
		default:
			p.fail("exists match pattern must be either true or false.")
		}
		p.endOperator()
	case "numeric":
		if p.next() != tokArray {
			p.fail("Value of numeric must be an array.")
		}
		test = p.numeric()
		if p.next() != tokObjectEnd {
			p.fail("Too many elements in numeric expression")
		}
	case "anything-but":
		test = p.anythingBut()
	default:
		p.fail("Unrecognized match type %s", name)
	}
	return test
}

func (p *parser) stringOperand(reason string) string {
	if p.next() != tokString {
		p.fail("%s", reason)
	}
	return p.text()
}

func (p *parser) endOperator() {
	if p.next() != tokObjectEnd {
		p.fail("Only one key allowed in match expression")
	}
}

func (p *parser) checkWildcard(text string) {
	if _, reason := wildcardTokens(text); reason != "" {
		p.fail("%s", reason)
	}
}

// affix reads the operand of prefix or suffix, which may be case-blind.
func (p *parser) affix(op, ignoreCase Op, name, title string) Test {
	switch p.next() {
	case tokString:
		test := Test{Op: op, Text: p.text()}
		p.endOperator()
		return test
	case tokObject:
		if p.next() != tokName {
			p.fail("%s expression name not found", title)
		}
		if p.name != "equals-ignore-case" {
			p.fail("Unsupported %s pattern: %s", name, p.name)
		}
		test := Test{Op: ignoreCase, Text: p.stringOperand("equals-ignore-case match pattern must be a string")}
		p.endOperator()
		p.endOperator()
		return test
	}
	p.fail("%s match pattern must be a string", name)
	return Test{}
}

// numeric reads the operators and bounds of the list just opened.
func (p *parser) numeric() Test {
	if t := p.next(); t != tokString {
		p.fail("Invalid member in numeric match: %s", p.tokenText(t))
	}
	op := p.text()
	t := p.next()
	bound := func(name string) string {
		if t != tokNumber {
			p.fail("Value of %s must be numeric", name)
		}
		return p.text()
	}
	end := func() {
		if p.next() != tokArrayEnd {
			p.fail("Too many elements in numeric expression")
		}
	}
	switch op {
	case "=":
		text := bound("equals")
		end()
		return Test{Op: OpNumber, Number: p.comparable(text)}
	case "<", "<=":
		text := bound(op)
		end()
		return Test{Op: OpRange, Range: Range{Low: math.Inf(-1), High: p.comparable(text), HighOpen: op == "<"}}
	case ">", ">=":
		low := bound(op)
		r := Range{High: math.Inf(1), LowOpen: op == ">"}
		if t = p.next(); t == tokArrayEnd {
			r.Low = p.comparable(low)
			return Test{Op: OpRange, Range: r}
		}
		if t != tokString {
			p.fail("Bad value in numeric range: %s", p.tokenText(t))
		}
		upper := p.text()
		if upper != "<" && upper != "<=" {
			p.fail("Bad numeric range operator: %s", upper)
		}
		r.HighOpen = upper == "<"
		t = p.next()
		high := bound(upper)
		if p.next() != tokArrayEnd {
			p.fail("Too many terms in numeric range expression")
		}
		r.Low, r.High = p.comparable(low), p.comparable(high)
		if r.Low >= r.High {
			p.fail("Bottom must be less than top")
		}
		return Test{Op: OpRange, Range: r}
	}
	p.fail("Unrecognized numeric range operator: %s", op)
	return Test{}
}

// tokenText is what AWS's reader calls the text of a token.
func (p *parser) tokenText(t token) string {
	switch t {
	case tokObject:
		return "{"
	case tokArray:
		return "["
	case tokArrayEnd:
		return "]"
	}
	return p.text()
}

// comparable returns the double that an operand stands for; it must stand for
// one exactly.
func (p *parser) comparable(text string) float64 {
	n, ok := comparable64(text)
	if !ok {
		p.fail("Cannot compare number : %s", text)
	}
	return n
}

// anythingBut reads the operand of anything-but up to the end of its operator.
func (p *parser) anythingBut() Test {
	test := Test{Op: OpAnythingBut}
	notString := "prefix/suffix match pattern must be a string"
	t := p.next()
	nested := t == tokObject
	if nested {
		if p.next() != tokName {
			p.fail("Anything-But expression name not found")
		}
		switch p.name {
		case "prefix":
			test.Op = OpAnythingButPrefix
		case "suffix":
			test.Op = OpAnythingButSuffix
		case "equals-ignore-case":
			test.Op = OpAnythingButIgnoreCase
			notString = "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
		case "wildcard":
			test.Op = OpAnythingButWildcard
			notString = "wildcard match pattern must be a string"
		default:
			p.fail("Unsupported anything-but pattern: %s", p.name)
		}
		t = p.next()
	}
	add := func(t token) {
		switch {
		case t == tokString:
			text := p.text()
			if text == "" && (test.Op == OpAnythingButPrefix || test.Op == OpAnythingButSuffix) {
				p.fail("Null prefix/suffix not allowed")
			}
			test.Texts = append(test.Texts, text)
		case nested:
			p.fail("%s", notString)
		case t == tokNumber:
			n, ok := comparable64(p.text())
			switch {
			case ok:
				test.Numbers = append(test.Numbers, n)
			case !p.inList:
				panic(&Error{Reason: "Cannot compare number : " + p.text()})
			default:
				// The one error inside a list that AWS places only once.
				p.inList = false
				p.fail("Cannot compare number : %s", p.text())
			}
		default:
			p.fail("Inside anything but list, start|null|boolean is not supported.")
		}
	}
	switch t {
	case tokString, tokNumber:
		add(t)
	case tokArray:
		p.inList = true
		for t = p.next(); t != tokArrayEnd; t = p.next() {
			add(t)
		}
		p.inList = false
		if !nested && (len(test.Texts) > 0) == (len(test.Numbers) > 0) {
			p.fail("Inside anything but list, either all values are number or string, mixed type is not supported")
		}
		if nested && len(test.Texts) == 0 {
			p.fail("Empty arrays are not allowed")
		}
	default:
		p.fail("Value of anything-but must be an array or single string/number value.")
	}
	if test.Op == OpAnythingButWildcard {
		for _, text := range test.Texts {
			p.checkWildcard(text)
		}
	}
	for range 2 {
		if p.next() != tokObjectEnd {
			p.fail("Too many elements in numeric expression")
		}
		if !nested {
			break
		}
	}
	return test
}
