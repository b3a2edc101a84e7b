package correlation

import "math"

// pair holds the last returns of two symbols, in windows that are closed for both.
type pair struct {
	window int
	last   [2]closed
	// The newest return of each symbol.
	latest  [2]change
	returns [][2]float64
	// 1 if the last clear correlation was positive, -1 if negative, 0 if there was none yet.
	side int
}

// closed is the newest close of a symbol.
type closed struct {
	start uint64
	price float64
}

// change is a logarithmic return and the window that it belongs to.
type change struct {
	start uint64
	value float64
}

// add adds a close of one side. It returns the correlation if the window is closed for both sides and there are enough
// returns.
func (p *pair) add(side int, start uint64, price float64) (float64, bool) {
	before := p.last[side]
	// A correction of an older kline, a kline that was delivered before, or a price that has no logarithm.
	if start <= before.start || price <= 0 {
		return 0, false
	}
	p.last[side] = closed{start, price}
	if before.price == 0 {
		return 0, false
	}
	p.latest[side] = change{start, math.Log(price / before.price)}
	if other := p.latest[1-side]; other.start != start {
		return 0, false
	}
	p.returns = append(p.returns, [2]float64{p.latest[0].value, p.latest[1].value})
	if len(p.returns) < p.window {
		return 0, false
	}
	p.returns = p.returns[len(p.returns)-p.window:]
	return correlation(p.returns)
}

// changed returns the direction of a clear correlation, and whether it differs from that of the last clear one.
func (p *pair) changed(value float64) (string, bool) {
	side, sign := 0, ""
	if value >= 0.5 {
		side, sign = 1, "together"
	} else if value <= -0.5 {
		side, sign = -1, "against each other"
	}
	if side == 0 || side == p.side {
		return "", false
	}
	p.side = side
	return sign, true
}

// correlation returns Pearson's coefficient; there is none if a price did not change.
func correlation(returns [][2]float64) (float64, bool) {
	var means [2]float64
	for _, both := range returns {
		means[0] += both[0] / float64(len(returns))
		means[1] += both[1] / float64(len(returns))
	}
	var squares [2]float64
	var product float64
	for _, both := range returns {
		first, second := both[0]-means[0], both[1]-means[1]
		squares[0] += first * first
		squares[1] += second * second
		product += first * second
	}
	scale := math.Sqrt(squares[0] * squares[1])
	if scale == 0 {
		return 0, false
	}
	return product / scale, true
}
