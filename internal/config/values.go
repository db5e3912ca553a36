package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/netguard"
)

// value is one setting inside a Config. Set's error says what to write instead,
// and never repeats a secret.
type value interface {
	Set(text string) error
	String() string
	Type() string // the placeholder in --help
}

// parsed is a value with a parse and a format function.
type parsed[T any] struct {
	at     *T
	typ    string
	parse  func(string) (T, error)
	format func(T) string
}

func (p parsed[T]) Type() string   { return p.typ }
func (p parsed[T]) String() string { return p.format(*p.at) }

func (p parsed[T]) Set(text string) error {
	v, err := p.parse(text)
	if err != nil {
		return err
	}
	*p.at = v
	return nil
}

func plain(s string) string { return s }

func textValue(at *string, typ string, check func(string) error) value {
	return parsed[string]{at, typ, func(s string) (string, error) { return s, check(s) }, plain}
}

func secretValue(at *Secret, check func(string) error) value {
	return parsed[Secret]{at, "secret", func(s string) (Secret, error) { return Secret(s), check(s) }, Secret.String}
}

// databaseValue prints without the password.
func databaseValue(at *Secret) value {
	return parsed[Secret]{at, "url", func(s string) (Secret, error) {
		u, err := url.Parse(s)
		if s != "" && (err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || len(u.Path) < 2) {
			return "", errors.New("it is not the URL of a PostgreSQL database; write postgres://user:password@host:5432/name")
		}
		return Secret(s), nil
	}, func(s Secret) string {
		u, err := url.Parse(string(s))
		if err != nil {
			return s.String()
		}
		return u.Redacted()
	}}
}

func checkNodeName(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) || len(s) > 200 {
		return fmt.Errorf("%q is not a name: write letters, digits and punctuation, no space and no slash", s)
	}
	return nil
}

func boolValue(at *bool) value {
	return parsed[bool]{at, "bool", func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return false, fmt.Errorf("%q is neither true nor false", s)
		}
		return v, nil
	}, strconv.FormatBool}
}

func intValue(at *int, lowest, highest int) value {
	return parsed[int]{at, "count", func(s string) (int, error) {
		v, err := strconv.Atoi(s)
		if err != nil || v < lowest || v > highest {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", s, lowest, highest)
		}
		return v, nil
	}, strconv.Itoa}
}

func durationValue(at *time.Duration, lowest, highest time.Duration) parsed[time.Duration] {
	return parsed[time.Duration]{at, "duration", func(s string) (time.Duration, error) {
		v, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a duration; write a number and its unit, such as 20s or 500ms", s)
		case v < lowest || v > highest:
			return 0, fmt.Errorf("%s is not from %s to %s", s, lowest, highest)
		}
		return v, nil
	}, time.Duration.String}
}

func durationOrZero(at *time.Duration, lowest, highest time.Duration) value {
	v := durationValue(at, lowest, highest)
	parse := v.parse
	v.parse = func(s string) (time.Duration, error) {
		if d, err := time.ParseDuration(s); err == nil && d == 0 {
			return 0, nil
		}
		return parse(s)
	}
	return v
}

func sizeValue(at *int64, lowest int64) value {
	return parsed[int64]{at, "size", func(s string) (int64, error) {
		v, err := parseSize(s)
		if err == nil && v != 0 && v < lowest {
			err = fmt.Errorf("%s is too small to work with; write at least %s, or 0 for no bound", s, formatSize(lowest))
		}
		return v, err
	}, formatSize}
}

// listValue takes entries separated by commas, so that it fits an environment
// variable.
func listValue(at *[]string, typ string, check func([]string) error) value {
	return parsed[[]string]{at, typ, func(s string) ([]string, error) {
		var list []string
		for entry := range strings.SplitSeq(s, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				list = append(list, entry)
			}
		}
		return list, check(list)
	}, func(list []string) string { return strings.Join(list, ",") }}
}

func choiceValue(at *string, choices ...string) value {
	return textValue(at, strings.Join(choices, "|"), func(s string) error {
		for _, c := range choices {
			if s == c {
				return nil
			}
		}
		return fmt.Errorf("%q is none of: %s", s, strings.Join(choices, ", "))
	})
}

