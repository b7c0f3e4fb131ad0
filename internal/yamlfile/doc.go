// Package yamlfile reads YAML that people write by hand, strictly, and says
// what is wrong with it at the place where it is wrong.
//
// [Parse] turns a file into a tree of [Node]s that know their line and column.
// A [Report] then reads the tree piece by piece, collects every mistake
// instead of stopping at the first, and hints at the nearest valid name:
//
//	doc, err := yamlfile.Parse("cube.yaml", data, yamlfile.Limits{})
//	r := yamlfile.NewReport()
//	r.Fields(doc.Root, "the workspace", yamlfile.Fields{
//		"name": func(n *yamlfile.Node) { name = r.String(n) },
//	})
//	return r.Err()
//
// A mistake is an [*Error]; several are [Errors]. The YAML is the JSON part of
// YAML 1.2 in both its notations: anchors, aliases, tags, merge keys, complex
// keys and more than one document are refused, and so are duplicate keys. A
// plain scalar is null, true, false, a decimal number, or else text; what
// other readers may take for another number (0x1f, 007, 1_000) is text here
// and so an error where a number is wanted.
//
// Input is hostile until checked: bytes, tokens and depth are bounded before
// anything recurses.
package yamlfile
