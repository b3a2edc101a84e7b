package correlation

import (
	"math"
	"testing"
)

func last(window int, first, second []float64) (float64, bool) {
	p := &pair{window: window}
	var value float64
	var ok bool
	for i := range first {
		p.add(0, uint64(i+1), first[i])
		value, ok = p.add(1, uint64(i+1), second[i])
	}
	return value, ok
}

func TestPricesThatMoveAlikeCorrelate(t *testing.T) {
	value, ok := last(3, []float64{1, 2, 1, 4}, []float64{10, 20, 10, 40})
	if !ok || math.Abs(value-1) > 1e-12 {
		t.Fatal(value, ok)
	}
	value, ok = last(3, []float64{1, 2, 1, 4}, []float64{40, 20, 40, 10})
	if !ok || math.Abs(value+1) > 1e-12 {
		t.Fatal(value, ok)
	}
}

func TestAConstantPriceHasNoCorrelation(t *testing.T) {
	if value, ok := last(3, []float64{1, 2, 1, 4}, []float64{5, 5, 5, 5}); ok {
		t.Fatal(value)
	}
}

func TestAKlineThatIsDeliveredTwiceCountsOnce(t *testing.T) {
	p := &pair{window: 3}
	for range 9 {
		p.add(0, 1, 5)
		if _, ok := p.add(1, 1, 6); ok {
			t.Fatal("counted")
		}
	}
}
