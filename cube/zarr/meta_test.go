package zarr_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
)

const goodArray = `{
  "zarr_format": 3,
  "node_type": "array",
  "shape": [10, 20],
  "data_type": "int16",
  "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 5]}},
  "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
  "fill_value": -1,
  "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
  "attributes": {"big": 9007199254740993, "one": 1.0},
  "dimension_names": ["y", null]
}`

func TestArrayMetadataSurvivesParsingAndEncoding(t *testing.T) {
	t.Parallel()
	want := &zarr.ArrayMeta{
		Shape: []int{10, 20}, ChunkShape: []int{4, 5}, DataType: zarr.Int16, Fill: []byte{0xff, 0xff},
		Keys:           zarr.KeyEncoding{Name: "default", Separator: "/"},
		Codecs:         []codec.Spec{codec.Little()},
		Attributes:     zarr.Attributes{"big": json.Number("9007199254740993"), "one": json.Number("1.0")},
		DimensionNames: []string{"y", ""},
	}
	got, err := zarr.ParseArray([]byte(goodArray))
	if err != nil {
		t.Fatal(err)
	}
	ignoreSpace := cmp.Transformer("json", func(raw json.RawMessage) string {
		return strings.ReplaceAll(string(raw), " ", "")
	})
	if diff := cmp.Diff(want, got, ignoreSpace); diff != "" {
		t.Errorf("parsed: %s", diff)
	}
	first := encoded(t, got)
	again, err := zarr.ParseArray([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	if second := encoded(t, again); first != second {
		t.Errorf("encoded twice: %s", cmp.Diff(first, second))
	}
	if diff := cmp.Diff([]int{3, 4}, got.Grid()); diff != "" {
		t.Errorf("grid: %s", diff)
	}
	for _, text := range []string{`"zarr_format": 3`, `9007199254740993`, `"one": 1.0`, `null`} {
		if !strings.Contains(first, text) {
			t.Errorf("encoded metadata lacks %s:\n%s", text, first)
		}
	}
}

func TestMetadataThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) string {
		out := strings.Replace(goodArray, old, new, 1)
		if out == goodArray {
			t.Fatalf("nothing replaced: %s", old)
		}
		return out
	}
	field := func(text string) string { return replace(`"zarr_format": 3,`, `"zarr_format": 3,`+text+`,`) }
	grid := func(text string) string {
		return replace(`{"name": "regular", "configuration": {"chunk_shape": [4, 5]}}`, text)
	}
	for name, c := range map[string]struct {
		doc  string
		want error
		text string
	}{
		"not JSON":                {"x", zarr.ErrCorrupt, ""},
		"empty":                   {"", zarr.ErrCorrupt, ""},
		"null":                    {"null", zarr.ErrCorrupt, ""},
		"list":                    {"[]", zarr.ErrCorrupt, ""},
		"trailing":                {goodArray + "{}", zarr.ErrCorrupt, "more than one"},
		"deep":                    {field(`"x":` + strings.Repeat("[", 20000)), zarr.ErrCorrupt, ""},
		"version 2":               {replace(`"zarr_format": 3`, `"zarr_format": 2`), zarr.ErrUnsupported, "zarr_format 2"},
		"group":                   {replace(`"array"`, `"group"`), zarr.ErrCorrupt, "node_type"},
		"unknown field":           {field(`"surprise": 1`), zarr.ErrUnsupported, "surprise"},
		"unknown object":          {field(`"surprise": {"name": "x"}`), zarr.ErrUnsupported, "surprise"},
		"must be understood":      {field(`"surprise": {"must_understand": true}`), zarr.ErrUnsupported, "surprise"},
		"transformers":            {field(`"storage_transformers": [{"name": "x"}]`), zarr.ErrUnsupported, "storage transformers"},
		"unknown type":            {replace(`"int16"`, `"int17"`), zarr.ErrUnsupported, "int17"},
		"configured type":         {replace(`"int16"`, `{"name":"int16","configuration":{"x":1}}`), zarr.ErrUnsupported, "configuration"},
		"raw type of odd bits":    {replace(`"int16"`, `"r12"`), zarr.ErrUnsupported, "r12"},
		"vast raw type":           {replace(`"int16"`, `"r99999999999999999999"`), zarr.ErrUnsupported, "r999"},
		"no shape":                {replace(`"shape": [10, 20],`, ``), zarr.ErrCorrupt, "shape"},
		"negative shape":          {replace(`[10, 20]`, `[10, -20]`), zarr.ErrCorrupt, "shape"},
		"fractional shape":        {replace(`[10, 20]`, `[10, 1.5]`), zarr.ErrCorrupt, "shape"},
		"overflowing shape":       {replace(`[10, 20]`, `[10, 9223372036854775807]`), zarr.ErrCorrupt, "shape"},
		"shape beyond int":        {replace(`[10, 20]`, `[10, 99999999999999999999]`), zarr.ErrCorrupt, "shape"},
		"many dimensions":         {replace(`[10, 20]`, `[`+strings.Repeat("1,", 99)+`1]`), zarr.ErrUnsupported, "dimensions"},
		"chunk shape too short":   {replace(`[4, 5]`, `[4]`), zarr.ErrCorrupt, "chunk shape"},
		"chunk shape of zero":     {replace(`[4, 5]`, `[4, 0]`), zarr.ErrCorrupt, "chunk"},
		"vast chunk":              {replace(`[4, 5]`, `[100000, 100000]`), zarr.ErrUnsupported, "chunk shape"},
		"overflowing chunk":       {replace(`[4, 5]`, `[4611686018427387904, 4]`), zarr.ErrUnsupported, "chunk shape"},
		"irregular grid":          {grid(`{"name": "rectilinear", "configuration": {}}`), zarr.ErrUnsupported, "rectilinear"},
		"grid without name":       {grid(`{}`), zarr.ErrCorrupt, "name"},
		"grid without shape":      {grid(`"regular"`), zarr.ErrCorrupt, "chunk_grid"},
		"grid with more":          {grid(`{"name":"regular","configuration":{"chunk_shape":[4,5],"x":1}}`), zarr.ErrUnsupported, `"x"`},
		"key encoding":            {replace(`"name": "default"`, `"name": "spiral"`), zarr.ErrUnsupported, "spiral"},
		"key separator":           {replace(`"separator": "/"`, `"separator": "../"`), zarr.ErrCorrupt, "separator"},
		"fill of another type":    {replace(`-1`, `"NaN"`), zarr.ErrCorrupt, "fill value"},
		"fill out of range":       {replace(`-1`, `40000`), zarr.ErrCorrupt, "fill value"},
		"null fill":               {replace(`-1`, `null`), zarr.ErrCorrupt, "fill value"},
		"no codecs":               {replace(`[{"name": "bytes", "configuration": {"endian": "little"}}]`, `[]`), zarr.ErrCorrupt, "codecs"},
		"unknown codec":           {replace(`"name": "bytes"`, `"name": "magic"`), zarr.ErrUnsupported, "magic"},
		"names of other length":   {replace(`["y", null]`, `["y"]`), zarr.ErrCorrupt, "dimension names"},
		"attributes of no object": {replace(`{"big": 9007199254740993, "one": 1.0}`, `[1]`), zarr.ErrCorrupt, "attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := zarr.ParseArray([]byte(c.doc))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v that names %q", err, c.want, c.text)
			}
		})
	}
}

