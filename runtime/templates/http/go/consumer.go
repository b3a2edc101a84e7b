// Package {{ident}} is a consumer of klines: it posts an alert to a webhook when a closed kline has moved far.
package {{ident}}

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"example.com/{{name}}/klines"
	"example.com/{{name}}/klines/http"
)

// New returns a new consumer. klines calls it for every instance.
func New() klines.Consumer { return &consumer{} }

type consumer struct {
	settings settings
}

// settings has the keys of [consumers.{{name}}.settings].
type settings struct {
	// URL is where alerts are posted. The operator also grants its host, and names the secret for it, in `allow`.
	URL string `json:"url"`
	// Percent is the smallest move from the open to the close that causes an alert.
	Percent float64 `json:"percent"`
}

// Setup reads the settings and subscribes to closed klines only.
func (c *consumer) Setup(given klines.Settings) (klines.Subscription, error) {
	c.settings = settings{Percent: 1}
	if err := given.Read(&c.settings); err != nil {
		return klines.Subscription{}, err
	}
	if c.settings.URL == "" {
		return klines.Subscription{}, klines.Problem{Path: "url", Message: "missing key", Expected: "a text"}
	}
	if c.settings.Percent <= 0 {
		message := fmt.Sprintf("is %v", c.settings.Percent)
		return klines.Subscription{}, klines.Problem{Path: "percent", Message: message, Expected: "a number above 0"}
	}
	return klines.Subscription{ClosedOnly: true}, nil
}

// Consume is called for every batch of closed klines, and sends one request for all its alerts.
func (c *consumer) Consume(batch klines.Batch) error {
	var alerts []string
	for i := range batch.Klines {
		if alert, ok := c.alert(&batch.Klines[i]); ok {
			alerts = append(alerts, alert)
		}
	}
	if len(alerts) == 0 {
		return nil
	}
	text := map[string]string{"text": strings.Join(alerts, "\n")}
	status, err := http.Post(c.settings.URL, text, http.Header{"user-agent": "{{name}}"})
	switch {
	case errors.Is(err, http.ErrDenied):
		return err
	case err != nil:
		return klines.Retry(err)
	case status >= 300:
		return klines.Retry(fmt.Errorf("%s answered %d", c.settings.URL, status))
	}
	klines.Infof("alerts sent count=%d", len(alerts))
	return nil
}

// alert returns the text for a kline that moved far enough.
func (c *consumer) alert(kline *klines.Kline) (string, bool) {
	move := (kline.Close/kline.Open - 1) * 100
	// A correction of an earlier kline: an alert that was sent cannot be taken back.
	if kline.Revision > 0 || math.Abs(move) < c.settings.Percent {
		return "", false
	}
	direction := "fell"
	if move > 0 {
		direction = "rose"
	}
	return fmt.Sprintf("%s %s %s %.2f %%", kline.Symbol, kline.Interval, direction, math.Abs(move)), true
}
