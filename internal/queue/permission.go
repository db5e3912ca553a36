package queue

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/store"
)

var permissionLabel = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// sharable are the actions that may be given away by AddPermission.
var sharable = []string{
	"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl",
}

// policy is a queue's Policy. It is kept for those who read it; what an account
// may do in Waybill follows from its keys alone.
type policy struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

type statement struct {
	Sid       string              `json:"Sid"`
	Effect    string              `json:"Effect"`
	Principal map[string][]string `json:"Principal"`
	Action    []string            `json:"Action"`
	Resource  string              `json:"Resource"`
}

func (p *policy) find(label string) int {
	return slices.IndexFunc(p.Statement, func(raw json.RawMessage) bool {
		var st struct{ Sid string }
		return json.Unmarshal(raw, &st) == nil && st.Sid == label
	})
}

// AddPermission adds a statement to a queue's policy.
func (s *Service) AddPermission(ctx context.Context, c account.AWSCaller, queueURL, label string, accounts, actions []string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	switch {
	case label == "":
		return missing("Label")
	case !permissionLabel.MatchString(label):
		return badParameter("Label", label, "It can only include alphanumeric characters, hyphens, or underscores, 1 to 80 in length.")
	case len(accounts) == 0:
		return missing("AWSAccountIds")
	case len(actions) == 0:
		return missing("Actions")
	}
	st := statement{Sid: label, Effect: "Allow", Principal: map[string][]string{}}
	for _, id := range accounts {
		st.Principal["AWS"] = append(st.Principal["AWS"], "arn:aws:iam::"+id+":root")
	}
	for _, action := range actions {
		if !slices.Contains(sharable, action) {
			return badParameter("ActionName", "SQS:"+action, "Only the queue owner is allowed to invoke this action.")
		}
		st.Action = append(st.Action, "SQS:"+action)
	}
	return s.changePolicy(ctx, k, func(r *store.Resource, doc *document, p *policy) error {
		if p.find(label) >= 0 {
			return badParameter("Label", label, "Already exists.")
		}
		st.Resource = arn(r.Region, doc.AccountID, r.Name)
		raw, err := json.Marshal(st)
		p.Statement = append(p.Statement, raw)
		return err
	})
}

// RemovePermission takes a statement from a queue's policy.
func (s *Service) RemovePermission(ctx context.Context, c account.AWSCaller, queueURL, label string) error {
	k, err := resourceAt(c, queueURL)
	if err != nil {
		return err
	}
	if label == "" {
		return missing("Label")
	}
	return s.changePolicy(ctx, k, func(_ *store.Resource, _ *document, p *policy) error {
		i := p.find(label)
		if i < 0 {
			return badParameter("Label", label, "can't find label on existing policy.")
		}
		p.Statement = slices.Delete(p.Statement, i, i+1)
		return nil
	})
}

func (s *Service) changePolicy(ctx context.Context, k store.ResourceKey, alter func(*store.Resource, *document, *policy) error) error {
	return s.change(ctx, k, true, func(r *store.Resource, doc *document) error {
		p := policy{Version: "2012-10-17", ID: arn(r.Region, doc.AccountID, r.Name) + "/SQSDefaultPolicy"}
		if text := doc.Attributes[attrPolicy]; text != "" {
			if json.Unmarshal([]byte(text), &p) != nil {
				return invalid(codeAttributeValue, "Invalid value for the parameter %s.", attrPolicy)
			}
		}
		if err := alter(r, doc, &p); err != nil {
			return err
		}
		doc.Modified = s.stamp()
		if len(p.Statement) == 0 {
			delete(doc.Attributes, attrPolicy)
			return nil
		}
		raw, err := json.Marshal(p)
		doc.Attributes[attrPolicy] = string(raw)
		return err
	})
}

func isCode(err error, code string) bool {
	f := fault.As(err)
	return f != nil && f.Code == code
}
