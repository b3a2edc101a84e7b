package klines

import (
	"errors"
	"strings"

	"go.bytecodealliance.org/pkg/wit/runtime"
	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/klines_consumer_types"
)

// Served adapts a Consumer to the calls of the host. Only generated code uses it.
type Served struct {
	New      func() Consumer
	consumer Consumer
	// One copy of each symbol, because the symbols of batches repeat.
	symbols map[string]string
}

// The results that the host receives.
type (
	SetupResult = wit.Result[klines_consumer_types.Subscription, klines_consumer_types.Failure]
	CallResult  = wit.Result[wit.Unit, klines_consumer_types.Failure]
)

// Validate checks the settings with a separate consumer.
func (s *Served) Validate(settings string) []klines_consumer_types.Problem {
	_, err := s.New().Setup(copied(settings))
	var several Problems
	var one Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &several):
	case errors.As(err, &one):
		several = Problems{one}
	default:
		several = Problems{{"", err.Error(), "other settings"}}
	}
	found := make([]klines_consumer_types.Problem, len(several))
	for i, problem := range several {
		found[i] = klines_consumer_types.Problem{Path: problem.Path, Message: problem.Message, Expected: problem.Expected}
	}
	return found
}

// Setup creates the consumer.
func (s *Served) Setup(settings string) SetupResult {
	s.consumer, s.symbols = s.New(), map[string]string{}
	wanted, err := s.consumer.Setup(copied(settings))
	if err != nil {
		return wit.Err[klines_consumer_types.Subscription](failure(err))
	}
	intervals := make([]klines_consumer_types.Interval, len(wanted.Intervals))
	for i, interval := range wanted.Intervals {
		intervals[i] = klines_consumer_types.Interval{Count: interval.Count, Unit: uint8(interval.Unit)}
	}
	return wit.Ok[klines_consumer_types.Subscription, klines_consumer_types.Failure](klines_consumer_types.Subscription{
		Symbols: wanted.Symbols, Intervals: intervals, ClosedOnly: wanted.ClosedOnly,
	})
}

// Start starts the consumer.
func (s *Served) Start() CallResult {
	if starter, ok := s.consumer.(Starter); ok {
		return result(starter.Start())
	}
	return result(nil)
}

// Consume copies the batch and passes it to the consumer.
func (s *Served) Consume(batch klines_consumer_types.Batch) CallResult {
	klines := make([]Kline, len(batch.Klines))
	for row, k := range batch.Klines {
		symbol, ok := s.symbols[k.Symbol]
		if !ok {
			symbol = strings.Clone(k.Symbol)
			s.symbols[symbol] = symbol
		}
		klines[row] = converted(k, symbol, uint32(row))
	}
	runtime.Rewind()
	return result(s.consumer.Consume(Batch{klines, batch.Lost}))
}

// Stop stops the consumer.
func (s *Served) Stop() {
	if stopper, ok := s.consumer.(Stopper); ok {
		stopper.Stop()
	}
}

// copied returns a copy of the settings and frees the arena.
func copied(settings string) Settings {
	defer runtime.Rewind()
	return Settings(settings)
}

func result(err error) CallResult {
	if err != nil {
		return wit.Err[wit.Unit](failure(err))
	}
	return wit.Ok[wit.Unit, klines_consumer_types.Failure](wit.Unit{})
}
