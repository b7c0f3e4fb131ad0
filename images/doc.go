// Package images makes, keeps and unpacks the OCI images that producers run in.
//
// # Building
//
// A producer directory and its [Recipe] become an image with no daemon and no
// base registry: [Store.Build] compiles a Go program for "scratch", or puts a
// Python runtime together from Debian packages and wheels. What came from
// outside is pinned by SHA-256 in image.lock, which stands beside the recipe
// and which [Store.Lock] writes. One source and one lock give one image
// digest, on any machine:
//
//	s, err := images.OpenStore(dir, images.Config{})
//	src := images.Dir("examples/rockies/producers/slope", "slope", recipe, contract)
//	img, err := s.BuildCached(ctx, src, images.BuildOptions{})
//	layers, err := s.Unpack(ctx, img) // directories, lowest first
//
// An image has up to three layers, each made once and shared by all images
// that are made of the same things: the Debian packages, the wheels, and the
// producer's own code. Changing a line of the code makes a new last layer only.
//
// # The store
//
// A [Store] is a folder that several programs may use at once. It is an OCI
// image layout (oci-layout, index.json, blobs/sha256/) that any OCI tool
// reads, with more beside it: downloads/ holds packages and wheels by their
// SHA-256, layers/ the unpacked layers by their DiffID, made/ what has been
// made of what, so that it is not made again, and tmp/ what is being made.
// Everything is written to tmp/ and renamed, so that what has its final name
// is whole.
//
// # Trust
//
// Packages, wheels and the layers of imported images are hostile until
// checked: each is held to its digest, and unpacked within its folder, with
// bounded sizes. What cannot be unpacked safely is refused ([ErrUnsafe]) and
// leaves nothing behind.
package images
