// Package runtime provides the memory for data that passes between the host and Go.
//
// The host allocates memory (cabi_realloc) at moments when Go must neither allocate, which can start its garbage
// collector, nor call the host. Therefore the memory is static: a boot area for data that arrives before Go runs, which
// is never freed, and an arena for arguments and results, which is reused after they have been copied (Rewind). Memory
// does not grow with the number of calls.
package runtime

import (
	"runtime"
	"unsafe"
)

const (
	bootSize = 256 << 10
	// ArenaSize is the largest size of the arguments of one call, in bytes: 25,000 klines. The host delivers at most 64.
	ArenaSize = 4 << 20
)

var (
	boot  [bootSize / 8]uint64
	arena [ArenaSize / 8]uint64

	// Bytes in use.
	bootUsed, arenaUsed uintptr
	// Bytes that the host requested since the last Rewind, if they exceed the arena; else 0.
	missing uintptr
	// Whether Go runs. From then on all allocations are arguments and results.
	running bool
)

func init() { running = true }

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	at := take(uintptr(align), uintptr(size))
	if old != 0 && oldSize > 0 {
		from := unsafe.Slice((*byte)(unsafe.Pointer(uintptr(old))), min(oldSize, size))
		copy(unsafe.Slice((*byte)(unsafe.Pointer(at)), size), from)
	}
	return uint32(at)
}

// take returns the address of free memory.
func take(align, size uintptr) uintptr {
	if size == 0 {
		return align
	}
	if !running {
		at := (bootUsed + align - 1) &^ (align - 1)
		if at+size > bootSize {
			return nowhere(align)
		}
		bootUsed = at + size
		return uintptr(unsafe.Pointer(&boot)) + at
	}
	at := (arenaUsed + align - 1) &^ (align - 1)
	if at+size > ArenaSize {
		// A panic cannot print its reason here, because printing calls the host. Overwriting the arena is harmless: the
		// call begins with Unpin, which panics with the reason before anything is read.
		missing = max(missing, at+size)
		if size > ArenaSize {
			return nowhere(align)
		}
		at = 0
	}
	arenaUsed = max(arenaUsed, at+size)
	return uintptr(unsafe.Pointer(&arena)) + at
}

// nowhere returns an address outside the memory, which the host refuses ("realloc return: beyond end of memory").
func nowhere(align uintptr) uintptr { return uintptr(^uint32(0)) &^ (align - 1) }

// Unpin is called by generated code after it has read the arguments. It panics if they did not fit into the arena.
func Unpin() {
	if missing > 0 {
		println("the arguments of one call need", missing, "bytes, and the arena of the Go shim has", ArenaSize)
		panic("klines: the arena is full: deliver fewer klines in one call, or raise ArenaSize in shim/wit/runtime")
	}
}

// Rewind frees the arena. Data of the host must not be read after it.
func Rewind() {
	Unpin()
	arenaUsed = 0
}

// Allocate returns memory in Go's heap that does not move until the pinner releases it.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// The largest alignment is eight bytes.
	memory := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pinner.Pin(memory)
	return memory
}
