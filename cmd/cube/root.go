package main

import "github.com/spf13/cobra"

// The groups that help shows commands in.
const (
	groupBuild   = "build"
	groupLook    = "look"
	groupExplain = "explain"
	groupData    = "data"
	groupMachine = "machine"
)

const rootLong = `cube is a reproducible build system whose targets are variables: gridded fields
of a simulation. It walks what a variable needs back to outside data, runs what
is missing as containers, and keeps every variable as Zarr in a cube.

Exit codes: 0 done; 1 an action, the machine or a server failed; 2 a mistake in
the command line or in a file of the workspace; 3 with -k, part was built; 4
something is not as cube.lock pins it; 5 more would have run than --fail-on-miss
or --max-cost let run; 130 interrupted.`

const rootExample = `  cube init hills && cd hills    # a workspace that builds at once
  cube build slope               # make a variable and all that it needs
  cube show slope                # what it is
  cube plot slope                # see it
  cube why slope                 # what would run again, and why`

func newRootCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:           "cube",
		Short:         "build the variables of a simulation, reproducibly",
		Long:          rootLong,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetFlagErrorFunc(flagError)
	f := c.PersistentFlags()
	f.StringVarP(&a.dir, "directory", "C", ".", "work in this workspace")
	f.BoolVar(&a.json, "json", false, "print JSON for machines")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	c.AddGroup(
		&cobra.Group{ID: groupBuild, Title: "Build:"},
		&cobra.Group{ID: groupLook, Title: "Look at variables:"},
		&cobra.Group{ID: groupExplain, Title: "Explain:"},
		&cobra.Group{ID: groupData, Title: "Images and pins:"},
		&cobra.Group{ID: groupMachine, Title: "This machine:"},
	)
	c.SetHelpCommandGroupID(groupMachine)
	c.SetCompletionCommandGroupID(groupMachine)
	for _, add := range commands {
		sub := add(a)
		markUsage(sub)
		c.AddCommand(sub)
	}
	nameOwn(c)
	return c
}

// nameOwn has the commands that come with cobra speak as the others do.
func nameOwn(c *cobra.Command) {
	c.InitDefaultHelpCmd()
	c.InitDefaultCompletionCmd()
	for _, sub := range c.Commands() {
		switch sub.Name() {
		case "help":
			sub.Short = "say what a command does, and how it is called"
		case "completion":
			sub.Short = "print what completes commands in a shell"
		}
	}
}

// commands are the constructors of all commands, in the order of help.
var commands = []func(*app) *cobra.Command{
	newInitCommand,
	newBuildCommand,
	newBumpCommand,
	newInvalidateCommand,
	newHoldCommand,
	newPlanCommand,
	newWhyCommand,
	newGraphCommand,
	newLineageCommand,
	newVerifyCommand,
	newPsCommand,
	newLogCommand,
	newFailedCommand,
	newShellCommand,
	newRepeatCommand,
	newLsCommand,
	newShowCommand,
	newPlotCommand,
	newDiffCommand,
	newQueryCommand,
	newDuCommand,
	newRmCommand,
	newGCCommand,
	newLockCommand,
	newSourceCommand,
	newImageCommand,
	newDoctorCommand,
	newSchemaCommand,
	newFsckCommand,
	newCatalogCommand,
	newExportCommand,
	newImportCommand,
	newVersionCommand,
}
