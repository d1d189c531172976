package script

import "slices"

// Overriding are arguments with defaults before them, each a flag and its value, but for those defaults whose flags the
// arguments give themselves: the commands refuse a flag that is given twice.
func Overriding(args []string, defaults ...string) []string {
	var all []string
	for n := 0; n+1 < len(defaults); n += 2 {
		if !slices.Contains(args, defaults[n]) {
			all = append(all, defaults[n], defaults[n+1])
		}
	}
	return append(all, args...)
}
