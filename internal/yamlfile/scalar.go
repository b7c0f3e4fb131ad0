package yamlfile

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	intText   = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	floatText = regexp.MustCompile(`^[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	jsonFloat = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// maxNumber bounds the length of a number, so that nothing is computed from a
// million digits.
const maxNumber = 64

// classify tells what a plain scalar is, and its text: a number's as JSON has
// it.
func classify(s string) (Kind, string, error) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return Null, "", nil
	case "true", "True", "TRUE":
		return Bool, "true", nil
	case "false", "False", "FALSE":
		return Bool, "false", nil
	}
	isInt := intText.MatchString(s)
	if !isInt && !floatText.MatchString(s) {
		return String, s, nil
	}
	if len(s) > maxNumber {
		if strings.Trim(s, "0123456789abcdef") == "" {
			return String, s, nil // a digest
		}
		return 0, "", errors.New("number has too many digits")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || f == 0 && strings.Trim(mantissa(s), "+-0.") != "" {
		return 0, "", errors.New("number is out of range")
	}
	s = strings.TrimPrefix(s, "+")
	if isInt {
		return Int, s, nil
	}
	if !jsonFloat.MatchString(s) {
		s = strconv.FormatFloat(f, 'g', -1, 64)
	}
	return Float, s, nil
}

func mantissa(s string) string {
	m, _, _ := strings.Cut(strings.ToLower(s), "e")
	return m
}
