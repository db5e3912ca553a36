package bus

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

// maxPolicy is AWS's bound on a policy's length.
const maxPolicy = 10240

const actionPutEvents = "events:PutEvents"

// NewPermission lets others put events on a bus: by a statement, or by a whole
// policy that replaces the one there is.
type NewPermission struct {
	Bus                            string
	StatementID, Action, Principal string
	Condition                      *PermissionCondition
	Policy                         string
}

// PermissionCondition restricts a statement, to an organization for instance.
type PermissionCondition struct{ Type, Key, Value string }

// policyDoc is a resource policy. Its statements are kept as they came.
type policyDoc struct {
	Version   string            `json:"Version,omitzero"`
	ID        string            `json:"Id,omitzero"`
	Statement []json.RawMessage `json:"Statement"`
}

// statement is what of a policy's statement decides about putting events.
type statement struct {
	Sid       string                `json:"Sid"`
	Effect    string                `json:"Effect"`
	Principal json.RawMessage       `json:"Principal"`
	Action    texts                 `json:"Action"`
	Condition map[string]conditions `json:"Condition,omitempty"`
}

type conditions map[string]texts

// texts are a string or a list of strings.
type texts []string

// UnmarshalJSON reads either form.
func (t *texts) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*t = make(texts, 1)
		return json.Unmarshal(raw, &(*t)[0])
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

var isPrincipal = regexp.MustCompile(`^(\d{12}|\*)$`).MatchString

// PutPermission changes a bus's policy.
func (s *Service) PutPermission(ctx context.Context, c account.AWSCaller, p NewPermission) error {
	var v checks
	checkBusRef(&v, "eventBusName", p.Bus)
	if p.Policy == "" {
		v.length("statementId", p.StatementID, 1, 64)
		v.pattern("statementId", p.StatementID, `[a-zA-Z0-9-_]+`, isStatementID)
		v.length("principal", p.Principal, 1, 12)
		v.pattern("principal", p.Principal, `(\d{12}|\*)`, isPrincipal)
		v.length("action", p.Action, 1, 64)
	}
	if err := v.err(); err != nil {
		return err
	}
	if p.Policy != "" {
		if p.StatementID != "" || p.Action != "" || p.Principal != "" || p.Condition != nil {
			return invalid("Parameter Policy is not valid. Reason: give either Policy, or StatementId, Action, Principal and Condition.")
		}
		if _, err := parsePolicy([]byte(p.Policy)); err != nil {
			return err
		}
	} else if p.Action != actionPutEvents {
		return invalid("Provided value in parameter 'action' is not supported.")
	}
	return s.changeBus(ctx, c, p.Bus, func(_ *store.Resource, doc *busDoc) error {
		if p.Policy != "" {
			doc.Policy = json.RawMessage(p.Policy)
			return nil
		}
		added, err := p.statement(doc.ARN)
		if err != nil {
			return err
		}
		policy := &policyDoc{Version: "2012-10-17"}
		if doc.Policy != nil {
			if policy, err = parsePolicy(doc.Policy); err != nil {
				return err
			}
		}
		policy.remove(p.StatementID)
		policy.Statement = append(policy.Statement, added)
		doc.Policy, err = json.Marshal(policy)
		if err == nil && len(doc.Policy) > maxPolicy {
			return errPolicyLength()
		}
		return err
	})
}

var isStatementID = regexp.MustCompile(`^[a-zA-Z0-9\-_]+$`).MatchString

func (p *NewPermission) statement(busARN string) (json.RawMessage, error) {
	var principal any = "*"
	if p.Principal != "*" {
		principal = map[string]string{"AWS": "arn:aws:iam::" + p.Principal + ":root"}
	}
	added := struct {
		Sid, Effect string
		Principal   any
		Action      string
		Resource    string
		Condition   map[string]map[string]string `json:",omitempty"`
	}{Sid: p.StatementID, Effect: "Allow", Principal: principal, Action: actionPutEvents, Resource: busARN}
	if k := p.Condition; k != nil {
		added.Condition = map[string]map[string]string{k.Type: {k.Key: k.Value}}
	}
	return json.Marshal(added)
}

func parsePolicy(text []byte) (*policyDoc, error) {
	if len(text) > maxPolicy {
		return nil, errPolicyLength()
	}
	p := &policyDoc{}
	if json.Unmarshal(text, p) != nil || len(p.Statement) == 0 {
		return nil, invalid("Parameter Policy is not valid. Reason: it must be a JSON object with a list of statements.")
	}
	for _, raw := range p.Statement {
		var st statement
		if json.Unmarshal(raw, &st) != nil || st.Effect != "Allow" && st.Effect != "Deny" || len(st.Action) == 0 || st.Principal == nil {
			return nil, invalid("Parameter Policy is not valid. Reason: each statement needs an Effect, which is Allow or Deny, a Principal and an Action.")
		}
	}
	return p, nil
}

