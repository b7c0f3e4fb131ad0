// Package config reads and writes what a workspace is made of: cube.yaml,
// producer.yaml, the contract label of a producer image, and cube.lock.
//
// A workspace comes together in three steps:
//
//	file, err := config.Load("cube.yaml")                 // positions are kept
//	lock, err := config.LoadLock("cube.lock")
//	// for each file.Producers: its image, hence its contract
//	ws, err := config.Workspace(file, lock, producers)    // a graph.Workspace
//
// Mistakes are yamlfile.Error and yamlfile.Errors: they carry file, line,
// column, the line itself and a hint. Those that show only later, such as a
// variable that nothing produces, get their place from [File.At].
//
// Both files have a JSON Schema ([Schema]) for editors; the parser and the
// schema agree.
package config
