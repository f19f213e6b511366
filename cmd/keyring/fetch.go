package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/admitone/admitone/verify/trust"
)

// Limits for a bundle.
const (
	maxBundle = 64 << 10
	fetchTime = 10 * time.Second
)

// fetcher gets bundles by https. It follows no redirect: the answer of another address was not
// what the list asks for. A proxy of the environment (HTTPS_PROXY) carries the encrypted connection.
type fetcher struct {
	client *http.Client
	limit  time.Duration // of a whole answer
}

func newFetcher() *fetcher {
	return &fetcher{
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit: fetchTime,
	}
}

// get returns the bundle at a URL of a trust list.
func (f *fetcher) get(ctx context.Context, url string) ([]byte, error) {
	if err := trust.CheckURL(url); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "admitone-keyring")
	answer, err := f.client.Do(r)
	if err == nil {
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			// The words of answer.Status are the server's own, and could hold codes for the terminal.
			return nil, fmt.Errorf("%s answers with status %d %s, and a redirect is not followed; see what is there",
				url, answer.StatusCode, http.StatusText(answer.StatusCode))
		}
		var data []byte
		data, err = io.ReadAll(io.LimitReader(answer.Body, maxBundle+1))
		if err == nil {
			// While the client hangs up, a server may still end its answer as if it were whole.
			err = ctx.Err()
		}
		if err == nil && len(data) > maxBundle {
			return nil, fmt.Errorf("%s has more than %d bytes, so it is no bundle", url, maxBundle)
		}
		if err == nil {
			return data, nil
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s did not answer within %v; see whether the server is up", url, f.limit)
	}
	return nil, fmt.Errorf("the bundle cannot be fetched: %w", err)
}
