package secret

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const key = "s3cr/t&=+key é"

func set(values ...string) *Set {
	s := &Set{}
	for _, v := range values {
		s.Add([]byte(v))
	}
	return s
}

func TestASecretIsHiddenInEveryForm(t *testing.T) {
	t.Parallel()
	s := set(key)
	b64 := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"as it is": key, "query": url.QueryEscape(key), "path": url.PathEscape(key), "hex": hex.EncodeToString([]byte(key)),
		"json": `s3cr/t\u0026=+key é`, "base64": b64([]byte(key)), "base64 after one": b64([]byte("u" + key)),
		"base64 in a pair": b64([]byte("me:" + key + "!")), "base64 after two": b64([]byte("ab" + key + "cd")),
		"path with slashes": "s3cr/t%26%3D%2Bkey%20%C3%A9", "path in lower case": "s3cr/t%26%3d%2bkey%20%c3%a9",
		"encodeURI": "s3cr/t&=+key%20%C3%A9", "URL in a URL": url.QueryEscape(url.QueryEscape(key)),
		"json with slashes": `s3cr\/t&=+key é`, "json in ASCII": `s3cr/t\u0026=+key \u00e9`, "HTML": "s3cr/t&amp;=+key é",
		"base64 of URLs": base64.URLEncoding.EncodeToString([]byte("me:" + key)),
	} {
		got := s.Redact("before " + text + " after")
		if !strings.Contains(got, Hidden) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || len(got) > len("before  after")+len(Hidden)+12 {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
	if got := s.Redact("nothing to hide"); got != "nothing to hide" {
		t.Errorf("got %q", got)
	}
	if got := (&Set{}).Redact(key); got != key {
		t.Errorf("an empty set hid %q", got)
	}
}

func TestEachLongWordOfAFileIsASecret(t *testing.T) {
	t.Parallel()
	s := set("machine data.example.org login scientist password hunter2hunter2\n")
	if got := s.Redact("401 for hunter2hunter2"); got != "401 for "+Hidden {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsSecretByItself(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                       nil,
		"hunter2hunter2":                         nil, // there are no parts
		"login me password hunter2hunter2":       {"password", "hunter2hunter2"},
		`{"a": [{"b": "hunter2hunter2"}, 1]}`:    {"hunter2hunter2"},
		`{"long_name": "short", "c": true}`:      nil,
		"{no JSON: hunter2hunter2":               {"hunter2hunter2"},
		"12345678901":                            nil,
		`"hunter2hunter2"`:                       {"hunter2hunter2"},
		"-----BEGIN KEY-----\nMIIEvAIBADANBgk\n": {"-----BEGIN", "KEY-----", "MIIEvAIBADANBgk"},
	} {
		if got := Words(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestASecretIsHiddenInWhateverPiecesItComes(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]string{{"abcdefgh"}, {"abcd", "abcdefgh"}, {"wabc", "abcdefgh"}, {"aabaabaa"}} {
		s := set(secrets...)
		text := "wabcd efgh aabaabaabaa abcdefgh wabc, abcdabcdefgh abc"
		want := s.Redact(text)
		for size := 1; size < 12; size++ {
			var out strings.Builder
			l := NewLog(s, &out)
			for at := 0; at < len(text); at += size {
				if _, err := l.Write([]byte(text[at:min(len(text), at+size)])); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%q in pieces of %d: %q shows one", secrets, size, out.String())
				}
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", secrets, size, out.String(), want)
			}
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add("abcd", "xxabcdxx", uint8(3))
	f.Add("aabaab", "aabaabaab", uint8(1))
	f.Fuzz(func(t *testing.T, secret, text string, size uint8) {
		if len(strings.TrimSpace(secret)) < Least || strings.Contains(Hidden+Hidden, strings.TrimSpace(secret)) {
			return
		}
		s := set(secret)
		var out strings.Builder
		l := NewLog(s, &out)
		for at := 0; at < len(text); at += int(size) + 1 {
			_, _ = l.Write([]byte(text[at:min(len(text), at+int(size)+1)]))
		}
		_ = l.Flush()
		if out.String() != s.Redact(text) {
			t.Errorf("in pieces %q, whole %q", out.String(), s.Redact(text))
		}
	})
}

func TestASecretIsSeenInWhateverPiecesItComes(t *testing.T) {
	t.Parallel()
	var set Set
	set.Add([]byte("s3cret"))
	for text, want := range map[string]bool{
		"": false, "s3cre t": false, "a s3cret here": true, "czNjcmV0": true, "733363726574": true, "s3cres3cret": true,
	} {
		for size := 1; size <= 8; size++ {
			s := NewScan(&set)
			for i := 0; i < len(text); i += size {
				s.Write([]byte(text[i:min(len(text), i+size)]))
			}
			if s.Found() != want {
				t.Errorf("%q in pieces of %d: found %v", text, size, s.Found())
			}
		}
	}
	s := NewScan(&Set{})
	if s.Write([]byte("s3cret")); s.Found() {
		t.Error("one was found and there are none")
	}
}
