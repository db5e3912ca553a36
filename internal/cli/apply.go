package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/template"
)

// stackTag marks what `waybill apply` made, so that --prune deletes nothing
// else; see stackLog for what carries no tags.
const stackTag = "waybill:stack"

func (c *cli) applyCommand() *cobra.Command {
	var file, stack string
	var parameters, mapped map[string]string
	var skipUnknown, prune, dryRun bool
	cmd := &cobra.Command{
		Use: "apply -f TEMPLATE", Short: "Make the buses, rules and queues of a CloudFormation template",
		Long: `Make what a CloudFormation or SAM template (YAML or JSON) describes, as far as
Waybill has it: event buses, rules, archives, connections, API destinations,
queues, log groups. The plan is printed first. Applying the same template again
changes nothing.

What the template no longer has stays, unless --prune is given; that deletes
only what an earlier apply of the same stack made. A function or another thing
that Waybill cannot run is given a stand-in with --map; the events of a SAM
function that has one become rules with that target.`,
		Example: `  waybill apply -f template.yaml --dry-run
  waybill apply -f template.yaml --map Worker=arn:aws:sqs:us-east-1:123456789012:worker`,
		Args: args(),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "template, or - for standard input")
	cmd.Flags().StringVar(&stack, "stack", "", "name of the stack (default: the file's name)")
	cmd.Flags().StringToStringVar(&parameters, "parameter", nil, "value of a parameter, as NAME=VALUE")
	cmd.Flags().StringToStringVar(&mapped, "map", nil, "what stands in for a resource, as LogicalId=ARN")
	cmd.Flags().BoolVar(&skipUnknown, "skip-unknown", false, "leave out types that Waybill does not have")
	cmd.Flags().BoolVar(&prune, "prune", false, "delete what an earlier version of the stack had")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return usagef("-f is missing: name a template")
		}
		if stack == "" {
			stack = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			if file == "-" {
				return usagef("--stack is missing: a template from standard input has no name")
			}
		}
		source := "@" + file
		if file == "-" {
			source = "-"
		}
		text, err := c.textOrFile("-f", source)
		if err != nil {
			return err
		}
		client, err := c.aws()
		if err != nil {
			return err
		}
		a := &applier{cli: c, client: client, stack: stack, dryRun: dryRun}
		if err := a.findAccount(cmd.Context()); err != nil {
			return err
		}
		resolved, err := template.Resolve(text, template.Options{
			Stack: stack, Account: a.account, Region: client.region, Parameters: parameters, Map: mapped,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(resolved.Unknown) > 0 && !skipUnknown {
			return fmt.Errorf("Waybill does not have these: %s; leave them out with --skip-unknown, or give stand-ins with --map LogicalId=ARN", strings.Join(resolved.Unknown, ", ")) //nolint:staticcheck // begins with a name
		}
		return a.apply(cmd.Context(), resolved, prune)
	}
	return cmd
}

// applier carries out one template.
type applier struct {
	*cli
	client         *awsClient
	stack, account string
	dryRun         bool

	same int // resources that need no change
}

func (a *applier) findAccount(ctx context.Context) error {
	var bus struct{ Arn string }
	if err := a.client.call(ctx, awsEvents, "DescribeEventBus", map[string]any{}, &bus); err != nil {
		return err
	}
	if parts := strings.Split(bus.Arn, ":"); len(parts) == 6 {
		a.account = parts[4]
		return nil
	}
	return fmt.Errorf("%s does not say which account its buses are in: is it a Waybill server?", a.client.base)
}

// step is one change of a plan.
type step struct {
	verb string // create, update, delete
	what string
	why  string
	do   func(context.Context) error
}

// apply makes one plan for everything, shows it, and carries it out in order.
func (a *applier) apply(ctx context.Context, t *template.Result, prune bool) error {
	var steps []step
	for _, r := range t.Resources {
		more, err := a.plan(ctx, r)
		if err != nil {
			return fmt.Errorf("plan %s: %w", r.LogicalID, err)
		}
		if len(more) == 0 {
			a.same++
		}
		a.remembering(r, more)
		steps = append(steps, more...)
	}
	if prune {
		more, err := a.leftovers(ctx, t)
		if err != nil {
			return fmt.Errorf("look for what the template no longer has: %w", err)
		}
		steps = append(steps, more...)
	}
	if !a.json {
		for _, s := range steps {
			fmt.Fprintf(a.stdout, "%s %s %s%s\n", signs[s.verb], s.verb, s.what, s.why)
		}
	}
	if !a.dryRun {
		for i, s := range steps {
			if err := s.do(ctx); err != nil {
				return fmt.Errorf("%s %s: %w; %d of %d changes are made, apply again when that is mended", s.verb, s.what, err, i, len(steps))
			}
		}
	}
	return a.summarise(steps)
}

// signs begin the lines of a plan.
var signs = map[string]string{"create": "+", "update": "~", "delete": "-"}

