package main

import (
	"errors"
	"strconv"
)

// count is a flag that takes a whole number from 1 on; 0 is one that was not
// given.
type count int

// String implements pflag.Value.
func (c *count) String() string { return strconv.Itoa(int(*c)) }

// Type implements pflag.Value.
func (c *count) Type() string { return "int" }

// Set implements pflag.Value.
func (c *count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err == nil && n < 1 {
		err = errors.New("it must be 1 or more")
	}
	if err == nil {
		*c = count(n)
	}
	return err
}
