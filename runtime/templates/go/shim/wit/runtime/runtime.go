// Package runtime gives memory to what passes between the host and Go.
//
// The host asks for room (cabi_realloc) at moments when Go must neither allocate, which may start its garbage collector,
// nor call the host. So the room is static: a boot area for what comes before Go runs and stays for good, and an arena for
// arguments and results, which begins anew once they have been copied (Rewind). Memory does not grow with calls.
package runtime

import (
	"runtime"
	"unsafe"
)

const (
	bootSize = 256 << 10
	// ArenaSize is the most that one call may bring, in bytes: 25,000 klines. The host hands over 64 at once.
	ArenaSize = 4 << 20
)

var (
	boot  [bootSize / 8]uint64
	arena [ArenaSize / 8]uint64

	// Bytes that are in use.
	bootUsed, arenaUsed uintptr
	// Bytes that were asked for since the last rewind, when that was more than there is.
	missing uintptr
	// Go runs: what comes from now on are arguments and results.
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

// take returns the address of free room.
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
		// A panic could not tell its reason here: printing calls the host. It may overwrite what is in the arena, since
		// nobody reads that: the call begins with Unpin, which tells.
		missing = max(missing, at+size)
		if size > ArenaSize {
			return nowhere(align)
		}
		at = 0
	}
	arenaUsed = max(arenaUsed, at+size)
	return uintptr(unsafe.Pointer(&arena)) + at
}

// nowhere returns an address outside of memory, which the host refuses ("realloc return: beyond end of memory").
func nowhere(align uintptr) uintptr { return uintptr(^uint32(0)) &^ (align - 1) }

// Unpin is called by generated code once it has read the arguments.
func Unpin() {
	if missing > 0 {
		println("the arguments of one call need", missing, "bytes, and the arena of the Go shim has", ArenaSize)
		panic("klines: the arena is full: hand over fewer klines at once, or raise ArenaSize in shim/wit/runtime")
	}
}

// Rewind frees the arena: nothing that the host has handed over may be read any longer.
func Rewind() {
	Unpin()
	arenaUsed = 0
}

// Allocate returns room in Go's heap that stays where it is until the pinner lets go of it.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Eight bytes are the most that anything is aligned to.
	room := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pinner.Pin(room)
	return room
}
