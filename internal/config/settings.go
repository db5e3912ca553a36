package config

import (
	"strings"
	"time"
)

// setting is one row of the table that flags, environment and file share.
type setting struct {
	name   string // as in the file; with dashes the flag, in capitals the variable
	usage  string
	secret bool // environment and file only
	list   bool
	bind   func(*Config) value
}

// The bounds that settings are checked against.
const (
	minDeliveryTimeout = time.Second
	maxDeliveryTimeout = 120 * time.Second
	maxInFlight        = 10_000
	minDisableAfter    = time.Hour
	maxDisableAfter    = 366 * 24 * time.Hour
	minStoreSize       = 16 << 20
	maxShutdown        = 10 * time.Minute
	minSourceExpiry    = time.Minute
	maxSourceExpiry    = 366 * 24 * time.Hour
	minLease           = 2 * time.Second
	maxLease           = 10 * time.Minute
	maxConnections     = 1000
	minRetention       = time.Hour
	maxRetention       = 10 * 366 * 24 * time.Hour
)

var settings = []setting{
	{
		name: "data", usage: "folder of the store and the encryption key file",
		bind: func(c *Config) value { return textValue(&c.Data, "dir", checkData) },
	},
	{
		name: "database", usage: "URL (postgres://…) of the PostgreSQL that nodes share, instead of the embedded store; with a password in it better WAYBILL_DATABASE",
		bind: func(c *Config) value { return databaseValue(&c.Database) },
	},
	{
		name: "node_name", usage: "name of this node at the database, the same at each start; HOST/LISTEN if empty",
		bind: func(c *Config) value { return textValue(&c.NodeName, "name", checkNodeName) },
	},
	{
		name: "node_lease", usage: "time for which a node can be silent before others do its work",
		bind: func(c *Config) value { return durationValue(&c.NodeLease, minLease, maxLease) },
	},
	{
		name: "database_connections", usage: "connections to PostgreSQL, beside the one that commits and the one that listens",
		bind: func(c *Config) value { return intValue(&c.DatabaseConnections, 2, maxConnections) },
	},
	{
		name: "listen", usage: "address to serve the API on",
		bind: func(c *Config) value { return textValue(&c.Listen, "host:port", checkListen) },
	},
	{
		name: "listen_unix", usage: "path of a Unix socket to serve the API on too, for this user alone; for STRIPE_CLI_UNIX_SOCKET",
		bind: func(c *Config) value { return textValue(&c.ListenUnix, "path", checkSocketPath) },
	},
	{
		name: "dev", usage: "for your own machine: deliver to private addresses, retry test mode after 1, 2 and 4 seconds",
		bind: func(c *Config) value { return boolValue(&c.Dev) },
	},
	{
		name: "encryption_key", usage: "64 hex digits that encrypt signing secrets at rest", secret: true,
		bind: func(c *Config) value { return secretValue(&c.EncryptionKey, checkEncryptionKey) },
	},
	{
		name: "bootstrap_test_key", usage: "test mode key of the account made on first start", secret: true,
		bind: func(c *Config) value { return secretValue(&c.BootstrapTestKey, checkAPIKey("test")) },
	},
	{
		name: "bootstrap_live_key", usage: "live mode key of the account made on first start", secret: true,
		bind: func(c *Config) value { return secretValue(&c.BootstrapLiveKey, checkAPIKey("live")) },
	},
	{
		name: "bootstrap_aws_key", usage: "access key ID:SECRET of the first account for the AWS protocols", secret: true,
		bind: func(c *Config) value { return secretValue(&c.BootstrapAWSKey, checkAWSKey) },
	},
	{
		name: "bootstrap_aws_account_id", usage: "12-digit AWS account id of the account made on first start",
		bind: func(c *Config) value { return textValue(&c.BootstrapAWSAccountID, "digits", checkAWSAccount) },
	},
	{
		name: "aws_region", usage: "AWS region that the tools work in unless told otherwise",
		bind: func(c *Config) value { return textValue(&c.AWSRegion, "region", checkRegion) },
	},
	{
		name: "partner_name", usage: "name of this installation in partner event sources, aws.partner/NAME/…",
		bind: func(c *Config) value { return textValue(&c.PartnerName, "name", checkPartner) },
	},
	{
		name: "source_expiry", usage: "time for a partner event source to be associated with a bus before it is deleted",
		bind: func(c *Config) value { return durationValue(&c.SourceExpiry, minSourceExpiry, maxSourceExpiry) },
	},
	{
		name: "allow_network", usage: "private network or address that deliveries may go to; repeat it or separate by commas", list: true,
		bind: func(c *Config) value { return listValue(&c.AllowNetwork, "cidr", checkNetworks) },
	},
	{
		name: "api_version", usage: "API version of snapshots where nobody named one",
		bind: func(c *Config) value { return textValue(&c.APIVersion, "version", checkVersion) },
	},
	{
		name: "delivery_timeout", usage: "time for one delivery attempt, 1s to 120s, the answer included",
		bind: func(c *Config) value {
			return durationValue(&c.DeliveryTimeout, minDeliveryTimeout, maxDeliveryTimeout)
		},
	},
	{
		name: "max_in_flight", usage: "attempts under way at once for one destination",
		bind: func(c *Config) value { return intValue(&c.MaxInFlight, 1, maxInFlight) },
	},
	{
		name: "disable_after", usage: "time without a success after which a webhook destination that keeps failing is disabled; 0 is never",
		bind: func(c *Config) value { return durationOrZero(&c.DisableAfter, minDisableAfter, maxDisableAfter) },
	},
	{
		name: "max_store_size", usage: "refuse events once the store has this size, such as 20GB; 0 is unbounded",
		bind: func(c *Config) value { return sizeValue(&c.MaxStoreSize, minStoreSize) },
	},
	{
		name: "shutdown_timeout", usage: "time for requests and attempts under way to end on shutdown",
		bind: func(c *Config) value { return durationValue(&c.ShutdownTimeout, 0, maxShutdown) },
	},
	{
		name: "retain_attempts", usage: "time for which attempts are kept, at most as long as events",
		bind: func(c *Config) value { return durationValue(&c.RetainAttempts, minRetention, maxRetention) },
	},
	{
		name: "retain_events", usage: "time for which events can be read, resent and replayed",
		bind: func(c *Config) value { return durationValue(&c.RetainEvents, minRetention, maxRetention) },
	},
	{
		name: "retain_summaries", usage: "time for which it is known that an event was and how its deliveries ended",
		bind: func(c *Config) value { return durationValue(&c.RetainSummaries, minRetention, maxRetention) },
	},
	{
		name: "retain_audit", usage: "time for which the audit log is kept",
		bind: func(c *Config) value { return durationValue(&c.RetainAudit, minRetention, maxRetention) },
	},
	{
		name: "log_format", usage: "text or json",
		bind: func(c *Config) value { return choiceValue(&c.LogFormat, LogText, LogJSON) },
	},
	{
		name: "log_level", usage: "what to log at least",
		bind: func(c *Config) value { return levelValue(&c.LogLevel) },
	},
}

func find(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

func envName(setting string) string { return "WAYBILL_" + strings.ToUpper(setting) }