func errPolicyLength() error {
	return fault.New(fault.Invalid, "PolicyLengthExceededException", "The event bus policy is too long. It can have at most %d characters.", maxPolicy)
}

// remove takes out the statement with an id, and reports whether there was one.
func (p *policyDoc) remove(id string) bool {
	n := len(p.Statement)
	p.Statement = slices.DeleteFunc(p.Statement, func(raw json.RawMessage) bool {
		var st statement
		return json.Unmarshal(raw, &st) == nil && st.Sid == id
	})
	return len(p.Statement) < n
}

// RemovePermission takes a statement, or all, out of a bus's policy.
func (s *Service) RemovePermission(ctx context.Context, c account.AWSCaller, bus, statementID string, all bool) error {
	var v checks
	checkBusRef(&v, "eventBusName", bus)
	if !all {
		v.length("statementId", statementID, 1, 64)
	}
	if err := v.err(); err != nil {
		return err
	}
	return s.changeBus(ctx, c, bus, func(_ *store.Resource, doc *busDoc) error {
		if all {
			doc.Policy = nil
			return nil
		}
		if doc.Policy == nil {
			return notFound("EventBus does not have a policy.")
		}
		policy, err := parsePolicy(doc.Policy)
		if err != nil {
			return err
		}
		if !policy.remove(statementID) {
			return notFound("Statement with the provided id does not exist.")
		}
		doc.Policy = nil
		if len(policy.Statement) > 0 {
			doc.Policy, err = json.Marshal(policy)
		}
		return err
	})
}

// policy decides who else than its owner may put events on a bus.
type policy struct{ statements []compiledStatement }

type compiledStatement struct {
	deny       bool
	everyone   bool
	accounts   []string
	conditions []condition
	// unknown is set where there is a condition that cannot be decided here:
	// such a statement allows nothing, and denies whatever it might.
	unknown bool
}

// condition is on a property of the event.
type condition struct {
	detailType bool // else on the source
	like       bool // * and ? stand for others
	values     []string
}

func compilePolicy(text json.RawMessage) *policy {
	doc, err := parsePolicy(text)
	if err != nil {
		return nil
	}
	p := &policy{}
	for _, raw := range doc.Statement {
		var st statement
		if json.Unmarshal(raw, &st) != nil || !slices.ContainsFunc(st.Action, isPutAction) {
			continue
		}
		compiled := compiledStatement{deny: st.Effect == "Deny"}
		compiled.principals(st.Principal)
		for operator, on := range st.Condition {
			for k, values := range on {
				compiled.condition(operator, k, values)
			}
		}
		p.statements = append(p.statements, compiled)
	}
	return p
}

func isPutAction(action string) bool {
	return like(strings.ToLower(action), strings.ToLower(actionPutEvents))
}

func (c *compiledStatement) principals(raw json.RawMessage) {
	var names texts
	if names.UnmarshalJSON(raw) != nil {
		var by struct{ AWS texts }
		if json.Unmarshal(raw, &by) != nil {
			return
		}
		names = by.AWS
	}
	for _, name := range names {
		if name == "*" {
			c.everyone = true
		} else if a, ok := ParseARN(name); ok && a.Service == "iam" {
			c.accounts = append(c.accounts, a.Account)
		} else {
			c.accounts = append(c.accounts, name)
		}
	}
}

func (c *compiledStatement) condition(operator, name string, values []string) {
	k := condition{values: values}
	switch strings.ToLower(operator) {
	case "stringequals", "foranyvalue:stringequals", "forallvalues:stringequals":
	case "stringlike", "foranyvalue:stringlike", "forallvalues:stringlike":
		k.like = true
	default:
		c.unknown = true
		return
	}
	switch strings.ToLower(name) {
	case "events:source":
	case "events:detail-type":
		k.detailType = true
	default:
		c.unknown = true
		return
	}
	c.conditions = append(c.conditions, k)
}

func (p *policy) allows(awsAccountID, source, detailType string) bool {
	allowed := false
	for i := range p.statements {
		st := &p.statements[i]
		if !st.everyone && !slices.Contains(st.accounts, awsAccountID) || st.unknown && !st.deny || !st.met(source, detailType) {
			continue
		}
		if st.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (c *compiledStatement) met(source, detailType string) bool {
	for _, k := range c.conditions {
		value := source
		if k.detailType {
			value = detailType
		}
		if !slices.ContainsFunc(k.values, func(want string) bool {
			return want == value || k.like && like(want, value)
		}) {
			return false
		}
	}
	return true
}

// like matches a text against a pattern in which * stands for any characters
// and ? for one.
func like(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// stated is what an envelope says of who sent it.
type stated struct{ Source, Account string }

func statedIn(envelope []byte) stated {
	var v stated
	_ = json.Unmarshal(envelope, &v) // an envelope of ours; "" is let in nowhere
	return v
}
