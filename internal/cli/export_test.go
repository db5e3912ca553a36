package cli

import "strings"

// Leaves are the commands that do something, as they are typed after waybill.
func Leaves() []string {
	var paths []string
	for level := (&cli{}).root().Commands(); len(level) > 0; {
		below := level[:0:0]
		for _, cmd := range level {
			if !cmd.HasSubCommands() || strings.Contains(cmd.Use, " ") { // a group is one word
				paths = append(paths, strings.TrimPrefix(cmd.CommandPath(), "waybill "))
			}
			below = append(below, cmd.Commands()...)
		}
		level = below
	}
	return paths
}