func levelValue(at *slog.Level) value {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	format := func(l slog.Level) string { return strings.ToLower(l.String()) }
	return parsed[slog.Level]{at, "debug|info|warn|error", func(s string) (slog.Level, error) {
		for _, l := range levels {
			if strings.EqualFold(s, l.String()) {
				return l, nil
			}
		}
		return 0, fmt.Errorf("%q is none of: debug, info, warn, error", s)
	}, format}
}

func checkData(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("it is blank; name the folder to keep the data in")
	}
	return nil
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		if _, perr := strconv.ParseUint(port, 10, 16); perr == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is not an address; write HOST:PORT, such as 127.0.0.1:4242, or :4242 for all interfaces", s)
}

// maxSocketPath is what every system takes as the path of a Unix socket.
const maxSocketPath = 103

func checkSocketPath(s string) error {
	if len(s) > maxSocketPath {
		return fmt.Errorf("it has %d bytes; choose a path of at most %d", len(s), maxSocketPath)
	}
	return nil
}

func checkNetworks(list []string) error {
	_, err := netguard.ParseAllow(list)
	return err
}

var versionForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$`)

func checkVersion(s string) error {
	if !versionForm.MatchString(s) {
		return fmt.Errorf("%q is not an API version; write one like 2026-03-25.dahlia", s)
	}
	return nil
}

func checkEncryptionKey(s string) error {
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 {
		return errors.New("the key must be 64 hex digits; `openssl rand -hex 32` makes one")
	}
	return nil
}

func checkAPIKey(mode string) func(string) error {
	form := regexp.MustCompile(`^sk_` + mode + `_[A-Za-z0-9]{16,}$`)
	return func(s string) error {
		if !form.MatchString(s) {
			return fmt.Errorf("the key must be sk_%s_ and at least 16 letters and digits", mode)
		}
		return nil
	}
}

// The bounds of both parts are those that accounts are held to.
var awsKeyForm = regexp.MustCompile(`^[A-Za-z0-9_]{16,128}:[!-~]{16,128}$`)

func checkAWSKey(s string) error {
	if !awsKeyForm.MatchString(s) {
		return errors.New("the key must be ID:SECRET, the id 16 to 128 letters, digits and underscores, the secret 16 to 128 characters without spaces")
	}
	return nil
}

var awsAccountForm = regexp.MustCompile(`^[0-9]{12}$`)

func checkAWSAccount(s string) error {
	if s != "" && !awsAccountForm.MatchString(s) {
		return fmt.Errorf("%q is not an AWS account id; write 12 digits, such as 123456789012", s)
	}
	return nil
}

var regionForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func checkRegion(s string) error {
	if !regionForm.MatchString(s) || len(s) > 32 {
		return fmt.Errorf("%q is not a region; write one like us-east-1", s)
	}
	return nil
}

var partnerForm = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)

func checkPartner(s string) error {
	if !partnerForm.MatchString(s) {
		return fmt.Errorf("%q cannot be a part of an event source's name; write up to 64 letters, digits, dots, dashes and underscores, such as waybill.local", s)
	}
	return nil
}

var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// parseSize parses whole bytes with a unit: 10GB is 10,000,000,000 and 10GiB is
// 10 × 2^30. Case does not matter.
func parseSize(s string) (int64, error) {
	bad := fmt.Errorf("%q is not a size; write whole bytes with a unit, such as 500MB or 10GiB", s)
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if cut := len(number) - len(u.name); cut > 0 && strings.EqualFold(number[cut:], u.name) {
			number, unit = strings.TrimSpace(number[:cut]), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, bad
	}
	return int64(n) * unit, nil
}

// formatSize is the reverse of parseSize, in the largest unit that fits whole.
func formatSize(n int64) string {
	if n != 0 {
		for _, u := range units {
			if n%u.size == 0 && u.size > 1 {
				return strconv.FormatInt(n/u.size, 10) + u.name
			}
		}
	}
	return strconv.FormatInt(n, 10)
}
