// Package klines is the contract of klines as Go types and functions. Implement Consumer, and return it from a function
// New in your package.
//
// All values that it passes to your code are copies, which you can keep.
package klines

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.bytecodealliance.org/pkg/wit/runtime"
	"wit_component/klines_consumer_emit"
	"wit_component/klines_consumer_history"
	"wit_component/klines_consumer_host"
	"wit_component/klines_consumer_state"
	"wit_component/klines_consumer_types"
)

// Consumer receives klines. It can also implement Starter and Stopper.
type Consumer interface {
	// Setup reads the settings and returns the klines to subscribe to. klines also calls it on a separate Consumer to
	// check settings, so it must do nothing but fill the struct.
	Setup(settings Settings) (Subscription, error)
	// Consume is called for every batch. After a failure or a restart the same klines can be delivered again.
	Consume(batch Batch) error
}

// Starter is implemented by consumers that klines calls once before the first batch.
type Starter interface{ Start() error }

// Stopper is implemented by consumers that klines calls once at the end, but not after a crash.
type Stopper interface{ Stop() }

// Category is a product category of Bybit.
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

// Interval is the length of a kline's window.
type Interval struct {
	Count uint32
	Unit  Unit
}

// String returns the interval as in klines.toml, such as 5m or 1D.
func (i Interval) String() string {
	units := [...]string{"ms", "s", "m", "h", "D", "W", "M"}
	if int(i.Unit) >= len(units) {
		return "?"
	}
	return strconv.FormatUint(uint64(i.Count), 10) + units[i.Unit]
}

// Quality describes how complete a kline is.
type Quality uint8

// The qualities, which wit/v1/types.wit describes.
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

// Batch holds the klines of one call. The methods of the klines work until Consume returns.
type Batch struct {
	Klines []Kline
	// Lost is the number of confirmed klines that were dropped and will not be delivered.
	Lost uint64
}

// Subscription selects the klines of a consumer. The zero value selects all, with updates of open windows.
type Subscription struct {
	Symbols    []string
	Intervals  []Interval
	ClosedOnly bool
}

// Emit emits a value of the named series of this consumer for the kline.
func (k *Kline) Emit(series string, value float64) error {
	return emit(k.row, series, klines_consumer_emit.MakeValueNumber(value))
}

// EmitJSON emits a value as JSON, at most 4 KiB of text.
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

// Newest is a time after every kline, for History.
const Newest = math.MaxInt64

// History returns the last klines of a series whose windows start before the time `before`, oldest first: count of them, 1
// to 1,000, or fewer if klines has stored no more. Call it in Start or Consume: it has all closed klines that were delivered
// to this consumer, and none that were not. Their methods must not be called, because they are in no batch. The error says
// that the consumer does not receive this symbol and interval, or that klines stores nothing, as in a replay.
func History(category Category, symbol string, interval Interval, count int, before uint64) ([]Kline, error) {
	window := klines_consumer_types.Interval{Count: interval.Count, Unit: uint8(interval.Unit)}
	result := klines_consumer_history.Closed(uint8(category), symbol, window, before, uint32(count))
	runtime.Unpin()
	defer runtime.Rewind()
	if result.IsErr() {
		return nil, errors.New("history: " + result.Err())
	}
	found := result.Ok()
	klines := make([]Kline, len(found))
	for i, k := range found {
		klines[i] = converted(k, symbol, math.MaxUint32)
	}
	return klines, nil
}

// converted returns the kline of a row, with this symbol.
func converted(k klines_consumer_types.Kline, symbol string, row uint32) Kline {
	return Kline{
		Category: Category(k.Category), Symbol: symbol,
		Interval: Interval{k.Interval.Count, Unit(k.Interval.Unit)}, Start: k.Start, End: k.End,
		Open: k.Open, High: k.High, Low: k.Low, Close: k.Close, Volume: k.Volume, Turnover: k.Turnover,
		BuyVolume: k.BuyVolume, BuyTurnover: k.BuyTurnover,
		PriceDecimals: k.PriceDecimals, VolumeDecimals: k.VolumeDecimals,
		Trades: k.Trades, LastTradeTime: k.LastTradeTime, Confirm: k.Confirm, Revision: k.Revision,
		Quality: Quality(k.Quality), Sequence: k.Sequence, Emitted: k.Emitted, row: row,
	}
}

// Exact holds the exact decimal digits of a kline.
type Exact struct {
	Open, High, Low, Close, Volume, Turnover, BuyVolume, BuyTurnover string
}

// Exact returns the exact decimal digits of the kline.
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

// Debugf writes one line to the log of klines.
func Debugf(format string, values ...any) { log(klines_consumer_host.Level_Debug, format, values) }

// Infof writes one line to the log of klines.
func Infof(format string, values ...any) { log(klines_consumer_host.Level_Info, format, values) }

// Warnf writes one line to the log of klines.
func Warnf(format string, values ...any) { log(klines_consumer_host.Level_Warn, format, values) }

// Errorf writes one line to the log of klines.
func Errorf(format string, values ...any) { log(klines_consumer_host.Level_Error, format, values) }

func log(level uint8, format string, values []any) {
	klines_consumer_host.Log(level, fmt.Sprintf(format, values...))
}

// Get returns a value from the state of this consumer, which survives crashes, restarts and new versions.
func Get(key string) ([]byte, bool) {
	found := klines_consumer_state.Get(key)
	runtime.Unpin()
	defer runtime.Rewind()
	if !found.IsSome() {
		return nil, false
	}
	return append([]byte(nil), found.Some()...), true
}

// Set stores a value in the state. The change is kept only if the current call of the consumer succeeds.
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

// Delete removes a value from the state and returns whether it existed.
func Delete(key string) bool { return klines_consumer_state.Delete(key) }

// Keys returns the keys of the state that begin with prefix.
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

// Retry wraps an error: klines delivers the same batch again later. Any other error stops the consumer.
func Retry(err error) error { return retry{err} }

func failure(err error) klines_consumer_types.Failure {
	var again retry
	if errors.As(err, &again) {
		return klines_consumer_types.MakeFailureRetry(err.Error())
	}
	return klines_consumer_types.MakeFailureFatal(err.Error())
}
