// Package survey looks at a variable as a whole without holding it: [Measure]
// counts and describes its values, [Thin] makes a small picture of one step.
// Both read chunk by chunk, several at once, and need memory for a few chunks
// and the result only.
package survey
