// Package config owns the settings of a server: their names, defaults, sources
// and checks. It opens and starts nothing.
//
// One table drives every source. The setting `listen` is the flag --listen, the
// environment variable WAYBILL_LISTEN and the key listen of the YAML file; the
// later of these wins:
//
//	default < YAML file (--config or WAYBILL_CONFIG) < environment < flag
//
// [Loader.Load] reads and checks everything once, before anything starts. Its
// error is an [Error] that lists all that is wrong, each with the setting, the
// source it came from and what to write instead. An unknown key in the file is
// refused: a mistyped setting must not silently be its default. Secrets have no
// flag, for flags can be read by every user of the machine, and do not print
// (see [Secret]).
package config

import (
	"log/slog"
	"time"
)

// Config is every setting of a server. [Default] returns it with all defaults.
type Config struct {
	Data                  string        // folder of the embedded store
	Database              Secret        // URL of a PostgreSQL that nodes share; "" is the embedded store
	NodeName              string        // of this process among those, the same at each start; "" is HOST/LISTEN
	NodeLease             time.Duration // how long a node can be silent before others do its work
	DatabaseConnections   int           // to PostgreSQL, beside the one that commits and the one that listens
	Listen                string        // host:port; port 0 takes any that is free
	ListenUnix            string        // path of a Unix socket to serve on too; "" is none
	Dev                   bool          // allow private addresses, shorten the sandbox's retries
	EncryptionKey         Secret        // 64 hex digits; "" means a key file in Data
	BootstrapTestKey      Secret        // of the first account; "" has it generated
	BootstrapLiveKey      Secret        // likewise
	BootstrapAWSKey       Secret        // ID:SECRET, an access key of the first account; "" gives it none
	BootstrapAWSAccountID string        // 12 digits, of the first account; "" has them drawn
	AWSRegion             string        // where Waybill's own tools work unless told otherwise
	PartnerName           string        // in the names of partner event sources: aws.partner/NAME/…
	SourceExpiry          time.Duration // of a partner event source that nobody associates
	AllowNetwork          []string      // addresses and CIDR prefixes open to deliveries beside the public ones
	APIVersion            string        // labels snapshots where nobody named a version
	DeliveryTimeout       time.Duration // of one attempt, the answer's body included
	MaxInFlight           int           // attempts under way for one destination
	DisableAfter          time.Duration // without a success, of a webhook that keeps failing; 0 is never
	MaxStoreSize          int64         // bytes; 0 is unbounded
	ShutdownTimeout       time.Duration // for requests and attempts under way
	RetainAttempts        time.Duration // what is known of each attempt
	RetainEvents          time.Duration // whole events
	RetainSummaries       time.Duration // that an event was, and how its deliveries ended
	RetainAudit           time.Duration // who changed what
	LogFormat             string        // LogText or LogJSON
	LogLevel              slog.Level
}

// The log formats.
const (
	LogText = "text"
	LogJSON = "json"
)

// Default returns a Config as it is with nothing configured.
func Default() Config {
	return Config{
		Data:      "./waybill-data",
		NodeLease: 15 * time.Second,
		Listen:    "127.0.0.1:4242",

		DatabaseConnections: 16,

		AWSRegion:       "us-east-1",
		PartnerName:     "waybill.local",
		SourceExpiry:    7 * 24 * time.Hour,
		APIVersion:      "2026-03-25.dahlia",
		DeliveryTimeout: 20 * time.Second,
		MaxInFlight:     64,
		DisableAfter:    5 * 24 * time.Hour,
		ShutdownTimeout: 20 * time.Second,
		RetainAttempts:  15 * 24 * time.Hour,
		RetainEvents:    30 * 24 * time.Hour,
		RetainSummaries: 396 * 24 * time.Hour,
		RetainAudit:     396 * 24 * time.Hour,
		LogFormat:       LogText,
		LogLevel:        slog.LevelInfo,
	}
}

// LogValue lists all settings, without what is secret.
func (c Config) LogValue() slog.Value {
	attrs := make([]slog.Attr, len(settings))
	for i := range settings {
		attrs[i] = slog.String(settings[i].name, settings[i].bind(&c).String())
	}
	return slog.GroupValue(attrs...)
}
