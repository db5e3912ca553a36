package event

import "regexp"

// The version is written into payloads unquoted, which this form allows.
var apiVersion = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z_]+)?$`)

// IsAPIVersion tells whether text has the form of an API version: a date, with
// or without the name of a release, such as 2026-03-25.dahlia.
func IsAPIVersion(text string) bool { return apiVersion.MatchString(text) }
