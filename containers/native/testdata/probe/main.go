// Command probe is a payload that tries what a payload must not be able to do.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] == "true" {
		return
	}
	b, err := os.ReadFile(os.Args[1])
	fmt.Print(string(b), err)
}
