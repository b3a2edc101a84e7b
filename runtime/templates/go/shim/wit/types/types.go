// Package types holds the WIT types that Go does not have, as generated code uses them.
package types

// Unit is the value of what has none.
type Unit struct{}

// Tags of Option and Result.
const (
	OptionNone = iota
	OptionSome
)
const (
	ResultOk = iota
	ResultErr
)

// Option is a value or nothing.
type Option[T any] struct {
	some  bool
	value T
}

// Some returns an option with a value.
func Some[T any](value T) Option[T] { return Option[T]{true, value} }

// None returns an option without one.
func None[T any]() Option[T] { return Option[T]{} }

// Tag tells which case it is.
func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// IsSome tells whether there is a value.
func (o Option[T]) IsSome() bool { return o.some }

// Some returns the value; there has to be one.
func (o Option[T]) Some() T {
	if !o.some {
		panic("option without a value")
	}
	return o.value
}

// Result is what came of a call, or why nothing did.
type Result[T, E any] struct {
	failed bool
	ok     T
	err    E
}

// Ok returns the result of a call that succeeded.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{ok: value} }

// Err returns the result of a call that failed.
func Err[T, E any](value E) Result[T, E] { return Result[T, E]{failed: true, err: value} }

// Tag tells which case it is.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// IsErr tells whether the call failed.
func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok returns what came of it; it has to have succeeded.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("result of a call that failed")
	}
	return r.ok
}

// Err returns why it failed; it has to have.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("result of a call that succeeded")
	}
	return r.err
}
