// Package correlation emits how closely two symbols move together: the correlation of their returns over the last
// klines.
package correlation

import (
	"strconv"

	"example.com/correlation/klines"
)

// New returns a new consumer. klines calls it for every instance.
func New() klines.Consumer { return &consumer{} }

type consumer struct {
	settings settings
	pairs    map[market]*pair
}

// settings has the keys of [consumers.correlation.settings].
type settings struct {
	// First and Second are the symbols that are compared.
	First  string `json:"first"`
	Second string `json:"second"`
	// Window is the number of returns in the correlation.
	Window int `json:"window"`
}

// market identifies the klines that the two symbols have in common.
type market struct {
	category klines.Category
	interval klines.Interval
}

// Setup reads the settings and subscribes to closed klines of the two symbols only.
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

// Consume is called for every batch of closed klines.
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
		// The value belongs to the kline that completed the pair, which can be of either symbol.
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
