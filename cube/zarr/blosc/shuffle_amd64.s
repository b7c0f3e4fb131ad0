//go:build amd64 && !purego

#include "textflag.h"

// mask keeps the low byte of every 16 bits.
DATA mask<>+0(SB)/8, $0x00ff00ff00ff00ff
DATA mask<>+8(SB)/8, $0x00ff00ff00ff00ff
GLOBL mask<>(SB), RODATA|NOPTR, $16

// ARGS loads the arguments: DI dst, SI src, DX stride, CX elements, and R8 three
// strides.
#define ARGS \
	MOVQ dst+0(FP), DI    \
	MOVQ src+8(FP), SI    \
	MOVQ stride+16(FP), DX \
	MOVQ n+24(FP), CX     \
	LEAQ (DX)(DX*2), R8

// SPLIT makes of the 32 bytes in a and b the even ones in a and the odd ones in
// odd. X15 holds the mask; b is lost.
#define SPLIT(a, b, odd, t) \
	MOVOU a, odd     \
	MOVOU b, t       \
	PAND  X15, a     \
	PAND  X15, b     \
	PACKUSWB b, a    \
	PSRLW $8, odd    \
	PSRLW $8, t      \
	PACKUSWB t, odd

// MERGE interleaves the units of lo and hi: the first half into lo, the second
// into t.
#define MERGEB(lo, hi, t) \
	MOVOU lo, t      \
	PUNPCKLBW hi, lo \
	PUNPCKHBW hi, t
#define MERGEW(lo, hi, t) \
	MOVOU lo, t      \
	PUNPCKLWL hi, lo \
	PUNPCKHWL hi, t
#define MERGEL(lo, hi, t) \
	MOVOU lo, t      \
	PUNPCKLLQ hi, lo \
	PUNPCKHLQ hi, t

// func shuffle2SSE2(dst, src *byte, stride, n int)
TEXT ·shuffle2SSE2(SB), NOSPLIT, $0-32
	ARGS
	MOVOU mask<>(SB), X15
loop:
	MOVOU (SI), X0
	MOVOU 16(SI), X1
	SPLIT(X0, X1, X2, X3)
	MOVOU X0, (DI)
	MOVOU X2, (DI)(DX*1)
	ADDQ $32, SI
	ADDQ $16, DI
	SUBQ $16, CX
	JNZ  loop
	RET

// func shuffle4SSE2(dst, src *byte, stride, n int)
TEXT ·shuffle4SSE2(SB), NOSPLIT, $0-32
	ARGS
	MOVOU mask<>(SB), X15
loop:
	MOVOU (SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	SPLIT(X0, X1, X4, X8)  // X0: bytes 0 and 2 of elements 0-7, X4: 1 and 3
	SPLIT(X2, X3, X5, X9)  // X2, X5: the same of elements 8-15
	SPLIT(X0, X2, X6, X10) // X0: bytes 0, X6: bytes 2
	SPLIT(X4, X5, X7, X11) // X4: bytes 1, X7: bytes 3
	MOVOU X0, (DI)
	MOVOU X4, (DI)(DX*1)
	MOVOU X6, (DI)(DX*2)
	MOVOU X7, (DI)(R8*1)
	ADDQ $64, SI
	ADDQ $16, DI
	SUBQ $16, CX
	JNZ  loop
	RET

// func unshuffle2SSE2(dst, src *byte, stride, n int)
TEXT ·unshuffle2SSE2(SB), NOSPLIT, $0-32
	ARGS
loop:
	MOVOU (SI), X0
	MOVOU (SI)(DX*1), X1
	MERGEB(X0, X1, X2)
	MOVOU X0, (DI)
	MOVOU X2, 16(DI)
	ADDQ $16, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JNZ  loop
	RET

// func unshuffle4SSE2(dst, src *byte, stride, n int)
TEXT ·unshuffle4SSE2(SB), NOSPLIT, $0-32
	ARGS
loop:
	MOVOU (SI), X0
	MOVOU (SI)(DX*1), X1
	MOVOU (SI)(DX*2), X2
	MOVOU (SI)(R8*1), X3
	MERGEB(X0, X1, X4) // X0: bytes 0 and 1 of elements 0-7, X4: of 8-15
	MERGEB(X2, X3, X5) // X2, X5: bytes 2 and 3
	MERGEW(X0, X2, X6) // X0: elements 0-3, X6: 4-7
	MERGEW(X4, X5, X7) // X4: elements 8-11, X7: 12-15
	MOVOU X0, (DI)
	MOVOU X6, 16(DI)
	MOVOU X4, 32(DI)
	MOVOU X7, 48(DI)
	ADDQ $16, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JNZ  loop
	RET

// func unshuffle8SSE2(dst, src *byte, stride, n int)
TEXT ·unshuffle8SSE2(SB), NOSPLIT, $0-32
	ARGS
	LEAQ (SI)(DX*4), R9 // planes 4 to 7
loop:
	MOVQ (SI), X0
	MOVQ (SI)(DX*1), X1
	MOVQ (SI)(DX*2), X2
	MOVQ (SI)(R8*1), X3
	MOVQ (R9), X4
	MOVQ (R9)(DX*1), X5
	MOVQ (R9)(DX*2), X6
	MOVQ (R9)(R8*1), X7
	PUNPCKLBW X1, X0
	PUNPCKLBW X3, X2
	PUNPCKLBW X5, X4
	PUNPCKLBW X7, X6
	MERGEW(X0, X2, X8)  // X0: bytes 0-3 of elements 0-3, X8: of 4-7
	MERGEW(X4, X6, X9)  // X4, X9: bytes 4-7
	MERGEL(X0, X4, X10) // X0: elements 0 and 1, X10: 2 and 3
	MERGEL(X8, X9, X11) // X8: elements 4 and 5, X11: 6 and 7
	MOVOU X0, (DI)
	MOVOU X10, 16(DI)
	MOVOU X8, 32(DI)
	MOVOU X11, 48(DI)
	ADDQ $8, SI
	ADDQ $8, R9
	ADDQ $64, DI
	SUBQ $8, CX
	JNZ  loop
	RET
