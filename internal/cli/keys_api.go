package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/config"
)

// newAPIKey is what the flags of `keys create` ask for.
type newAPIKey struct {
	account.NewKey
	expiresIn time.Duration
}

func apiKeyFlags(cmd *cobra.Command) *newAPIKey {
	k := new(newAPIKey)
	cmd.Flags().StringVar(&k.Name, "name", "", "name of the key")
	cmd.Flags().BoolVar(&k.Live, "live", false, "a key for live mode (default test mode)")
	cmd.Flags().BoolVar(&k.Restricted, "restricted", false, "a restricted key (rk_…), which may do only what --allow says")
	cmd.Flags().StringSliceVar(&k.Allow, "allow", nil, "what a restricted key may do, such as events:read")
	cmd.Flags().DurationVar(&k.expiresIn, "expires-in", 0, "for how long the key is good, such as 720h (default for ever)")
	return k
}

// some tells whether any of the flags was given.
func (k *newAPIKey) some(cmd *cobra.Command) bool {
	for _, name := range []string{"name", "live", "restricted", "allow", "expires-in"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// keyView is an API key as JSON.
type keyView struct {
	ID       string     `json:"id"`
	Key      string     `json:"key,omitempty"` // only when it is new
	Hint     string     `json:"hint"`
	Account  string     `json:"account"`
	Name     string     `json:"name"`
	Livemode bool       `json:"livemode"`
	Allow    string     `json:"allow,omitempty"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires_at"`
	LastUsed *time.Time `json:"last_used"`
}

func newKeyView(k account.Key, text, owner string) keyView {
	v := keyView{ID: k.ID, Key: text, Hint: k.Hint, Account: owner, Name: k.Name, Livemode: k.Live, Allow: string(k.Grants), Created: k.Created}
	if !k.Expires.IsZero() {
		v.Expires = &k.Expires
	}
	if !k.LastUsed.IsZero() {
		v.LastUsed = &k.LastUsed
	}
	return v
}

// printKey prints a key that is new.
func (c *cli) printKey(k account.Key, text, owner string, notes ...string) error {
	if c.json {
		return c.printJSON(newKeyView(k, text, owner))
	}
	expires := ""
	if !k.Expires.IsZero() {
		expires = c.ago(when{k.Expires})
	}
	return c.fields([][2]string{
		{"Account", owner}, {"Id", k.ID}, {"Name", k.Name}, {"Key", text}, {"May", string(k.Grants)}, {"Expires", expires},
	}, append(notes, "Keep the key now: it is stored as a hash and not shown again.")...)
}

func (c *cli) createAPIKey(cmd *cobra.Command, loader *config.Loader, accountID string, n *newAPIKey) error {
	return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
		owner, err := accounts.Find(cmd.Context(), accountID)
		if err != nil {
			return err
		}
		if n.expiresIn != 0 {
			n.Expires = c.now().Add(n.expiresIn)
		}
		text, made, err := accounts.CreateKey(cmd.Context(), owner, n.NewKey)
		if err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		return c.printKey(made, text, owner.ID)
	})
}

func (c *cli) listAPIKeys(cmd *cobra.Command, loader *config.Loader, accountID string) error {
	return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
		owners, err := accounts.List(cmd.Context())
		if accountID != "" {
			owners = owners[:0:0]
			one, failed := accounts.Find(cmd.Context(), accountID)
			owners, err = append(owners, one), failed
		}
		if err != nil {
			return err
		}
		views := []keyView{}
		var rows [][]string
		for i := range owners {
			keys, err := accounts.ListKeys(cmd.Context(), owners[i].Number)
			if err != nil {
				return err
			}
			for _, k := range keys {
				views = append(views, newKeyView(k, "", owners[i].ID))
				may := string(k.Grants)
				if may == "" {
					may = "everything"
				}
				rows = append(rows, []string{k.ID, k.Hint, owners[i].ID, orDash(k.Name), may, c.ago(when{k.LastUsed}), c.ago(when{k.Expires})})
			}
		}
		if c.json {
			return c.printJSON(map[string]any{"data": views})
		}
		return c.table([]string{"ID", "KEY", "ACCOUNT", "NAME", "MAY", "LAST USED", "EXPIRES"}, rows,
			"There is no API key yet. The first start of `waybill serve` makes two.")
	})
}

func (c *cli) rollKeyCommand() *cobra.Command {
	loader := config.NewLoader("data")
	var accountID string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "roll KEY_ID",
		Short: "Replace an API key by a new one",
		Long: `Replace an API key by a new one that may do the same, in the data folder. The old
key is good for --overlap more, then expires.`,
		Args: args("the id of the key, key_…"), Example: "  waybill keys roll key_0123456789abcdef --overlap 24h",
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(&accountID, "account", "", "account, as acct_… (default the only one)")
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "for how long the old key stays good, up to 168h (default it ends at once)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
			owner, err := accounts.Find(cmd.Context(), accountID)
			if err != nil {
				return err
			}
			text, made, err := accounts.RollKey(cmd.Context(), owner.Number, given[0], overlap)
			if err != nil {
				return fmt.Errorf("roll key: %w", err)
			}
			return c.printKey(made, text, owner.ID)
		})
	}
	return cmd
}

func (c *cli) revokeKeyCommand() *cobra.Command {
	loader := config.NewLoader("data")
	var accountID string
	cmd := &cobra.Command{
		Use:   "revoke KEY_ID",
		Short: "Revoke an API key",
		Long: `Revoke an API key, in the data folder. A server that is running refuses it within
about a second.`,
		Args: args("the id of the key, key_…"),
	}
	bind(cmd, loader)
	cmd.Flags().StringVar(&accountID, "account", "", "account, as acct_… (default the only one)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return c.withAccounts(cmd, loader, func(accounts *account.Service) error {
			owner, err := accounts.Find(cmd.Context(), accountID)
			if err != nil {
				return err
			}
			k, err := accounts.RevokeKey(cmd.Context(), owner.Number, given[0])
			if err != nil {
				return fmt.Errorf("revoke key: %w", err)
			}
			if c.json {
				return c.printJSON(newKeyView(k, "", owner.ID))
			}
			fmt.Fprintf(c.stdout, "Revoked %s (%s)\n", k.ID, k.Hint)
			return nil
		})
	}
	return cmd
}
