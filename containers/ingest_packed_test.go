package containers

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

func TestValuesThatStandForOthersAreToldByTheirAttributes(t *testing.T) {
	t.Parallel()
	fill := graph.Number("255")
	float, byteOf255, byteOfNone := graph.RequestOutput{DType: graph.Float32}, graph.RequestOutput{DType: graph.Uint8, Fill: &fill}, graph.RequestOutput{DType: graph.Uint8}
	number := func(s string) any { return json.Number(s) }
	const none, minus9999 = "AAAAAAAA+H8=", "AAAAAICHw8A=" // as xarray writes NaN and −9999
	filled := func(v float32) []byte { return binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)) }
	v2 := zarr.KeyEncoding{Name: "v2"}
	for name, c := range map[string]struct {
		want graph.RequestOutput
		meta zarr.ArrayMeta
		says string // "": they are what they are
	}{
		"nothing":               {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"units": "m"}}, ""},
		"a scale":               {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"scale_factor": number("0.1")}}, "scale_factor is 0.1"},
		"a scale of one":        {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"scale_factor": number("1.0"), "add_offset": number("0")}}, ""},
		"an offset":             {byteOfNone, zarr.ArrayMeta{Attributes: zarr.Attributes{"add_offset": number("273.15")}}, "add_offset is 273.15"},
		"NaN of xarray":         {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": none}}, ""},
		"NaN in words":          {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": "NaN"}}, ""},
		"a number of xarray":    {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": minus9999}}, "_FillValue has -9999 mean nodata"},
		"a number":              {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"missing_value": number("-9999")}}, "missing_value has -9999 mean nodata"},
		"the declared integer":  {byteOf255, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": number("255")}}, ""},
		"another integer":       {byteOf255, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": number("0")}}, "the producer declares 255"},
		"an undeclared integer": {byteOfNone, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": number("0")}}, "the producer declares no fill"},
		"a fill of version 3":   {float, zarr.ArrayMeta{DimensionNames: []string{"y", "x"}, Fill: filled(1)}, ""},
		"a fill of version 2":   {float, zarr.ArrayMeta{Keys: v2, DimensionNames: []string{"y", "x"}, Fill: filled(-9999)}, "fill_value is -9999"},
		"NaN of version 2":      {float, zarr.ArrayMeta{Keys: v2, DimensionNames: []string{"y", "x"}, Fill: filled(float32(math.NaN()))}, ""},
		"none of version 2":     {float, zarr.ArrayMeta{Keys: v2, DimensionNames: []string{"y", "x"}}, ""},
		"a plain array of 2":    {float, zarr.ArrayMeta{Keys: v2, Fill: filled(1)}, ""},
		"an attribute of words": {float, zarr.ArrayMeta{Attributes: zarr.Attributes{"_FillValue": "none", "scale_factor": "large", "add_offset": nil}}, ""},
	} {
		if got := packed(c.want, &c.meta); (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}