func TestMetadataThatNeedNotBeUnderstoodIsPassedOver(t *testing.T) {
	t.Parallel()
	doc := strings.Replace(goodArray, `"zarr_format": 3,`, `"zarr_format": 3, "extra": {"must_understand": false, "x": 1}, "storage_transformers": [],`, 1)
	doc = strings.Replace(doc, `{"name": "bytes", "configuration": {"endian": "little"}}`, `{"name": "bytes", "configuration": {"endian": "little"}, "must_understand": true}, "crc32c"`, 1)
	doc = strings.Replace(doc, `"one": 1.0`, `"one": NaN, "two": [-Infinity, "NaN", "say \"NaN"]`, 1)
	m, err := zarr.ParseArray([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Codecs) != 2 || m.Codecs[1].Name != "crc32c" {
		t.Errorf("codecs: %v", m.Codecs)
	}
	want := zarr.Attributes{"big": json.Number("9007199254740993"), "one": "NaN", "two": []any{"-Infinity", "NaN", `say "NaN`}}
	if diff := cmp.Diff(want, m.Attributes); diff != "" {
		t.Errorf("attributes: %s", diff)
	}
}

func TestFillValuesAreExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    zarr.DType
		in   string
		want string // bytes
		out  string // "" if it is in
	}{
		{zarr.Bool, "true", "\x01", ""},
		{zarr.Bool, "false", "\x00", ""},
		{zarr.Int8, "-128", "\x80", ""},
		{zarr.Int16, "-2", "\xfe\xff", ""},
		{zarr.Int32, "2147483647", "\xff\xff\xff\x7f", ""},
		{zarr.Int64, "-9223372036854775808", "\x00\x00\x00\x00\x00\x00\x00\x80", ""},
		{zarr.Int64, "9007199254740993", "\x01\x00\x00\x00\x00\x00\x20\x00", ""},
		{zarr.Uint8, "255", "\xff", ""},
		{zarr.Uint16, "65535", "\xff\xff", ""},
		{zarr.Uint32, "1", "\x01\x00\x00\x00", ""},
		{zarr.Uint64, "18446744073709551615", "\xff\xff\xff\xff\xff\xff\xff\xff", ""},
		{zarr.Float16, "1.5", "\x00\x3e", ""},
		{zarr.Float16, "65504.0", "\xff\x7b", ""},
		{zarr.Float16, "65519", "\xff\x7b", "65504.0"},
		{zarr.Float16, "65520", "\x00\x7c", `"Infinity"`},
		{zarr.Float16, "5.960464477539063e-08", "\x01\x00", ""},
		{zarr.Float16, "0.00006103515625", "\x00\x04", "6.103515625e-05"},
		{zarr.Float16, "-1e-9", "\x00\x80", "-0.0"},
		{zarr.Float16, `"NaN"`, "\x00\x7e", ""},
		{zarr.Float16, `"0x7e01"`, "\x01\x7e", ""},
		{zarr.Float32, "0", "\x00\x00\x00\x00", "0.0"},
		{zarr.Float32, "-0.0", "\x00\x00\x00\x80", ""},
		{zarr.Float32, "0.1", "\xcd\xcc\xcc\x3d", "0.10000000149011612"},
		{zarr.Float32, "-9999", "\x00\x3c\x1c\xc6", "-9999.0"},
		{zarr.Float32, "1e300", "\x00\x00\x80\x7f", `"Infinity"`},
		{zarr.Float32, `"NaN"`, "\x00\x00\xc0\x7f", ""},
		{zarr.Float32, `"-Infinity"`, "\x00\x00\x80\xff", ""},
		{zarr.Float32, `"0xffc00000"`, "\x00\x00\xc0\xff", ""},
		{zarr.Float64, `"0x7ff8000000000000"`, "\x00\x00\x00\x00\x00\x00\xf8\x7f", `"NaN"`},
		{zarr.Float64, "1e+22", "\x92\xd5\x4d\x06\xcf\xf0\x80\x44", ""},
		{zarr.Float64, "0.1", "\x9a\x99\x99\x99\x99\x99\xb9\x3f", ""},
		{zarr.Complex64, `[1,"NaN"]`, "\x00\x00\x80\x3f\x00\x00\xc0\x7f", `[1.0,"NaN"]`},
		{zarr.Complex128, `[0.0,-0.0]`, strings.Repeat("\x00", 15) + "\x80", ""},
		{zarr.Raw(3), `[1,2,255]`, "\x01\x02\xff", ""},
		{zarr.Raw(3), `"AQL/"`, "\x01\x02\xff", `[1,2,255]`},
	} {
		got, err := c.d.ParseFill(json.RawMessage(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: %x, %v; want %x", c.d, c.in, got, err, c.want)
			continue
		}
		if c.out == "" {
			c.out = c.in
		}
		if back, err := c.d.FormatFill(got); err != nil || string(back) != c.out {
			t.Errorf("%s %s: written as %s, %v; want %s", c.d, c.in, back, err, c.out)
		}
	}
}

func TestFillValuesOfAnotherTypeAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d  zarr.DType
		in string
	}{
		{zarr.Bool, "1"}, {zarr.Int8, "128"}, {zarr.Int8, "1.0"}, {zarr.Int8, "1e1"}, {zarr.Int8, `"1"`}, {zarr.Int8, "0x1"}, {zarr.Uint8, "-1"}, {zarr.Uint64, "18446744073709551616"},
		{zarr.Float32, "null"}, {zarr.Float32, "true"}, {zarr.Float32, `"nan"`}, {zarr.Float32, `"0x7fc0000"`}, {zarr.Float32, `"7fc00000"`}, {zarr.Float32, "1e999"}, {zarr.Float32, ""},
		{zarr.Complex64, "1"}, {zarr.Complex64, "[1]"}, {zarr.Complex64, "[1,2,3]"}, {zarr.Complex64, `[1,"x"]`}, {zarr.Raw(2), "[1]"}, {zarr.Raw(2), "[1,256]"}, {zarr.Raw(2), "7"},
	} {
		if got, err := c.d.ParseFill(json.RawMessage(c.in)); !errors.Is(err, zarr.ErrCorrupt) {
			t.Errorf("%s %s: %x, %v; want ErrCorrupt", c.d, c.in, got, err)
		}
	}
	if _, err := zarr.Int8.FormatFill([]byte{1, 2}); !errors.Is(err, zarr.ErrRange) {
		t.Errorf("two bytes for int8: %v, want ErrRange", err)
	}
}

