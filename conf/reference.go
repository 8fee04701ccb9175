package conf

import _ "embed"

//go:embed reference.toml
var reference string

// Reference returns the reference configuration: every key with its meaning, unit,
// default and where the default comes from.
func Reference() string { return reference }
