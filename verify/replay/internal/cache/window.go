package cache

import (
	"container/heap"
	"time"
)

// windowShift is the binary logarithm of a window's length in seconds.
const windowShift = 4

// WindowLength is the span of ticket expiry in a window.
const WindowLength = time.Second << windowShift

// Window stands for the tickets that expire in the same span of Unix time. The ticket's
// expiry decides the window, not the time of arrival. So a lookup has a single place to go,
// at any reading of the clock.
type Window struct {
	Index       int64     // see WindowOf
	RetainUntil time.Time // the latest RetainUntil of the window's records
	Issued      int64     // the latest issue of the window's tickets, Unix ms
	Records     int

	position int // in the Queue
}

// WindowOf returns the index of the window of a ticket's expiry. The shift rounds down, for
// times before 1970 too.
func WindowOf(expires time.Time) int64 { return expires.Unix() >> windowShift }

// WindowEnd returns the end of a window's span.
func WindowEnd(index int64) time.Time { return time.Unix((index+1)<<windowShift, 0).UTC() }

// Over reports whether the retention of all records has ended.
func (w *Window) Over(now time.Time) bool { return !now.Before(w.RetainUntil) }

func (w *Window) window() *Window { return w }

// Windowed is a pointer to a type with an embedded Window.
type Windowed interface{ window() *Window }

// Queue orders windows by the end of their retention: element 0 ends first, and
// the children of element i, if any, are 2i+1 and 2i+2. The zero Queue is empty.
type Queue[W Windowed] []W

// Add puts w into the queue.
func (q *Queue[W]) Add(w W) { heap.Push(queueHeap[W]{q}, w) }

// Remove takes element 0 out of the queue.
func (q *Queue[W]) Remove() W { return heap.Pop(queueHeap[W]{q}).(W) }

// Extend raises the RetainUntil of w to t, if t is later. Most claims extend the latest window,
// and this window has no children in the queue: nothing else is touched.
func (q Queue[W]) Extend(w W, t time.Time) {
	base := w.window()
	if !t.After(base.RetainUntil) {
		return
	}
	base.RetainUntil = t
	for at := base.position; 2*at+1 < len(q); {
		first := 2*at + 1
		if right := first + 1; right < len(q) && q.less(right, first) {
			first = right
		}
		if !q.less(first, at) {
			return
		}
		q.swap(at, first)
		at = first
	}
}

func (q Queue[W]) less(i, j int) bool {
	return q[i].window().RetainUntil.Before(q[j].window().RetainUntil)
}

func (q Queue[W]) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].window().position, q[j].window().position = i, j
}

// queueHeap gives Queue the methods of heap.Interface.
type queueHeap[W Windowed] struct{ *Queue[W] }

func (q queueHeap[W]) Len() int           { return len(*q.Queue) }
func (q queueHeap[W]) Less(i, j int) bool { return q.less(i, j) }
func (q queueHeap[W]) Swap(i, j int)      { q.swap(i, j) }

func (q queueHeap[W]) Push(x any) {
	w := x.(W)
	w.window().position = len(*q.Queue)
	*q.Queue = append(*q.Queue, w)
}

func (q queueHeap[W]) Pop() any {
	last := len(*q.Queue) - 1
	w := (*q.Queue)[last]
	clear((*q.Queue)[last:])
	*q.Queue = (*q.Queue)[:last]
	return w
}
