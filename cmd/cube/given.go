package main

import (
	"regexp"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// givenTo are the overrides (--set) of the build that a run records, as they are
// typed, each after a space; none where the record is not there.
func givenTo(c *cube.Cube, run string) string {
	r, err := lineage.Open(c.Path("runs")).Summary(run)
	if err != nil {
		return ""
	}
	return typed(overrides(r.Command))
}

// typed writes overrides as they are typed, safe for a terminal.
func typed(sets []string) string {
	var b strings.Builder
	for _, set := range sets {
		b.WriteString(" --set " + ui.Printable([]byte(shellWord(set))))
	}
	return b.String()
}

// overrides are the values of --set in a command line.
func overrides(command []string) (out []string) {
	for i, word := range command {
		if set, ok := strings.CutPrefix(word, "--set="); ok {
			out = append(out, set)
		} else if word == "--set" && i+1 < len(command) {
			out = append(out, command[i+1])
		}
	}
	return out
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellWord is a word as a shell reads it.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
