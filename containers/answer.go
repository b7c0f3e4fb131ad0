package containers

import (
	"errors"
	"strconv"
)

// Request is what a payload that serves reads from its standard input for each
// request: the line has come when all is there that the request needs.
const Request = "run\n"

// MaxAnswer is the length of the longest answer, and one byte more.
const MaxAnswer = len("255\n") + 1

// ServeVariable is set to 1 in the environment of a payload that is to serve.
const ServeVariable = "CUBE_SERVE"

// ErrAnswer is returned for bytes that are no answer.
var ErrAnswer = errors.New("not an exit code on a line of its own")

// ParseAnswer reads what a payload answers on descriptor 3 when it has done a
// request: the exit code that it would have ended with, from 0 to 255 in
// decimal, without leading zeros, and a newline. Nothing may follow, since
// nothing more was asked.
func ParseAnswer(b []byte) (code int, err error) {
	digits := len(b) - 1
	if digits < 1 || digits > 3 || b[digits] != '\n' || b[0] == '0' && digits > 1 {
		return 0, ErrAnswer
	}
	for _, c := range b[:digits] {
		if c < '0' || c > '9' {
			return 0, ErrAnswer
		}
	}
	if code, err = strconv.Atoi(string(b[:digits])); err != nil || code > 255 {
		return 0, ErrAnswer
	}
	return code, nil
}
