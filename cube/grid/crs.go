package grid

// CRS names a coordinate reference system by its authority's code, such as
// "EPSG:32610". The empty CRS is unknown and fits nothing.
type CRS string
