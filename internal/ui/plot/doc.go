// Package plot draws a plane of a variable: as a PNG or SVG picture with axes,
// a colour bar or a legend and a scale bar, or as a small map in a terminal.
//
// A [Map] says what is drawn; it knows nothing of cubes. Colours are perceptual:
// equal steps of value look like equal steps of colour, also in grey. Directions
// get a map that ends as it begins. Cells without data are hatched.
package plot
