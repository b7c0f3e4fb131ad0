package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cubebuild/cube/internal/config"
	"github.com/spf13/cobra"
)

func newSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "schema " + strings.Join(config.Schemas, "|"),
		Short:   "print the JSON Schema of cube.yaml or producer.yaml",
		GroupID: groupMachine,
		Long: `Schema prints the JSON Schema of cube.yaml or of producer.yaml. Editors that read
it complete keys and show mistakes as you type.`,
		Example: `  cube schema cube > .cube-schema.json
  # the first line of cube.yaml, for editors with the YAML language server:
  # yaml-language-server: $schema=.cube-schema.json`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: config.Schemas,
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(config.Schemas, args[0]) {
				return &usageError{fmt.Errorf("there is no schema %q; there are %s", args[0], strings.Join(config.Schemas, " and "))}
			}
			schema, err := config.Schema(args[0])
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(schema)
			return err
		},
	}
}
