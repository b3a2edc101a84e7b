// Package klines is the contract of klines in Go's idiom: implement Consumer, and New in your package returns it.
//
// Everything that it hands over is a copy: keep what you like.
package klines

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.bytecodealliance.org/pkg/wit/runtime"
	"wit_component/klines_consumer_emit"
	"wit_component/klines_consumer_host"
	"wit_component/klines_consumer_state"
	"wit_component/klines_consumer_types"
)

// Consumer takes klines. It may also be a Starter and a Stopper.
type Consumer interface {
	// Setup reads the settings and says what is wanted. It is also called on a Consumer of its own to check settings,
	// so it does nothing but fill the struct.
	Setup(settings Settings) (Subscription, error)
	// Consume takes one batch. The same klines may come again after a failure or a restart.
	Consume(batch Batch) error
}

// Starter is called before the first batch.
type Starter interface{ Start() error }

// Stopper is called at the end, never after a crash.
type Stopper interface{ Stop() }

// Category is Bybit's product category.
type Category uint8

// The categories.
const (
	Linear Category = iota
	Spot
	Inverse
	Option
)

// Unit is the unit of an interval.
type Unit uint8

// The units.
const (
	Millisecond Unit = iota
	Second
	Minute
	Hour
	Day
	Week
	Month
)

// Interval is how long a kline's window is.
type Interval struct {
	Count uint32
	Unit  Unit
}

// String returns the interval as configurations have it, such as 5m or 1D.
func (i Interval) String() string {
	units := [...]string{"ms", "s", "m", "h", "D", "W", "M"}
	if int(i.Unit) >= len(units) {
		return "?"
	}
	return strconv.FormatUint(uint64(i.Count), 10) + units[i.Unit]
}

// Quality is how much a kline is known to be worth.
type Quality uint8

// The qualities; wit/v1/types.wit says what they mean.
const (
	Complete Quality = iota
	Partial
	Gapped
	Repaired
)

// Kline is one candlestick. Times are milliseconds since 1970 (UTC); prices and amounts are the nearest floats of exact
// decimals, which Exact returns.
type Kline struct {
	Category       Category
	Symbol         string
	Interval       Interval
	Start, End     uint64
	Open           float64
	High           float64
	Low            float64
	Close          float64
	Volume         float64
	Turnover       float64
	BuyVolume      float64
	BuyTurnover    float64
	PriceDecimals  uint8
	VolumeDecimals uint8
	Trades         uint64
	LastTradeTime  uint64
	Confirm        bool
	Revision       uint32
	Quality        Quality
	Sequence       uint64
	Emitted        uint64

	row uint32
}

// Batch is what one call hands over. Its klines' methods work until Consume returns.
type Batch struct {
	Klines []Kline
	// Confirmed klines that should have come and never will.
	Lost uint64
}

// Subscription is what a consumer wants; the zero value is everything, updates of open windows included.
type Subscription struct {
	Symbols    []string
	Intervals  []Interval
	ClosedOnly bool
}

// Emit publishes a value of a series of this consumer's own for the kline.
func (k *Kline) Emit(series string, value float64) error {
	return emit(k.row, series, klines_consumer_emit.MakeValueNumber(value))
}

// EmitJSON publishes a value that json.Marshal understands, at most 4 KiB of text.
func (k *Kline) EmitJSON(series string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return emit(k.row, series, klines_consumer_emit.MakeValueJson(string(text)))
}

func emit(row uint32, series string, value klines_consumer_emit.Value) error {
	result := klines_consumer_emit.Publish(row, series, value)
	defer runtime.Rewind()
	if result.IsErr() {
		return errors.New("emit " + series + ": " + result.Err())
	}
	return nil
}

// Exact is the decimal digits of a kline.
type Exact struct {
	Open, High, Low, Close, Volume, Turnover, BuyVolume, BuyTurnover string
}

// Exact returns the kline's digits as the exchange means them.
func (k *Kline) Exact() Exact {
	found := klines_consumer_host.Exact(k.row)
	runtime.Unpin()
	defer runtime.Rewind()
	return Exact{
		strings.Clone(found.Open), strings.Clone(found.High), strings.Clone(found.Low), strings.Clone(found.Close),
		strings.Clone(found.Volume), strings.Clone(found.Turnover),
		strings.Clone(found.BuyVolume), strings.Clone(found.BuyTurnover),
	}
}

// Debugf, Infof, Warnf and Errorf write one line to the log of klines.
func Debugf(format string, values ...any) { log(klines_consumer_host.Level_Debug, format, values) }

// Infof writes one line.
func Infof(format string, values ...any) { log(klines_consumer_host.Level_Info, format, values) }

// Warnf writes one line.
func Warnf(format string, values ...any) { log(klines_consumer_host.Level_Warn, format, values) }

// Errorf writes one line.
func Errorf(format string, values ...any) { log(klines_consumer_host.Level_Error, format, values) }

func log(level uint8, format string, values []any) {
	klines_consumer_host.Log(level, fmt.Sprintf(format, values...))
}

// Get returns a value that this consumer has kept, also in an earlier life.
func Get(key string) ([]byte, bool) {
	found := klines_consumer_state.Get(key)
	runtime.Unpin()
	defer runtime.Rewind()
	if !found.IsSome() {
		return nil, false
	}
	return append([]byte(nil), found.Some()...), true
}

// Set keeps a value; it counts once the call in progress has succeeded.
func Set(key string, value []byte) error {
	if len(value) > runtime.ArenaSize/2 {
		return fmt.Errorf("a value of %d bytes could not be read again", len(value))
	}
	result := klines_consumer_state.Set(key, value)
	defer runtime.Rewind()
	if result.IsErr() {
		return errors.New("state " + key + ": " + result.Err())
	}
	return nil
}

// Delete forgets a value and tells whether there was one.
func Delete(key string) bool { return klines_consumer_state.Delete(key) }

// Keys returns the keys that begin with prefix.
func Keys(prefix string) []string {
	found := klines_consumer_state.ListKeys(prefix)
	runtime.Unpin()
	defer runtime.Rewind()
	keys := make([]string, len(found))
	for i, key := range found {
		keys[i] = strings.Clone(key)
	}
	return keys
}

type retry struct{ error }

func (r retry) Unwrap() error { return r.error }

// Retry wraps an error: the same batch is to come again later. Any other error ends the consumer.
func Retry(err error) error { return retry{err} }

func failure(err error) klines_consumer_types.Failure {
	var again retry
	if errors.As(err, &again) {
		return klines_consumer_types.MakeFailureRetry(err.Error())
	}
	return klines_consumer_types.MakeFailureFatal(err.Error())
}
