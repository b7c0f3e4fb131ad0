package cube

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

func TestMergePolicies(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	a, b, c := []float64{1, nan, 3, nan, -1, inf}, []float64{2, 5, nan, nan, -1, math.Inf(-1)}, []float64{4, nan, nan, nan, -1, nan}
	for policy, want := range map[graph.MergePolicy][]float64{
		graph.First:       {1, 5, 3, nan, -1, inf},
		graph.MonotoneMax: {4, 5, 3, nan, -1, inf},
		graph.MonotoneMin: {1, 5, 3, nan, -1, math.Inf(-1)},
		graph.SumOf:       {7, 5, 3, nan, -3, nan},
		graph.MeanOf:      {7.0 / 3, 5, 3, nan, -1, nan},
	} {
		got := make([]byte, 48)
		if err := Merge(policy, graph.Float64, nil, got, [][]byte{zarr.Bytes(a), zarr.Bytes(b), zarr.Bytes(c)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, numbers[float64](got), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
	fill := graph.Number("-1")
	x, y := []int16{7, -1, 3, -1}, []int16{8, 2, -1, -1}
	for policy, want := range map[graph.MergePolicy][]int16{
		graph.First: {7, 2, 3, -1}, graph.MonotoneMax: {8, 2, 3, -1}, graph.MonotoneMin: {7, 2, 3, -1}, graph.SumOf: {15, 2, 3, -1}, graph.MeanOf: {8, 2, 3, -1},
	} {
		got := make([]byte, 8)
		if err := Merge(policy, graph.Int16, &fill, got, [][]byte{zarr.Bytes(x), zarr.Bytes(y)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, numbers[int16](got)); diff != "" {
			t.Errorf("int16 %s (-want +got):\n%s", policy, diff)
		}
	}
	if err := Merge(graph.MonotoneMin, graph.Int16, nil, make([]byte, 8), [][]byte{zarr.Bytes(x), zarr.Bytes(y)}); err != nil {
		t.Fatal(err)
	}
}

func TestMergeErrorsSayWhere(t *testing.T) {
	t.Parallel()
	dst := make([]byte, 12)
	nan := float32(math.NaN())
	a, b, c := []float32{1, nan, 3}, []float32{1, 2, nan}, []float32{nan, 2, 4}
	err := Merge(graph.ErrorOn, graph.Float32, nil, dst, [][]byte{zarr.Bytes(a), zarr.Bytes(b), zarr.Bytes(c)})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || *conflict != (ConflictError{Cell: 2, First: 0, Next: 2, A: "3", B: "4"}) {
		t.Errorf("conflict: %v", err)
	}
	if err := Merge(graph.ErrorOn, graph.Float32, nil, dst, [][]byte{zarr.Bytes(a), zarr.Bytes(b)}); err != nil {
		t.Errorf("no conflict: %v", err)
	}
	var rangeErr *RangeError
	if err := Merge(graph.SumOf, graph.Uint8, nil, make([]byte, 2), [][]byte{{1, 200}, {2, 100}}); !errors.As(err, &rangeErr) || rangeErr.Cell != 1 || rangeErr.Value != "300" {
		t.Errorf("overflow: %v", err)
	}
	three := graph.Number("3")
	if err := Merge(graph.SumOf, graph.Uint8, &three, make([]byte, 1), [][]byte{{1}, {2}}); !errors.As(err, &rangeErr) {
		t.Errorf("a sum that means nodata: %v", err)
	}
	big := []int64{math.MaxInt64, math.MinInt64, math.MaxInt64}
	got := make([]byte, 24)
	if err := Merge(graph.MeanOf, graph.Int64, nil, got, [][]byte{zarr.Bytes(big), zarr.Bytes(big), zarr.Bytes(big)}); err != nil || !bytes.Equal(got, zarr.Bytes(big)) {
		t.Errorf("mean of large values: %v, %v", numbers[int64](got), err)
	}
	if err := Merge(graph.SumOf, graph.Int64, nil, got, [][]byte{zarr.Bytes(big), zarr.Bytes(big)}); !errors.As(err, &rangeErr) || rangeErr.Value != "18446744073709551614" {
		t.Errorf("sum of large values: %v", err)
	}
	for name, err := range map[string]error{
		"two to replace":  Merge(graph.Replace, graph.Uint8, nil, make([]byte, 1), [][]byte{{1}, {2}}),
		"none to replace": Merge(graph.Replace, graph.Uint8, nil, make([]byte, 1), nil),
		"lengths":         Merge(graph.First, graph.Uint8, nil, make([]byte, 1), [][]byte{{1, 2}}),
		"half a value":    Merge(graph.First, graph.Uint16, nil, make([]byte, 1), [][]byte{{1}}),
		"a sum of truths": Merge(graph.SumOf, graph.Bool, nil, make([]byte, 1), [][]byte{{1}}),
		"a dtype":         Merge(graph.First, "float16", nil, make([]byte, 2), [][]byte{{1, 2}}),
		"a policy":        Merge("newest", graph.Uint8, nil, make([]byte, 1), [][]byte{{1}}),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMeansOfIntegersRoundHalfToEven(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ a, b, want int8 }{{1, 2, 2}, {2, 3, 2}, {-1, -2, -2}, {-2, -3, -2}, {127, 127, 127}, {-128, -128, -128}, {-128, 127, 0}, {-3, 2, 0}, {3, 4, 4}} {
		got := make([]byte, 1)
		if err := Merge(graph.MeanOf, graph.Int8, nil, got, [][]byte{zarr.Bytes([]int8{tc.a}), zarr.Bytes([]int8{tc.b})}); err != nil || int8(got[0]) != tc.want {
			t.Errorf("mean of %d and %d is %d, want %d: %v", tc.a, tc.b, int8(got[0]), tc.want, err)
		}
	}
}

// randomField holds nodata, zeros of both signs, infinities and ties.
func randomField(r *rand.Rand, n int) []byte {
	v := make([]float32, n)
	for i := range v {
		v[i] = []float32{float32(math.NaN()), 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), r.Float32(), float32(r.IntN(3))}[r.IntN(7)]
	}
	return zarr.Bytes(v)
}

// TestMaxAndMinNeitherOrderNorRepetitionChange is the algebra that lets a retry
// or another order of completion not show: commutative, associative, idempotent.
func TestMaxAndMinNeitherOrderNorRepetitionChange(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, policy := range []graph.MergePolicy{graph.MonotoneMax, graph.MonotoneMin} {
		for range 50 {
			const n = 200
			fields := [][]byte{randomField(r, n), randomField(r, n), randomField(r, n), randomField(r, n)}
			merge := func(in ...[]byte) []byte {
				dst := make([]byte, 4*n)
				if err := Merge(policy, graph.Float32, nil, dst, in); err != nil {
					t.Fatal(err)
				}
				CanonicalNaN(graph.Float32, dst)
				return dst
			}
			want := merge(fields...)
			shuffled := slices.Clone(fields)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for name, got := range map[string][]byte{
				"another order": merge(shuffled...),
				"repeated":      merge(append(shuffled, shuffled...)...),
				"by halves":     merge(merge(fields[0], fields[2]), merge(fields[1], fields[3])),
				"once more":     merge(want, fields[1]),
			} {
				if !bytes.Equal(got, want) {
					t.Fatalf("%s: %s gives other bytes", policy, name)
				}
			}
		}
	}
}

func TestMergeDoesNotDependOnHowItIsCut(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 5))
	fields := [][]byte{randomField(r, 300), randomField(r, 300), randomField(r, 300)}
	for _, policy := range []graph.MergePolicy{graph.First, graph.MonotoneMax, graph.MonotoneMin, graph.SumOf, graph.MeanOf} {
		whole := make([]byte, 1200)
		if err := Merge(policy, graph.Float32, nil, whole, fields); err != nil {
			t.Fatal(err)
		}
		for lo := 0; lo < 1200; lo += 100 {
			part := make([]byte, 100)
			if err := Merge(policy, graph.Float32, nil, part, [][]byte{fields[0][lo : lo+100], fields[1][lo : lo+100], fields[2][lo : lo+100]}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(part, whole[lo:lo+100]) {
				t.Fatalf("%s: a tile differs from the whole", policy)
			}
		}
	}
}
