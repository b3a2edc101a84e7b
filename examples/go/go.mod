module example.com/correlation

go 1.25

require (
	go.bytecodealliance.org/pkg v0.4.0
	wit_component v0.0.0
)

// Both modules are part of the project, so that Go downloads nothing. The generated code imports the first; the second is
// the generated code.
replace go.bytecodealliance.org/pkg => ./shim

replace wit_component => ./build/bindings
