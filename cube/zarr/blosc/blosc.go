// Package blosc reads and writes Blosc 1 buffers: a header, then blocks of
// bytes that are shuffled by the size of an element and compressed each on its
// own. It needs no C library.
//
// A buffer is laid out so, with integers little-endian:
//
//	0  version of the format, 2
//	1  version of the compressor's format, 1
//	2  flags: 1 byte shuffle, 2 stored, 4 bit shuffle, 16 blocks are not split,
//	   and from bit 5 the compressor: blosclz 0, lz4 1, snappy 2, zlib 3, zstd 4
//	3  size of an element
//	4  size of the decoded bytes (uint32)
//	8  size of a block (uint32)
//	12 size of the whole buffer (uint32)
//	16 for each block its place in the buffer (uint32), then the blocks;
//	   a stored buffer has the plain bytes here instead
//
// A block is one stream, or where blocks are split one for each byte of the
// element, except in the last block if that is short. A stream is its size
// (uint32) and its bytes, which are compressed unless the size is that of the
// decoded stream.
//
// Every function may be called from many goroutines at once.
package blosc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrFormat says that a buffer is not one that this package reads.
var ErrFormat = errors.New("blosc: malformed buffer")

// A Compressor is what a buffer's blocks are compressed with.
type Compressor int

// The compressors. Store compresses nothing. Buffers of BloscLZ are read; where
// they are to be written LZ4 is used, which a buffer's header says of itself.
const (
	Store Compressor = iota
	BloscLZ
	LZ4
	LZ4HC
	Zlib
	Zstd
)

// ParseCompressor returns the compressor of that name in Blosc and in Zarr
// metadata: blosclz, lz4, lz4hc, zlib or zstd.
func ParseCompressor(name string) (Compressor, error) {
	i := slices.Index([]string{"blosclz", "lz4", "lz4hc", "zlib", "zstd"}, name)
	if i < 0 {
		return 0, fmt.Errorf("blosc: compressor %.50q", name)
	}
	return BloscLZ + Compressor(i), nil
}

// Shuffle says how bytes are rearranged before they are compressed.
type Shuffle int

// The shuffles. ByteShuffle puts the first bytes of all elements together, then
// the second bytes, and so on; BitShuffle does so with bits.
const (
	NoShuffle Shuffle = iota
	ByteShuffle
	BitShuffle
)

// Config says how to write a buffer.
type Config struct {
	Compressor Compressor
	Level      int // 1 to 9
	Shuffle    Shuffle
	TypeSize   int // bytes of an element; what is not 1 to 255 counts as 1
	BlockSize  int // bytes of a block; 0 chooses
}

const (
	headerSize    = 16
	formatVersion = 2
	streamVersion = 1
	maxBuffer     = 1<<31 - 1 - headerSize

	flagShuffle    = 1 << 0
	flagStored     = 1 << 1
	flagBitShuffle = 1 << 2
	flagFuture     = 1 << 3
	flagWhole      = 1 << 4 // blocks are not split
	formatShift    = 5

	maxSplits      = 16  // elements of more bytes are not split
	minSplitStream = 128 // nor are blocks whose streams would be smaller
)

// Formats of compressed streams, as the flags hold them.
const (
	formatBloscLZ = 0
	formatLZ4     = 1
	formatZlib    = 3
	formatZstd    = 4
)

// header is a parsed and checked header.
type header struct {
	flags     byte
	typeSize  int
	size      int // decoded bytes
	blockSize int
	blocks    int
}

func parseHeader(src []byte) (header, error) {
	var h header
	if len(src) < headerSize {
		return h, fmt.Errorf("%w: %d bytes", ErrFormat, len(src))
	}
	h.flags, h.typeSize = src[2], int(src[3])
	size, blockSize, total := binary.LittleEndian.Uint32(src[4:]), binary.LittleEndian.Uint32(src[8:]), binary.LittleEndian.Uint32(src[12:])
	switch {
	case src[0] != formatVersion || h.flags&flagFuture != 0:
		return h, fmt.Errorf("%w: version %d, flags %#x", ErrFormat, src[0], h.flags)
	case h.flags&flagStored == 0 && src[1] != streamVersion:
		return h, fmt.Errorf("%w: version %d of streams", ErrFormat, src[1])
	case uint64(total) != uint64(len(src)):
		return h, fmt.Errorf("%w: %d bytes, header says %d", ErrFormat, len(src), total)
	case size > maxBuffer:
		return h, fmt.Errorf("%w: header says %d decoded bytes", ErrFormat, size)
	}
	if h.size = int(size); h.size == 0 {
		return h, nil
	}
	if h.typeSize == 0 || blockSize == 0 || blockSize > size {
		return h, fmt.Errorf("%w: elements of %d bytes in blocks of %d", ErrFormat, h.typeSize, blockSize)
	}
	h.blockSize = int(blockSize)
	h.blocks = (h.size + h.blockSize - 1) / h.blockSize
	if h.flags&flagStored != 0 {
		if len(src) != headerSize+h.size {
			return h, fmt.Errorf("%w: %d stored bytes, header says %d", ErrFormat, len(src)-headerSize, h.size)
		}
	} else if h.blocks > (len(src)-headerSize)/4 {
		return h, fmt.Errorf("%w: %d bytes cannot hold %d blocks", ErrFormat, len(src), h.blocks)
	}
	return h, nil
}

