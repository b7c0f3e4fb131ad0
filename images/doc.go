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
// # image.lock
//
// JSON, version 1. For each platform it has the recipe's words that were
// resolved ("for"), and the packages ("debs") and wheels that came of it, one a
// line: name, version, file name, SHA-256 and size. It never names a mirror or
// an index. A lock of an unknown version is refused. A pin that is no longer to
// be had fails a Locked build with a [*DriftError]; another build resolves
// anew, says so, and returns what it took ([Image.Drifted], [Image.Lock]).
//
// # Layers
//
// A layer is a PAX tar stream: folders depth first, names sorted bytewise,
// owner 0, time 0, modes 0644 and 0755 (01777 for tmp), no extended attributes;
// stored with gzip. The lowest has the folders that a sandbox mounts on, two
// users and, on Debian, the links of the merged /usr; packages unpacked in the
// order of their names without manuals and translations; the links that
// update-alternatives would have made; var/lib/dpkg/status.d/ with what each
// package says of itself; and Python's byte code. Wheels are the second, below
// usr/local/lib/python3.N/dist-packages. Byte code is made by the image's own
// Python, unchecked-hash, with a fixed hash seed, one process for each
// top-level package, because what a process compiled before shows in the next.
//
// # The store
//
// A [Store] is a folder that several programs may use at once. It is an OCI
// image layout (oci-layout, index.json, blobs/sha256/) that any OCI tool
// reads, with more beside it: downloads/ holds packages and wheels by their
// SHA-256, layers/ the unpacked layers by their DiffID, made/ the layer that
// each set of ingredients became and the software found in each image, stat/
// what each producer directory looked like when it was last built, apt/ the
// package lists, locks/ empty files to lock (use-<manifest> by those who run an
// image), and tmp/ what is being made. All but the layout may be deleted while
// nothing runs, and comes again.
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
