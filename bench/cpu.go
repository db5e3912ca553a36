package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// others is the processor time that anybody but this program and what it
// started has used since the machine was started.
func others() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var all time.Duration
	for i, f := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 6 { // idle, waiting for a disk, stolen and guests
			continue
		}
		all += ticks(f)
	}
	return all - ownCPU() - startedCPU()
}

// startedCPU is the processor time of all that this program started, and of
// what that started in turn: servers, and databases with their many processes.
func startedCPU() time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	all := map[string]process{}
	for _, dir := range stats {
		pid := filepath.Base(dir)
		all[pid] = readProcess(pid)
	}
	self := strconv.Itoa(os.Getpid())
	sum := all[self].ended
	for pid, p := range all {
		for up := p.parent; pid != self && up != ""; up = all[up].parent {
			if up == self {
				sum += p.own + p.ended
				break
			}
		}
	}
	return sum
}

// process is what the system knows of one: its parent, the processor time that
// it has used, and that of those of its children that have ended.
type process struct {
	parent     string
	own, ended time.Duration
}

// readProcess returns an empty one if there is none.
func readProcess(pid string) process {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", pid))
	if err != nil {
		return process{}
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return process{parent: f[1], own: ticks(f[11]) + ticks(f[12]), ended: ticks(f[13]) + ticks(f[14])}
}

// ticks is a time as /proc has it.
func ticks(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100
}