// summarise tells what was made, or would have been.
func (a *applier) summarise(steps []step) error {
	counts := map[string]int{}
	changes := make([]map[string]string, len(steps))
	for i, s := range steps {
		counts[s.verb]++
		changes[i] = map[string]string{"action": s.verb, "resource": s.what + s.why}
	}
	if a.json {
		return a.printJSON(map[string]any{"stack": a.stack, "changes": changes, "made": !a.dryRun, "unchanged": a.same})
	}
	line := fmt.Sprintf("Done: %d created, %d updated, %d deleted, %d unchanged.", counts["create"], counts["update"], counts["delete"], a.same)
	switch {
	case len(steps) == 0:
		line = fmt.Sprintf("Nothing to do: all %d resources of %s are as the template has them.", a.same, a.stack)
	case a.dryRun:
		line = fmt.Sprintf("%d changes, none made (--dry-run).", len(steps))
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

func isMissing(err error) bool {
	var e *awsError
	return errors.As(err, &e) && (e.code == "ResourceNotFoundException" || e.code == "QueueDoesNotExist")
}

// leftovers are what this stack made and the template no longer has, in the
// order in which they can be deleted: rules, queues and buses carry the stack's
// tag.
func (a *applier) leftovers(ctx context.Context, t *template.Result) ([]step, error) {
	wanted := map[string]bool{}
	for _, r := range t.Resources {
		wanted[r.ARN] = true
	}
	var rules, rest []step
	buses, err := a.client.list(ctx, awsEvents, "ListEventBuses", "EventBuses", nil)
	if err != nil {
		return nil, err
	}
	for _, b := range buses {
		busName, busARN := text(b["Name"]), text(b["Arn"])
		found, err := a.client.list(ctx, awsEvents, "ListRules", "Rules", map[string]any{"EventBusName": busName})
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			mine, err := a.tagged(ctx, text(r["Arn"]))
			if err != nil {
				return nil, err
			}
			if name := text(r["Name"]); mine && !wanted[text(r["Arn"])] {
				rules = append(rules, step{"delete", "rule " + busName + "/" + name, "", func(ctx context.Context) error { return a.deleteRule(ctx, busName, name) }})
			}
		}
		mine, err := a.tagged(ctx, busARN)
		if err != nil {
			return nil, err
		}
		if mine && !wanted[busARN] && busName != "default" {
			rest = append(rest, step{"delete", "event bus " + busName, "", func(ctx context.Context) error {
				return a.client.call(ctx, awsEvents, "DeleteEventBus", map[string]any{"Name": busName}, nil)
			}})
		}
	}
	var queues struct{ QueueUrls []string }
	if err := a.client.call(ctx, awsQueues, "ListQueues", map[string]any{}, &queues); err != nil {
		return nil, err
	}
	for _, u := range queues.QueueUrls {
		name := u[strings.LastIndexByte(u, '/')+1:]
		var tags struct{ Tags map[string]string }
		if err := a.client.call(ctx, awsQueues, "ListQueueTags", map[string]any{"QueueUrl": u}, &tags); err != nil {
			return nil, err
		}
		if tags.Tags[stackTag] == a.stack && !wanted["arn:aws:sqs:"+a.client.region+":"+a.account+":"+name] {
			rest = append(rest, step{"delete", "queue " + name, " and its messages", func(ctx context.Context) error {
				return a.client.call(ctx, awsQueues, "DeleteQueue", map[string]any{"QueueUrl": u}, nil)
			}})
		}
	}
	untagged, err := a.untaggedLeftovers(ctx, t)
	return slices.Concat(rules, untagged, rest), err
}

func (a *applier) tagged(ctx context.Context, arn string) (bool, error) {
	var out struct {
		Tags []struct{ Key, Value string }
	}
	if err := a.client.call(ctx, awsEvents, "ListTagsForResource", map[string]any{"ResourceARN": arn}, &out); err != nil {
		return false, err
	}
	for _, t := range out.Tags {
		if t.Key == stackTag && t.Value == a.stack {
			return true, nil
		}
	}
	return false, nil
}

func (a *applier) deleteRule(ctx context.Context, bus, name string) error {
	targets, err := a.client.list(ctx, awsEvents, "ListTargetsByRule", "Targets", map[string]any{"Rule": name, "EventBusName": bus})
	if err != nil {
		return err
	}
	if err := a.removeTargets(ctx, bus, name, targets); err != nil {
		return err
	}
	return a.client.call(ctx, awsEvents, "DeleteRule", map[string]any{"Name": name, "EventBusName": bus}, nil)
}

func (a *applier) removeTargets(ctx context.Context, bus, rule string, targets []map[string]any) error {
	if len(targets) == 0 {
		return nil
	}
	var ids []string
	for _, t := range targets {
		ids = append(ids, text(t["Id"]))
	}
	return a.entries(ctx, "RemoveTargets", map[string]any{"Rule": rule, "EventBusName": bus, "Ids": ids})
}

// entries carries out an operation that reports failures entry by entry.
func (a *applier) entries(ctx context.Context, operation string, in map[string]any) error {
	var out struct {
		FailedEntries []struct{ TargetId, ErrorMessage string } //nolint:revive // AWS's own word
	}
	if err := a.client.call(ctx, awsEvents, operation, in, &out); err != nil {
		return err
	}
	if len(out.FailedEntries) > 0 {
		return fmt.Errorf("target %s: %s", out.FailedEntries[0].TargetId, out.FailedEntries[0].ErrorMessage)
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
