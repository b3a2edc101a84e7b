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
	var problems klines.Problems
	if err := http.CheckURL(c.settings.URL); err != nil {
		expected := "an address such as https://hooks.example.com/alerts"
		problems = append(problems, klines.Problem{Path: "url", Message: err.Error(), Expected: expected})
	}
	if c.settings.Percent <= 0 {
		message := fmt.Sprintf("is %v", c.settings.Percent)
		problems = append(problems, klines.Problem{Path: "percent", Message: message, Expected: "a number above 0"})
	}
	if len(problems) > 0 {
		return klines.Subscription{}, problems
	}
	return klines.Subscription{ClosedOnly: true}, nil
}

// Consume is called for every batch of closed klines, and sends one request for all its alerts.
func (c *consumer) Consume(batch klines.Batch) error {
	var alerts []string
	var first *klines.Kline
	for i := range batch.Klines {
		if alert, ok := c.alert(&batch.Klines[i]); ok {
			alerts = append(alerts, alert)
			if first == nil {
				first = &batch.Klines[i]
			}
		}
	}
	if first == nil {
		return nil
	}
	text := map[string]string{"text": strings.Join(alerts, "\n")}
	headers := http.Header{"user-agent": "{{name}}", "idempotency-key": idempotencyKey(first, len(batch.Klines))}
	status, err := http.Post(c.settings.URL, text, headers)
	origin := http.Origin(c.settings.URL)
	switch {
	case errors.Is(err, http.ErrDenied):
		return err
	case err != nil:
		return klines.Retry(err)
	case status >= 200 && status < 300:
		klines.Infof("alerts sent count=%d", len(alerts))
	case status == 400 || status == 413 || status == 422:
		// The server rejects the text itself, and would reject it again.
		klines.Errorf("alerts dropped, the server rejects them count=%d status=%d", len(alerts), status)
	case status >= 300 && status < 400:
		return klines.Retry(fmt.Errorf("%s answered %d, and redirects are not followed", origin, status))
	default:
		return klines.Retry(fmt.Errorf("%s answered %d", origin, status))
	}
	return nil
}

// idempotencyKey returns a key that is the same when the same batch is delivered again, after a failure or a restart: with
// it, the server can ignore alerts that it already has. first is the first kline with an alert, size the number of klines
// in the batch. The category is a number.
func idempotencyKey(first *klines.Kline, size int) string {
	return fmt.Sprintf("%d-%s-%s-%d-%d", first.Category, first.Symbol, first.Interval, first.Start, size)
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
