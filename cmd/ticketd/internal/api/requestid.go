package api

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

// requestIDHeader names a request, in the request and in the answer. The log has the ID in each line of
// the request, so that a caller, a proxy and the log speak of the same request.
const requestIDHeader = "X-Request-Id"

// maxRequestID is the longest ID that is taken from a request, in bytes. A ticket is longer.
const maxRequestID = 64

// requestID returns the ID that a request brings, or a new one. Anybody may choose an ID: it is a text
// for the log, and proves nothing. An ID in another form than letters, digits, and . _ - is not taken,
// and neither are two IDs.
func requestID(r *http.Request) string {
	if sent := r.Header[requestIDHeader]; len(sent) == 1 && validRequestID(sent[0]) {
		return sent[0]
	}
	var b [16]byte // unique, and no secret
	binary.LittleEndian.PutUint64(b[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	var text [2 * len(b)]byte
	hex.Encode(text[:], b[:])
	return string(text[:])
}

func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
