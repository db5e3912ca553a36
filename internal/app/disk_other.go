//go:build !linux && !darwin

package app

// writable cannot be asked here.
func writable(string) error { return nil }

// freeBytes cannot be asked here.
func freeBytes(string) int64 { return -1 }
