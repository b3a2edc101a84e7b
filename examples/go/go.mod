module example.com/correlation

go 1.25

require (
	go.bytecodealliance.org/pkg v0.4.0
	wit_component v0.0.0
)

// Both are here: nothing is fetched. The first is what generated code asks for, the second is generated.
replace go.bytecodealliance.org/pkg => ./shim

replace wit_component => ./build/bindings