// streams is the number of streams in a block.
func (h header) streams(short bool) int {
	if h.flags&flagWhole != 0 || short || h.typeSize > maxSplits || h.blockSize/h.typeSize < minSplitStream {
		return 1
	}
	return h.typeSize
}

// shuffle is what a block of n bytes was rearranged with.
func (h header) shuffle(n int) Shuffle {
	switch {
	case h.flags&flagShuffle != 0 && h.typeSize > 1:
		return ByteShuffle
	case h.flags&flagShuffle == 0 && h.flags&flagBitShuffle != 0 && n >= h.typeSize:
		return BitShuffle
	}
	return NoShuffle
}

// DecodedSize is the number of bytes that src decodes to, by its header. It may
// be far more than src could hold; bound it before allocating.
func DecodedSize(src []byte) (int, error) {
	h, err := parseHeader(src)
	return h.size, err
}

// Decompress decodes src into dst, which must have the decoded size.
func Decompress(dst, src []byte) error {
	h, err := parseHeader(src)
	if err != nil {
		return err
	}
	if len(dst) != h.size {
		return fmt.Errorf("%w: %d decoded bytes, want %d", ErrFormat, h.size, len(dst))
	}
	return h.decompress(dst, src, 0)
}

// DecompressRange decodes the bytes from offset on into dst; it decodes no
// block that dst does not need.
func DecompressRange(dst, src []byte, offset int) error {
	h, err := parseHeader(src)
	if err != nil {
		return err
	}
	if offset < 0 || offset > h.size || len(dst) > h.size-offset {
		return fmt.Errorf("%w: bytes %d to %d of %d", ErrFormat, offset, offset+len(dst), h.size)
	}
	return h.decompress(dst, src, offset)
}

// buffer is pooled memory.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// size returns n bytes of the buffer, whose content is lost.
func (b *buffer) size(n int) []byte {
	if cap(b.b) < n {
		b.b = make([]byte, n)
	}
	return b.b[:n]
}

// decompress decodes the bytes from offset on that dst has room for.
func (h header) decompress(dst, src []byte, offset int) error {
	if len(dst) == 0 {
		return nil
	}
	if h.flags&flagStored != 0 {
		copy(dst, src[headerSize+offset:])
		return nil
	}
	end := offset + len(dst)
	scratch := buffers.Get().(*buffer)
	defer buffers.Put(scratch)
	for i := offset / h.blockSize; i*h.blockSize < end; i++ {
		lo := i * h.blockSize
		hi := min(lo+h.blockSize, h.size)
		if lo >= offset && hi <= end {
			if err := h.block(dst[lo-offset:hi-offset], src, i, scratch); err != nil {
				return err
			}
			continue
		}
		part := buffers.Get().(*buffer)
		whole := part.size(hi - lo)
		err := h.block(whole, src, i, scratch)
		if err == nil {
			copy(dst[max(lo-offset, 0):], whole[max(offset-lo, 0):min(hi, end)-lo])
		}
		buffers.Put(part)
		if err != nil {
			return err
		}
	}
	return nil
}

