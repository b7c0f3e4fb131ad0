package graph

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanonicalJSONIsThatOfRFC8785(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// RFC 8785, sections 3.2.2 and 3.2.3, and appendix B.
		`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"literals":[null,true,false]}`: `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}`,
		`{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"}`:                                                 `{"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		"{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\\u00f6\":7}":           "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}",
		`-0.0`:                       `0`,
		`1e21`:                       `1e+21`,
		`999999999999999900000`:      `999999999999999900000`,
		`0.000001`:                   `0.000001`,
		`1e-7`:                       `1e-7`,
		`9007199254740992`:           `9007199254740992`,
		`9007199254740993`:           `"int:0x20000000000001"`,
		`-9223372036854775808`:       `"int:-0x8000000000000000"`,
		`18446744073709551615`:       `"int:0xffffffffffffffff"`,
		`"<&>\u2028"`:                "\"<&>\u2028\"",
		`{"b":{"d":1,"c":2},"a":[]}`: `{"a":[],"b":{"c":2,"d":1}}`,
	} {
		got, err := Canonical(json.RawMessage(in))
		if err != nil || string(got) != want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", in, got, err, want)
		}
	}
}

func TestCanonicalJSONRefusesWhatItCannotName(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`1e999`, `{} {}`, `{`, ``, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[1,]`, `nul`} {
		if got, err := Canonical(json.RawMessage(in)); err == nil {
			t.Errorf("%q became %s", in, got)
		}
	}
}

// What an object holds is moved at most once a level, and levels are bounded: a
// small file costs little, however it nests.
func TestCanonicalJSONOfDeepNestingCostsLittle(t *testing.T) {
	nested := func(open, inner, end string, n int) json.RawMessage {
		return json.RawMessage(strings.Repeat(open, n) + inner + strings.Repeat(end, n))
	}
	for _, open := range []string{`{"a":`, `{"b":0,"a":`, `[`} {
		end := map[byte]string{'{': "}", '[': "]"}[open[0]]
		if got, err := Canonical(nested(open, "1", end, 9000)); err == nil {
			t.Errorf("%d levels of %s became %d bytes", 9000, open, len(got))
		}
		once, err := Canonical(nested(open, "1", end, maxDepth-1))
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := Canonical(json.RawMessage(once)); err != nil || string(twice) != string(once) {
			t.Errorf("%s: %v", twice, err)
		}
	}
	in := nested(`{"a":`, `"`+strings.Repeat("x", 1<<16)+`"`, "}", maxDepth-1)
	if n := testing.AllocsPerRun(1, func() { _, _ = Canonical(in) }); n > 100 {
		t.Errorf("%v allocations for %d levels", n, maxDepth)
	}
}

func FuzzCanonicalIsAFixedPoint(f *testing.F) {
	f.Add(`{"b":{"a":{"d":1,"c":{}}},"a":0}`)
	f.Add(strings.Repeat(`{"b":0,"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth))
	f.Add(`{"a":[1,2.5,"x"],"b":null}`)
	f.Add(`{"\ud83d\ude00":9007199254740993}`)
	f.Fuzz(func(t *testing.T, in string) {
		once, err := Canonical(json.RawMessage(in))
		if err != nil {
			return
		}
		var a, b any
		if json.Unmarshal([]byte(in), &a) != nil || json.Unmarshal(once, &b) != nil {
			t.Fatalf("%q became %s, which is no JSON", in, once)
		}
		if !strings.Contains(string(once), "int:") && !cmp.Equal(a, b) { // large integers become strings
			t.Fatalf("%q became %s", in, once)
		}
		twice, err := Canonical(json.RawMessage(once))
		if strings.Contains(string(twice), "int:") {
			return // a large double reads back as an integer
		}
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%q: %s, then %s (%v)", in, once, twice, err)
		}
	})
}

func TestADigestReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	d := Sum([]byte("elevation"))
	back, err := ParseDigest(d.String())
	if err != nil || back != d {
		t.Fatalf("%s came back as %s: %v", d, back, err)
	}
	for _, bad := range []string{"", "sha256:", "sha256:" + strings.Repeat("g", 64), strings.ToUpper(d.Hex()), "sha512:" + d.Hex()} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q was taken for a digest", bad)
		}
	}
}
