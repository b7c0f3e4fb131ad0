package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// knownCommand names the commands that an unknown one is most like.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	msg := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		msg += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{fmt.Errorf("%s\n  all commands: %s --help", msg, c.CommandPath())}
}

// markUsage has mistakes in how a command is called be mistakes of the command
// line, below it too.
func markUsage(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		var err error
		if check != nil {
			err = argumentError(c, args, check(c, args))
		}
		if err == nil {
			err = togetherError(c)
		}
		var known *usageError
		if err == nil || errors.As(err, &known) {
			return err
		}
		return &usageError{fmt.Errorf("%w\n  try: %s --help", err, c.CommandPath())}
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}

// argumentError says in words what cobra found wrong with a command's arguments.
func argumentError(c *cobra.Command, args []string, err error) error {
	if err == nil {
		return nil
	}
	switch text := err.Error(); {
	case strings.HasPrefix(text, "unknown command") && c.HasAvailableSubCommands():
		return knownCommand(c, args)
	case strings.HasPrefix(text, "unknown command"):
		return fmt.Errorf("%s takes no arguments, and there is %q", c.CommandPath(), args[0])
	case strings.HasPrefix(text, "accepts "), strings.HasPrefix(text, "requires "):
		return fmt.Errorf("%s: want %s", plural(len(args), "argument"), strings.TrimSuffix(c.UseLine(), " [flags]"))
	}
	return err
}

// togetherError says which flag must be given and is not, or which ones do not go
// together.
func togetherError(c *cobra.Command) error {
	if c.ValidateRequiredFlags() != nil {
		var missing []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if _, must := f.Annotations[cobra.BashCompOneRequiredFlag]; must && !f.Changed {
				missing = append(missing, "--"+f.Name)
			}
		})
		return fmt.Errorf("%s needs %s", c.CommandPath(), strings.Join(missing, " and "))
	}
	if err := c.ValidateFlagGroups(); err != nil {
		if m := exclusive.FindStringSubmatch(err.Error()); m != nil {
			return fmt.Errorf("--%s do not go together", strings.Join(strings.Fields(m[1]), " and --"))
		}
		return err
	}
	return nil
}

// exclusive finds the flags in what cobra says of those that exclude each other.
var exclusive = regexp.MustCompile(`\[([^\[\]]*)\] were all set`)

// flagError is a mistake in a flag, with the flag that it is most like.
func flagError(c *cobra.Command, err error) error {
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := graph.Nearest(name, names); near != "" {
			text += "; did you mean --" + near + "?"
		}
	}
	return &usageError{fmt.Errorf("%s\n  try: %s --help", text, c.CommandPath())}
}