// block decodes block i into dst, which is as long as the block.
func (h header) block(dst, src []byte, i int, scratch *buffer) error {
	at := uint64(binary.LittleEndian.Uint32(src[headerSize+4*i:]))
	out := dst
	shuffle := h.shuffle(len(dst))
	if shuffle != NoShuffle {
		out = scratch.size(len(dst))
	}
	n := h.streams(len(dst) < h.blockSize)
	size := len(dst) / n
	if size*n != len(dst) {
		return fmt.Errorf("%w: block %d of %d bytes in %d streams", ErrFormat, i, len(dst), n)
	}
	for j := range n {
		if at+4 > uint64(len(src)) {
			return fmt.Errorf("%w: block %d lies outside the buffer", ErrFormat, i)
		}
		packed := uint64(binary.LittleEndian.Uint32(src[at:]))
		at += 4
		if packed > uint64(len(src))-at {
			return fmt.Errorf("%w: block %d ends outside the buffer", ErrFormat, i)
		}
		if err := h.stream(out[j*size:(j+1)*size], src[at:at+packed]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		at += packed
	}
	switch shuffle {
	case ByteShuffle:
		unshuffleBytes(dst, out, h.typeSize)
	case BitShuffle:
		unshuffleBits(dst, out, h.typeSize)
	}
	return nil
}

// stream decodes one stream into dst.
func (h header) stream(dst, src []byte) error {
	if len(src) == len(dst) {
		copy(dst, src)
		return nil
	}
	n, err := decodeStream(dst, src, int(h.flags>>formatShift))
	if err != nil {
		return err
	}
	if n != len(dst) {
		return fmt.Errorf("%w: stream of %d bytes, want %d", ErrFormat, n, len(dst))
	}
	return nil
}

// AppendCompress appends the buffer of src to dst.
func AppendCompress(dst, src []byte, conf Config) ([]byte, error) {
	if len(src) > maxBuffer {
		return dst, fmt.Errorf("blosc: %d bytes are too many", len(src))
	}
	if conf.TypeSize < 1 || conf.TypeSize > 255 {
		conf.TypeSize = 1
	}
	start := len(dst)
	dst = slices.Grow(dst, headerSize+len(src))
	if conf.Compressor == Store || len(src) < minSplitStream {
		return appendStored(dst, src, conf), nil
	}
	out, err := appendBlocks(dst, src, conf)
	if err != nil {
		return dst[:start], err
	}
	if len(out)-start >= headerSize+len(src) {
		return appendStored(out[:start], src, conf), nil
	}
	return out, nil
}

// appendStored appends a buffer that holds src as it is.
func appendStored(dst, src []byte, conf Config) []byte {
	h := header{flags: flagStored, typeSize: conf.TypeSize, size: len(src), blockSize: max(len(src), 1)}
	dst = h.append(dst, headerSize+len(src))
	return append(dst, src...)
}

// append appends the header of a buffer of total bytes.
func (h header) append(dst []byte, total int) []byte {
	dst = append(dst, formatVersion, streamVersion, h.flags, byte(h.typeSize))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.size))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.blockSize))
	return binary.LittleEndian.AppendUint32(dst, uint32(total))
}

// appendBlocks appends a buffer of compressed blocks, which may come out larger
// than src is.
func appendBlocks(dst, src []byte, conf Config) ([]byte, error) {
	h := header{flags: conf.flags(), typeSize: conf.TypeSize, size: len(src), blockSize: conf.blockSize(len(src))}
	h.blocks = (h.size + h.blockSize - 1) / h.blockSize
	start := len(dst)
	dst = h.append(dst, 0)
	places := len(dst)
	dst = slices.Grow(dst, 4*h.blocks)[:places+4*h.blocks]
	scratch := buffers.Get().(*buffer)
	defer buffers.Put(scratch)
	for i := range h.blocks {
		binary.LittleEndian.PutUint32(dst[places+4*i:], uint32(len(dst)-start))
		block := src[i*h.blockSize : min((i+1)*h.blockSize, h.size)]
		var err error
		if dst, err = h.appendBlock(dst, block, conf, scratch); err != nil {
			return dst, err
		}
	}
	binary.LittleEndian.PutUint32(dst[start+12:], uint32(len(dst)-start))
	return dst, nil
}

// appendBlock shuffles one block and appends its streams.
func (h header) appendBlock(dst, block []byte, conf Config, scratch *buffer) ([]byte, error) {
	switch h.shuffle(len(block)) {
	case ByteShuffle:
		out := scratch.size(len(block))
		shuffleBytes(out, block, h.typeSize)
		block = out
	case BitShuffle:
		out := scratch.size(len(block))
		shuffleBits(out, block, h.typeSize)
		block = out
	}
	n := h.streams(len(block) < h.blockSize)
	size := len(block) / n
	for j := range n {
		stream := block[j*size : (j+1)*size]
		at := len(dst)
		dst = binary.LittleEndian.AppendUint32(dst, 0)
		out, err := appendStream(dst, stream, conf)
		if err != nil {
			return dst, err
		}
		if len(out)-len(dst) >= size || len(out) == len(dst) {
			out = append(dst, stream...)
		}
		binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-len(dst)))
		dst = out
	}
	return dst, nil
}

// flags are the header's flags for compressed blocks.
func (c Config) flags() byte {
	var f byte
	switch c.Shuffle {
	case ByteShuffle:
		f |= flagShuffle
	case BitShuffle:
		f |= flagBitShuffle
	}
	switch c.Compressor {
	case Zlib:
		f |= formatZlib << formatShift
	case Zstd:
		f |= formatZstd<<formatShift | flagWhole
	default:
		f |= formatLZ4 << formatShift
	}
	return f
}

// blockSize chooses the size of the blocks of n bytes: a multiple of eight
// elements, so that shuffles are whole.
func (c Config) blockSize(n int) int {
	size := c.BlockSize
	if size == 0 {
		size = 256 << 10
	}
	size = max(size, minSplitStream)
	if unit := 8 * c.TypeSize; size > unit {
		size -= size % unit
	}
	return min(size, n)
}
