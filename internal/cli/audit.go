package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) auditCommand() *cobra.Command {
	var object string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "See who changed what, newest first", Args: args(),
		Example: `  waybill audit
  waybill audit --object ed_test_…`,
	}
	cmd.Flags().StringVar(&object, "object", "", "only changes of what has this id")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 100")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if object != "" {
			query.Set("object_id", object)
		}
		raw, err := client.get(cmd.Context(), "/v2/core/audit_log", query)
		if err != nil {
			return err
		}
		if c.json {
			return c.printRaw(raw)
		}
		var page struct {
			Data []struct {
				Created when     `json:"created"`
				KeyHint string   `json:"key_hint"`
				Action  string   `json:"action"`
				Target  string   `json:"target"`
				Fields  []string `json:"fields"`
				IP      string   `json:"ip"`
			} `json:"data"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		rows := make([][]string, len(page.Data))
		for i, e := range page.Data {
			by := e.KeyHint
			if by == "" {
				by = "command line"
			}
			rows[i] = []string{c.ago(e.Created), by, orDash(e.IP), e.Action, e.Target, orDash(strings.Join(e.Fields, ", "))}
		}
		return c.table([]string{"WHEN", "WHO", "FROM", "WHAT", "OBJECT", "FIELDS"}, rows, "No changes are recorded yet.")
	}
	return cmd
}
