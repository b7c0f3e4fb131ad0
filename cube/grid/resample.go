package grid

// Resampling names how values move from one lattice to another.
type Resampling string
