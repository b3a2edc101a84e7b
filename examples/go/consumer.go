// Package correlation emits how closely two symbols move together: the correlation of their returns over the last klines.
package correlation

import (
	"strconv"

	"example.com/correlation/klines"
)

// New is what klines asks for; it is called for each life of the consumer.
func New() klines.Consumer { return &consumer{} }

type consumer struct {
	settings settings
	pairs    map[market]*pair
}

// settings are what the operator may write under [consumers.correlation.settings].
type settings struct {
	// First and Second are the symbols that are compared.
	First  string `json:"first"`
	Second string `json:"second"`
	// Window is the number of returns that are looked back on.
	Window int `json:"window"`
}

// market is what the two symbols have in common.
type market struct {
	category klines.Category
	interval klines.Interval
}

// Setup reads the settings and asks for the two symbols alone.
func (c *consumer) Setup(given klines.Settings) (klines.Subscription, error) {
	c.settings = settings{First: "BTCUSDT", Second: "ETHUSDT", Window: 30}
	if err := given.Read(&c.settings); err != nil {
		return klines.Subscription{}, err
	}
	if window := c.settings.Window; window < 3 || window > 1000 {
		return klines.Subscription{}, klines.Problem{
			Path: "window", Message: "is " + strconv.Itoa(window), Expected: "a whole number from 3 to 1000",
		}
	}
	if c.settings.First == c.settings.Second {
		return klines.Subscription{}, klines.Problem{
			Path: "second", Message: "is the first symbol too", Expected: "another symbol",
		}
	}
	c.pairs = map[market]*pair{}
	return klines.Subscription{Symbols: []string{c.settings.First, c.settings.Second}, ClosedOnly: true}, nil
}

// Consume takes one batch of closed klines.
func (c *consumer) Consume(batch klines.Batch) error {
	for i := range batch.Klines {
		kline := &batch.Klines[i]
		key := market{kline.Category, kline.Interval}
		both := c.pairs[key]
		if both == nil {
			both = &pair{window: c.settings.Window}
			c.pairs[key] = both
		}
		side := 0
		if kline.Symbol == c.settings.Second {
			side = 1
		}
		value, ok := both.add(side, kline.Start, kline.Close)
		if !ok {
			continue
		}
		// It belongs to the kline that completed the pair, whichever symbol that was.
		if err := kline.Emit("correlation", value); err != nil {
			klines.Warnf("%v", err)
		}
		if sign, changed := both.changed(value); changed {
			klines.Infof("%s and %s %s move %s correlation=%.3f",
				c.settings.First, c.settings.Second, kline.Interval, sign, value)
		}
	}
	return nil
}
