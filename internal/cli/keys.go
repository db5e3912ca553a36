package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

func (c *cli) keysCommand() *cobra.Command {
	var aws bool
	keys := group("keys", "Manage API keys and AWS access keys in the data folder",
		c.createKeyCommand(&aws), c.listKeysCommand(&aws), c.rollKeyCommand(), c.revokeKeyCommand(), c.deleteKeyCommand())
	keys.PersistentFlags().BoolVar(&aws, "aws", false, "access keys, for the AWS CLI and SDKs")
	return keys
}

func (c *cli) createKeyCommand(aws *bool) *cobra.Command {
	loader := config.NewLoader("data", "aws_region")
	var accountID string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Give an account another key",
		Long: `Give an account another API key, or with --aws an access key for the AWS CLI and
SDKs, in the data folder. The server may be running: it knows the key within a
second. The key is printed once.

A restricted key may do only what --allow says: a resource and read, write (which
includes read) or none. The resources are ` + strings.Join(account.Resources, ", ") + `;
events/charge is about events such as charge.failed, and * is all.`,
		Args: args(),
		Example: `  waybill keys create --name deploy --live --expires-in 720h
  waybill keys create --restricted --allow events:read --allow deliveries:read
  waybill keys create --restricted --allow events/charge:write
  waybill keys create --aws`,
	}
	bind(cmd, loader)
	api := apiKeyFlags(cmd)
	cmd.Flags().StringVar(&accountID, "account", "", "account, as acct_… or its 12-digit AWS account id (default the only one)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*aws {
			return c.createAPIKey(cmd, loader, accountID, api)
		}
		if api.some(cmd) {
			return usagef("these flags are about API keys, and an AWS access key has none of them; see `%s --help`", cmd.CommandPath())
		}
		cfg, err := loader.Load(c.env)
		if err != nil {
			return err
		}
		server, err := c.address()
		if err != nil {
			return err
		}
		key, err := app.CreateAWSKey(cmd.Context(), cfg, accountID)
		if err != nil {
			return fmt.Errorf("create AWS key: %w", err)
		}
		if c.json {
			return c.printJSON(map[string]string{
				"access_key_id": key.ID, "secret_access_key": key.Secret, "account": key.Account, "aws_account_id": key.AWSAccountID,
				"region": cfg.AWSRegion, "endpoint_url": server,
			})
		}
		return c.fields([][2]string{
			{"Account", key.Account},
			{"AWS account id", key.AWSAccountID},
			{"Access key id", key.ID},
			{"Secret access key", key.Secret},
		}, "Keep the secret now: it is not shown again. To use it from this shell:",
			"",
			"export AWS_ACCESS_KEY_ID="+key.ID,
			"export AWS_SECRET_ACCESS_KEY="+key.Secret,
			"export AWS_REGION="+cfg.AWSRegion+" AWS_DEFAULT_REGION="+cfg.AWSRegion,
			"export AWS_ENDPOINT_URL="+server)
	}
	return cmd
}

func (c *cli) listKeysCommand(aws *bool) *cobra.Command {
	loader := config.NewLoader("data")
	var accountID string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys, without their secrets",
		Args:  args(),
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(&accountID, "account", "", "only those of this account")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*aws {
			return c.listAPIKeys(cmd, loader, accountID)
		}
		cfg, err := loader.Load(c.env)
		if err != nil {
			return err
		}
		keys, err := app.ListAWSKeys(cmd.Context(), cfg, accountID)
		if err != nil {
			return fmt.Errorf("list AWS keys: %w", err)
		}
		if c.json {
			data := make([]map[string]string, len(keys))
			for i, key := range keys {
				data[i] = map[string]string{
					"access_key_id": key.ID, "account": key.Account, "aws_account_id": key.AWSAccountID,
					"created": key.Created.UTC().Format(time.RFC3339),
				}
			}
			return c.printJSON(map[string]any{"data": data})
		}
		rows := make([][]string, len(keys))
		for i, key := range keys {
			rows[i] = []string{key.ID, key.Account, key.AWSAccountID, c.ago(when{key.Created})}
		}
		return c.table([]string{"ACCESS KEY", "ACCOUNT", "AWS ACCOUNT", "CREATED"}, rows,
			"There is no access key yet. Make one with `waybill keys create --aws`.")
	}
	return cmd
}

func (c *cli) deleteKeyCommand() *cobra.Command {
	loader := config.NewLoader("data")
	cmd := &cobra.Command{
		Use:   "delete ACCESS_KEY_ID",
		Short: "Delete an AWS access key",
		Long: `Delete an AWS access key, in the data folder. A server that is running refuses
it within about a second.`,
		Args: args("the id of the access key"),
	}
	bind(cmd, loader)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cfg, err := loader.Load(c.env)
		if err != nil {
			return err
		}
		if err := app.DeleteAWSKey(cmd.Context(), cfg, given[0]); err != nil {
			return fmt.Errorf("delete AWS key: %w", err)
		}
		if c.json {
			return c.printJSON(map[string]any{"access_key_id": given[0], "deleted": true})
		}
		fmt.Fprintf(c.stdout, "Deleted access key %s\n", given[0])
		return nil
	}
	return cmd
}
