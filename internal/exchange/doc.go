// Package exchange takes variables to other formats and brings them in from
// there: [Export] writes GeoTIFF, NetCDF and Zarr, [ImportZarr] reads Zarr.
// Rasters in other formats are read by a driver's image.
package exchange

// InputError says that what was given cannot be brought in, and why.
type InputError struct{ Reason string }

func (e *InputError) Error() string { return e.Reason }
