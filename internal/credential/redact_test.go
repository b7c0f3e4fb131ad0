package credential

import "testing"

func TestCredentialsAreTakenOutOfAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"dem.tif": "dem.tif",
		"https://example.org/a/b.tif?x=1&y=2#frag":                                                       "https://example.org/a/b.tif?x=1&y=2#frag",
		"https://me:secret@example.org/a":                                                                "https://REDACTED@example.org/a",
		"https://me:p@ss@example.org/a":                                                                  "https://REDACTED@example.org/a",
		"s3://bucket/key?X-Amz-Signature=abc&X-Amz-Credential=d%2Fe&X-Amz-Date=1":                        "s3://bucket/key?X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Date=1",
		"https://api.example.org/v1?API_KEY=1234&q=fire":                                                 "https://api.example.org/v1?API_KEY=REDACTED&q=fire",
		"https://example.org/v1?%61pi_key=1234":                                                          "https://example.org/v1?%61pi_key=REDACTED",
		"https://x.blob.example.net/c/f?sv=2020&sig=abc%3D":                                              "https://x.blob.example.net/c/f?sv=2020&sig=REDACTED",
		"https://example.org/cb#access_token=abc":                                                        "https://example.org/cb#access_token=REDACTED",
		"https://firms.example.gov/api/area/csv/0123456789abcdef0123456789ABCDEF/VIIRS_SNPP_NRT/world/1": "https://firms.example.gov/api/area/csv/REDACTED/VIIRS_SNPP_NRT/world/1",
		"https://example.org/data/0123456789abcdef0123456789abcdef.tif":                                  "https://example.org/data/0123456789abcdef0123456789abcdef.tif",
		"https://example.org/?keyword=fire&author=me":                                                    "https://example.org/?keyword=fire&author=me",
		"get https://u:p@h/x: 403 see http://h/?token=t":                                                 "get https://REDACTED@h/x: 403 see http://h/?token=REDACTED",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q)\n got %q\nwant %q", in, got, want)
		}
		if again := Redact(want); again != want {
			t.Errorf("redacted twice: %q", again)
		}
	}
}
