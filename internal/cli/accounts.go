package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

func (c *cli) accountsCommand() *cobra.Command {
	return group("accounts", "Manage accounts in the data folder", c.createAccountCommand(), c.listAccountsCommand(), c.updateAccountCommand())
}

// withAccounts loads the configuration and opens the accounts it names.
func (c *cli) withAccounts(cmd *cobra.Command, loader *config.Loader, fn func(*account.Service) error) error {
	cfg, err := loader.Load(c.env)
	if err != nil {
		return err
	}
	return app.Accounts(cmd.Context(), cfg, fn)
}

func (c *cli) createAccountCommand() *cobra.Command {
	loader := config.NewLoader("data")
	var n account.NewAccount
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Add an account with keys of its own",
		Long: `Add an account with a test and a live key of its own, in the data folder. The
server may be running. The keys are printed once.`,
		Args: args(),
		Example: `  waybill accounts create --name "Corner shop" --platform acct_…
  waybill accounts create --name "Try things out" --sandbox-of acct_…
  waybill accounts create --name "Holding" --is-organization`,
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(&n.Name, "name", "account", "name of the account")
	cmd.Flags().StringVar(&n.Platform, "platform", "", "make it a connected account of this platform (acct_…)")
	cmd.Flags().StringVar(&n.Organization, "organization", "", "make it a member of this organization (org_…)")
	cmd.Flags().StringVar(&n.SandboxOf, "sandbox-of", "", "make it a sandbox of this account, with test mode only (acct_…)")
	cmd.Flags().StringVar(&n.APIVersion, "api-version", "", "version that its snapshot events are labelled with")
	cmd.Flags().BoolVar(&n.IsOrganization, "is-organization", false, "make an organization (org_…), which has accounts as members")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
			created, err := accounts.CreateAccount(cmd.Context(), n)
			if err != nil {
				return fmt.Errorf("create account: %w", err)
			}
			if c.json {
				out := map[string]string{"id": created.Account.ID, "name": created.Account.Name, "test_key": created.TestKey}
				if created.LiveKey != "" {
					out["live_key"] = created.LiveKey
				}
				return c.printJSON(out)
			}
			return c.fields([][2]string{
				{"Account", created.Account.ID + " (" + created.Account.Name + ")"},
				{"Test key", created.TestKey},
				{"Live key", created.LiveKey},
			}, "Keep the keys now: they are stored as hashes and not shown again.")
		})
	}
	return cmd
}

// accountView is an account with the ids of those it belongs to.
type accountView struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	AWSID        string    `json:"aws_account_id"`
	Platform     string    `json:"platform,omitempty"`
	Organization string    `json:"organization,omitempty"`
	SandboxOf    string    `json:"sandbox_of,omitempty"`
	APIVersion   string    `json:"api_version,omitempty"`
	Created      time.Time `json:"created"`
}

func (c *cli) listAccountsCommand() *cobra.Command {
	loader := config.NewLoader("data")
	cmd := &cobra.Command{Use: "list", Short: "List accounts, organizations and sandboxes, oldest first", Args: args()}
	bind(cmd, loader)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
			all, err := accounts.List(cmd.Context())
			if err != nil {
				return err
			}
			ids := make(map[int64]string, len(all))
			for i := range all {
				ids[all[i].Number] = all[i].ID
			}
			views := make([]accountView, len(all))
			rows := make([][]string, len(all))
			for i := range all {
				a := &all[i]
				views[i] = accountView{a.ID, a.Name, a.AWSID, ids[a.Platform], ids[a.Organization], ids[a.SandboxOf], a.APIVersion, a.Created}
				v := &views[i]
				rows[i] = []string{v.ID, v.Name, orDash(v.Platform), orDash(v.Organization), orDash(v.SandboxOf), orDash(v.APIVersion), c.ago(when{v.Created})}
			}
			if c.json {
				return c.printJSON(map[string]any{"data": views})
			}
			return c.table([]string{"ACCOUNT", "NAME", "PLATFORM", "ORGANIZATION", "SANDBOX OF", "API VERSION", "CREATED"}, rows,
				"There is no account yet. The first start of `waybill serve` makes one.")
		})
	}
	return cmd
}

func (c *cli) updateAccountCommand() *cobra.Command {
	loader := config.NewLoader("data")
	values := map[string]*string{"name": new(string), "platform": new(string), "organization": new(string), "api-version": new(string)}
	cmd := &cobra.Command{
		Use:   "update ACCOUNT",
		Short: "Change an account",
		Long: `Change an account, in the data folder. A server that is running learns of it
within about a second. Give "" to take a platform, an organization or an API
version away.`,
		Args: args("the account, acct_…"),
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(values["name"], "name", "", "name of the account")
	cmd.Flags().StringVar(values["platform"], "platform", "", "platform that it is a connected account of (acct_…)")
	cmd.Flags().StringVar(values["organization"], "organization", "", "organization that it is a member of (org_…)")
	cmd.Flags().StringVar(values["api-version"], "api-version", "", "version that its snapshot events are labelled with")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		var changes account.Changes
		some := false
		for name, to := range map[string]**string{
			"name": &changes.Name, "platform": &changes.Platform, "organization": &changes.Organization, "api-version": &changes.APIVersion,
		} {
			if cmd.Flags().Changed(name) {
				*to, some = values[name], true
			}
		}
		if !some {
			return usagef("there is nothing to change; see `%s --help`", cmd.CommandPath())
		}
		return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
			a, err := accounts.Update(cmd.Context(), given[0], changes)
			if err != nil {
				return fmt.Errorf("update account: %w", err)
			}
			if c.json {
				return c.printJSON(map[string]string{"id": a.ID, "name": a.Name})
			}
			fmt.Fprintf(c.stdout, "Updated %s (%s)\n", a.ID, printable(a.Name))
			return nil
		})
	}
	return cmd
}
