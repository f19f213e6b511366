package base64url

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/floor"
)

var standard = base64.RawURLEncoding.Strict()

// wanted decodes by the standard library, and refuses the line breaks that the library skips.
func wanted(text string) ([]byte, bool) {
	b, err := standard.DecodeString(text)
	return b, err == nil && !strings.ContainsAny(text, "\r\n")
}

// same compares Decode and Encode with the standard library.
func same(t *testing.T, text string) {
	t.Helper()
	dst := bytes.Repeat([]byte{0xaa}, len(text)+16)
	b, ok := Decode(dst[:len(text)], text)
	want, wantOK := wanted(text)
	require.Equal(t, wantOK, ok, "%q", text)
	require.Equal(t, bytes.Repeat([]byte{0xaa}, 16), dst[len(text):], "%q: written behind dst", text)
	if ok {
		require.Equal(t, string(want), string(b), "%q", text)
		require.Equal(t, text, Encode("", b))
		require.Equal(t, "tkt1_"+text, Encode("tkt1_", b))
	} else {
		require.Nil(t, b)
	}
}

func TestEveryByteAtEveryPlace(t *testing.T) {
	whole := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for length := range 20 {
		same(t, whole[:length])
		for place := range length {
			for c := range 256 {
				b := []byte(whole[40 : 40+length])
				b[place] = byte(c)
				same(t, string(b))
			}
		}
	}
}

// All pairs of the last two characters, at each length: the bits that stand for nothing are 0.
func TestEveryEnding(t *testing.T) {
	for length := 2; length < 12; length++ {
		b := []byte(strings.Repeat("_", length))
		for c := range 256 {
			for d := range 256 {
				b[length-2], b[length-1] = byte(c), byte(d)
				same(t, string(b))
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, text := range []string{
		"A", "AAAAA", "AAAAAAAAA", "AA==", "AAA=", "AAAA=", "AAAA====", "AB", "AAB", "AAAAAAAAAB",
		"AAAA\n", "\nAAAA", "AA\r\nAA", "AAAAAAA\n", "AAAAAAAA\r\n", "AA AA", "AA+A", "AA/A", "AAAA\x00", "AAé",
	} {
		b, ok := Decode(make([]byte, len(text)), text)
		assert.False(t, ok, "%q", text)
		assert.Nil(t, b)
		same(t, text)
	}
}

func TestRoundTrip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for length := range 600 {
		b := make([]byte, length)
		random.Read(b)
		text := standard.EncodeToString(b)
		require.Equal(t, text, Encode("", b))
		same(t, text)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "AQoLDAHyeXnUvYYUl_8pmMMGZ7l01N68_-uByiGIH9UP", "AAAA\r\nAAAA", "AB", "AA=="} {
		f.Add(s)
	}
	f.Fuzz(same)
}

// BenchmarkBeside measures the text of a ticket beside the standard library.
func BenchmarkBeside(b *testing.B) {
	raw := make([]byte, 172)
	text, dst := standard.EncodeToString(raw), make([]byte, 2048)
	b.Run("decode", func(b *testing.B) {
		floor.Beside(b, func() error {
			_, err := standard.Decode(dst, []byte(text))
			return err
		}, func() error {
			Decode(dst, text)
			return nil
		}, nil)
	})
	b.Run("encode", func(b *testing.B) {
		floor.Beside(b, func() error {
			standard.EncodeToString(raw)
			return nil
		}, func() error {
			Encode("", raw)
			return nil
		}, nil)
	})
}