func TestEveryFloat16SurvivesItsText(t *testing.T) {
	t.Parallel()
	for bits := range 1 << 16 {
		fill := []byte{byte(bits), byte(bits >> 8)}
		text, err := zarr.Float16.FormatFill(fill)
		if err != nil {
			t.Fatal(err)
		}
		back, err := zarr.Float16.ParseFill(text)
		if err != nil || string(back) != string(fill) {
			t.Fatalf("%x is written as %s and read as %x, %v", fill, text, back, err)
		}
	}
}

func TestGroupsHoldTheMetadataOfTheirMembers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := zarr.CreateGroup(ctx, store, "g", zarr.Attributes{"title": "a < b"})
			if err != nil {
				t.Fatal(err)
			}
			meta := &zarr.ArrayMeta{Shape: []int{2}, ChunkShape: []int{2}, DataType: zarr.Uint8}
			for _, member := range []string{"b", "a"} {
				if _, err := g.CreateArray(ctx, member, meta); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := g.CreateArray(ctx, "a", meta); !errors.Is(err, zarr.ErrExist) {
				t.Errorf("create again: %v, want ErrExist", err)
			}
			if _, err := zarr.CreateGroup(ctx, store, "g/sub", nil); err != nil {
				t.Fatal(err)
			}
			sub, err := zarr.OpenGroup(ctx, store, "g/sub")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sub.CreateArray(ctx, "deep", meta); err != nil {
				t.Fatal(err)
			}
			if err := g.Consolidate(ctx); err != nil {
				t.Fatal(err)
			}
			if err := g.SetAttributes(ctx, zarr.Attributes{"title": "c"}); err != nil {
				t.Fatal(err)
			}
			again, err := zarr.OpenGroup(ctx, store, "g")
			if err != nil {
				t.Fatal(err)
			}
			arrays, err := again.Arrays(ctx)
			if diff := cmp.Diff([]string{"a", "b"}, arrays); diff != "" || err != nil {
				t.Errorf("arrays: %v%s", err, diff)
			}
			groups, err := again.Groups(ctx)
			if diff := cmp.Diff([]string{"sub"}, groups); diff != "" || err != nil {
				t.Errorf("groups: %v%s", err, diff)
			}
			if diff := cmp.Diff(zarr.Attributes{"title": "c"}, again.Attributes()); diff != "" {
				t.Error(diff)
			}
			if _, err := again.Array(ctx, "sub/deep"); err != nil {
				t.Error(err)
			}
			if _, err := again.Array(ctx, "none"); !errors.Is(err, zarr.ErrNotExist) {
				t.Errorf("open of none: %v, want ErrNotExist", err)
			}
			if _, err := zarr.OpenGroup(ctx, store, "g/a"); !errors.Is(err, zarr.ErrCorrupt) {
				t.Errorf("open an array as a group: %v", err)
			}
			set(t, store, "plain/zarr.json", `{"zarr_format":3,"node_type":"group"}`)
			set(t, store, "plain/m/zarr.json", goodArray)
			plain, err := zarr.OpenGroup(ctx, store, "plain")
			if err != nil {
				t.Fatal(err)
			}
			arrays, err = plain.Arrays(ctx)
			if diff := cmp.Diff([]string{"m"}, arrays); diff != "" || err != nil || plain.Consolidated() {
				t.Errorf("arrays of a group that is not consolidated: %v%s", err, diff)
			}
		})
	}
}

func TestGroupMetadataThatLeadsElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"zarr_format":3,"node_type":"group","consolidated_metadata":{"kind":"inline","must_understand":false,"metadata":{"../x":{}}}}`,
		`{"zarr_format":3,"node_type":"group","consolidated_metadata":[]}`,
		`{"zarr_format":3,"node_type":"group","attributes":3}`,
		`{"zarr_format":3}`,
	} {
		if _, err := zarr.ParseGroup([]byte(doc)); !errors.Is(err, zarr.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", doc, err)
		}
	}
}

func TestMetadataThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*zarr.ArrayMeta{
		"no type":   {},
		"NaN":       {DataType: zarr.Int8, Attributes: zarr.Attributes{"x": math.NaN()}},
		"long fill": {DataType: zarr.Int8, Fill: []byte{1, 2}},
		"channel":   {DataType: zarr.Int8, Attributes: zarr.Attributes{"x": make(chan int)}},
	} {
		if doc, err := m.Encode(); err == nil {
			t.Errorf("%s: %s", name, doc)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodArray))
	f.Add([]byte(`{"zarr_format":3,"node_type":"group","attributes":{"a":NaN},"consolidated_metadata":{"kind":"inline","must_understand":false,"metadata":{"a":` + goodArray + `}}}`))
	f.Add([]byte(strings.Replace(goodArray, `"int16"`, `"r16"`, 1)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if m, err := zarr.ParseArray(doc); err == nil {
			first := encoded(t, m)
			again, err := zarr.ParseArray([]byte(first))
			if err != nil {
				t.Fatalf("what was written does not parse: %v\n%s", err, first)
			}
			if second := encoded(t, again); first != second {
				t.Fatalf("written differently the second time:\n%s\n%s", first, second)
			}
		}
		if g, err := zarr.ParseGroup(doc); err == nil {
			first, err := g.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := zarr.ParseGroup(first); err != nil {
				t.Fatalf("what was written does not parse: %v\n%s", err, first)
			}
		}
	})
}
