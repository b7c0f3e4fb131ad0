package containers

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// packed says, or "", by which of its attributes an array means other values than
// it holds: xarray and others take CF's packing, and numbers that stand for nodata,
// off when they read and put them on when they write. Here values are taken as they
// are, and so a nodata number would become data.
func packed(want graph.RequestOutput, meta *zarr.ArrayMeta) string {
	for name, plain := range map[string]float64{"scale_factor": 1, "add_offset": 0} {
		if v, ok := attribute(meta, name); ok && v != plain {
			return fmt.Sprintf("its attribute %s is %v: write the values themselves", name, v)
		}
	}
	for _, name := range []string{"_FillValue", "missing_value"} {
		if v, ok := attribute(meta, name); ok {
			if wrong := otherNodata(want, v); wrong != "" {
				return fmt.Sprintf("its attribute %s has %v mean nodata, and %s", name, v, wrong)
			}
		}
	}
	// In version 2 the attribute goes by the name of the fill value.
	if v2 := meta.Keys.Name == "v2" && meta.DimensionNames != nil; v2 && want.DType.IsFloat() {
		if v := fillOf(meta); v != 0 && !math.IsNaN(v) {
			return fmt.Sprintf("its fill_value is %v, which readers take for nodata, and NaN is: write that", v)
		}
	}
	return ""
}

// otherNodata says why v is not what means nodata in an output, or "".
func otherNodata(want graph.RequestOutput, v float64) string {
	if want.DType.IsFloat() {
		if math.IsNaN(v) {
			return ""
		}
		return "NaN does: write that"
	}
	if want.Fill == nil {
		return "the producer declares no fill"
	}
	if fill, err := strconv.ParseFloat(string(*want.Fill), 64); err == nil && fill == v {
		return ""
	}
	return fmt.Sprintf("the producer declares %s", *want.Fill)
}

// attribute is the number that an attribute holds: as JSON, as the word that JSON
// has none for, or as xarray writes it for Zarr 3, in base64.
func attribute(meta *zarr.ArrayMeta, name string) (float64, bool) {
	switch v := meta.Attributes[name].(type) {
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f, true
		}
		b, err := base64.StdEncoding.DecodeString(v)
		if err == nil && len(b) == 8 {
			return math.Float64frombits(binary.LittleEndian.Uint64(b)), true
		}
	}
	return 0, false
}

// fillOf is the fill value of an array of floats.
func fillOf(meta *zarr.ArrayMeta) float64 {
	switch len(meta.Fill) {
	case 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(meta.Fill)))
	case 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(meta.Fill))
	}
	return 0
}
