// Package cluster builds a small LVS cluster out of network namespaces.
package cluster
