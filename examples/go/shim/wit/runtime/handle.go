package runtime

// Handle is a resource of the host. It is 0 once it was dropped, or given away.
type Handle struct{ value int32 }

// MakeHandle returns a handle.
func MakeHandle(value int32) *Handle { return &Handle{value} }

// Use returns the handle, which stays with the caller; it panics if there is none.
func (h *Handle) Use() int32 {
	if h.value == 0 {
		panic("resource that was dropped or given away")
	}
	return h.value
}

// Take returns the handle and gives it away; it panics if there is none.
func (h *Handle) Take() int32 {
	value := h.Use()
	h.value = 0
	return value
}

// TakeOrNil returns the handle and gives it away; 0 if there is none.
func (h *Handle) TakeOrNil() int32 {
	value := h.value
	h.value = 0
	return value
}

// Set replaces the handle.
func (h *Handle) Set(value int32) { h.value = value }
