// Package types has the WIT types that Go lacks. Generated code uses them.
package types

// Unit is the type of a result without a value.
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

// Option is an optional value.
type Option[T any] struct {
	some  bool
	value T
}

// Some returns an option with a value.
func Some[T any](value T) Option[T] { return Option[T]{true, value} }

// None returns an option without a value.
func None[T any]() Option[T] { return Option[T]{} }

// Tag returns the case: OptionNone or OptionSome.
func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// IsSome returns whether there is a value.
func (o Option[T]) IsSome() bool { return o.some }

// Some returns the value; it panics if there is none.
func (o Option[T]) Some() T {
	if !o.some {
		panic("option without a value")
	}
	return o.value
}

// Result is the value of a call that succeeded, or the error of one that failed.
type Result[T, E any] struct {
	failed bool
	ok     T
	err    E
}

// Ok returns the result of a call that succeeded.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{ok: value} }

// Err returns the result of a call that failed.
func Err[T, E any](value E) Result[T, E] { return Result[T, E]{failed: true, err: value} }

// Tag returns the case: ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// IsErr returns whether the call failed.
func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok returns the value; it panics if the call failed.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("result of a call that failed")
	}
	return r.ok
}

// Err returns the error; it panics if the call succeeded.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("result of a call that succeeded")
	}
	return r.err
}

// Tuple2 is a pair.
type Tuple2[T0, T1 any] struct {
	F0 T0
	F1 T1
}
