// Package {{ident}} is a consumer of klines: it averages closes, emits the average, and logs when the close crosses it.
package {{ident}}

import (
	"strconv"

	"example.com/{{name}}/klines"
)

// New returns a new consumer. klines calls it for every instance.
func New() klines.Consumer { return &consumer{} }

type consumer struct {
	settings settings
	averages map[series]*average
}

// settings has the keys of [consumers.{{name}}.settings].
type settings struct {
	// Period is the number of klines in the average.
	Period int `json:"period"`
}

// series identifies the klines of one category, symbol and interval.
type series struct {
	category klines.Category
	symbol   string
	interval klines.Interval
}

// average holds the last closes of a series.
type average struct {
	closes []float64
	// Start of the newest kline in the average.
	newest uint64
	// 1 if the last close was above the average, -1 if below, 0 if there was no average yet.
	side int
}

// Setup reads the settings and subscribes to closed klines only.
func (c *consumer) Setup(given klines.Settings) (klines.Subscription, error) {
	c.settings = settings{Period: 5}
	if err := given.Read(&c.settings); err != nil {
		return klines.Subscription{}, err
	}
	if period := c.settings.Period; period < 2 || period > 1000 {
		return klines.Subscription{}, klines.Problem{
			Path: "period", Message: "is " + strconv.Itoa(period), Expected: "a whole number from 2 to 1000",
		}
	}
	c.averages = map[series]*average{}
	return klines.Subscription{ClosedOnly: true}, nil
}

// Start is called once, before the first batch.
func (c *consumer) Start() error {
	klines.Infof("averaging closes period=%d", c.settings.Period)
	return nil
}

// Consume is called for every batch of closed klines.
func (c *consumer) Consume(batch klines.Batch) error {
	for i := range batch.Klines {
		kline := &batch.Klines[i]
		key := series{kline.Category, kline.Symbol, kline.Interval}
		average := c.averages[key]
		if average == nil {
			average = newAverage()
			c.averages[key] = average
		}
		sma, ok := average.add(kline, c.settings.Period)
		if !ok {
			continue
		}
		// Clients of /v1/stream receive it on the topic ext.{{name}}.sma.INTERVAL.SYMBOL.
		if err := kline.Emit("sma", sma); err != nil {
			klines.Warnf("%v", err)
		}
		if direction, crossed := average.crossed(kline.Close, sma); crossed {
			klines.Infof("%s %s closed %s its average close=%v sma=%.4f",
				kline.Symbol, kline.Interval, direction, kline.Close, sma)
		}
	}
	return nil
}

func newAverage() *average { return &average{} }

// add adds a close and returns the average once there are period closes.
func (a *average) add(kline *klines.Kline, period int) (float64, bool) {
	// A correction of an older kline, or a kline that was delivered before: it is in the average already.
	if kline.Start <= a.newest {
		return 0, false
	}
	a.newest = kline.Start
	a.closes = append(a.closes, kline.Close)
	if len(a.closes) < period {
		return 0, false
	}
	a.closes = a.closes[len(a.closes)-period:]
	sum := 0.0
	for _, close := range a.closes {
		sum += close
	}
	return sum / float64(period), true
}

// crossed returns the side of the average on which the close is, and whether the last close was on the other side.
func (a *average) crossed(close, sma float64) (string, bool) {
	side, direction := -1, "below"
	if close > sma {
		side, direction = 1, "above"
	}
	crossed := a.side != 0 && a.side != side
	a.side = side
	return direction, crossed
}
