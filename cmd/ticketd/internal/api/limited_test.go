package api_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/stretchr/testify/assert"
)

// A Limited is as a context of context.WithDeadline, with a timer and without.
func TestLimited(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, waits := range map[string]bool{"with a timer": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := func(d time.Duration) (*api.Limited, context.CancelFunc) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
					l := &api.Limited{Parent: parent, Until: time.Now().Add(d)}
					if waits {
						_ = l.Done()
					}
					return l, cancel
				}
				l, cancel := begin(time.Second)
				defer cancel()
				until, ok := l.Deadline()
				assert.True(t, ok)
				assert.Equal(t, time.Now().Add(time.Second), until)
				assert.Equal(t, "value", l.Value(key{}))
				assert.NoError(t, l.Err())
				child, end := context.WithCancel(l)
				defer end()
				time.Sleep(time.Second)
				<-child.Done()
				assert.Equal(t, context.DeadlineExceeded, l.Err())
				<-l.Done()
				assert.Equal(t, context.DeadlineExceeded, l.Err())

				l, cancel = begin(time.Second)
				cancel()
				assert.Equal(t, context.Canceled, l.Err())
				<-l.Done()

				l, cancel = begin(time.Second)
				defer cancel()
				l.End()
				assert.Equal(t, context.Canceled, l.Err())
				<-l.Done()
				assert.Equal(t, context.Canceled, l.Err())

				l, cancel = begin(-time.Second)
				defer cancel()
				assert.Equal(t, context.DeadlineExceeded, l.Err())

				// Below the context of a request, its own timer is enough.
				request := &api.Limited{Parent: context.Background(), Until: time.Now().Add(time.Minute)}
				l = &api.Limited{Parent: request, Until: time.Now().Add(time.Second)}
				if waits {
					_ = l.Done()
				}
				child, end = context.WithCancel(l)
				defer end()
				time.Sleep(time.Second)
				<-child.Done()
				assert.Equal(t, context.DeadlineExceeded, l.Err())
				assert.NoError(t, request.Err())

				l, cancel = begin(time.Hour)
				defer cancel()
				shorter := &api.Limited{Parent: l, Until: time.Now().Add(2 * time.Hour)}
				until, _ = shorter.Deadline()
				assert.Equal(t, time.Now().Add(time.Hour), until)
			})
		})
	}
}
