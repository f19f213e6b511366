package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// The context of a request ends at its deadline or with the request, also for a context that
// was made from it, and whether or not somebody waited before.
func TestVisitEnds(t *testing.T) {
	for name, waits := range map[string]bool{"somebody waits": true, "nobody waits": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, end := range []func(*visit){
					func(*visit) { time.Sleep(answerTime) }, func(v *visit) { v.End() },
				} {
					v := &visit{Limited: Limited{Parent: context.Background(), Until: time.Now().Add(answerTime)}}
					assert.Nil(t, v.Value("other"))
					assert.Same(t, v, v.Value(visitKey{}))
					var below context.Context
					if waits {
						assert.NoError(t, v.Err())
						var cancel context.CancelFunc
						below, cancel = context.WithCancel(v)
						defer cancel()
						assert.Same(t, v, below.Value(visitKey{}))
					}
					end(v)
					synctest.Wait()
					assert.Error(t, v.Err())
					<-v.Done()
					if waits {
						assert.Equal(t, v.Err(), below.Err())
					}
					v.End()
				}
			})
		})
	}
}
