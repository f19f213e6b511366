// Package cache holds the mechanics that the stores of package replay share:
// windows of ticket expiry and their queue, chains of Bloom filters, the ranges
// of dropped windows, and a small exact table of recent admissions.
//
// Nothing here locks or reads a clock. The stores do both.
package cache
