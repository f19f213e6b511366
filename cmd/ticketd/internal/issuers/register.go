package issuers

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

const (
	writeEvery   = 5 * time.Second  // between two writes of last uses, and two attempts after an error
	lookEvery    = 30 * time.Second // between two looks at lists without a change
	closeTimeout = 10 * time.Second
)

// A Source is a list of issuers.
type Source interface {
	Entries() []directory.IssuerEntry
}

// RegisterConfig has the parts of a Register. All fields are mandatory.
type RegisterConfig struct {
	Name string // of this service; the same after a restart
	Now  func() time.Time
	Log  *slog.Logger
}

// A Register notes the issuers of this service in the directory, off the path of requests: which
// there are, so that the sessions of an issuer that was denied or gone stay over, and when each
// issued last. If the directory is away, changes wait in memory. A nil Register notes nothing.
type Register struct {
	RegisterConfig
	changed    chan struct{} // has one element if a look waits
	quit, done chan struct{}

	writing   chan struct{} // has one element while the directory is written
	directory *directory.DB

	mu      sync.Mutex
	source  Source                  // nil before Start
	last    []directory.IssuerEntry // of the last look
	waiting []look
	ended   map[string]time.Time // when this service ceased to admit an issuer
	uses    map[directory.IssuerKey]time.Time
}

// A look is what the source had at a time.
type look struct {
	at   time.Time
	list []directory.IssuerEntry
}

// NewRegister returns a Register that does nothing before Start.
func NewRegister(c RegisterConfig) *Register {
	return &Register{
		RegisterConfig: c,
		changed:        make(chan struct{}, 1), writing: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
		ended: make(map[string]time.Time), uses: make(map[directory.IssuerKey]time.Time),
	}
}

// Start notes the issuers of a source in the directory, and goes on to note their changes until
// Close.
func (r *Register) Start(ctx context.Context, d *directory.DB, s Source) error {
	r.mu.Lock()
	r.directory, r.source = d, s
	r.mu.Unlock()
	r.look()
	if err := r.write(ctx); err != nil {
		return err
	}
	go r.run()
	return nil
}

// Look looks at the source, after a change.
func (r *Register) Look() {
	if r == nil || !r.look() {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// look reports whether there is a source.
func (r *Register) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.source == nil {
		return false
	}
	now := look{r.Now().Truncate(time.Millisecond), r.source.Entries()} // as sessions have it
	for _, e := range r.last {
		admitted := func(other directory.IssuerEntry) bool { return other.Name == e.Name && !other.Denied }
		if !e.Denied && !slices.ContainsFunc(now.list, admitted) {
			r.ended[e.Name] = now.at
		}
	}
	r.last = now.list
	if n := len(r.waiting); n > 0 && reflect.DeepEqual(r.waiting[n-1].list, now.list) {
		return true
	}
	r.waiting = append(r.waiting, now)
	return true
}

// Ended returns the time before which this service ended the sessions of an issuer, or zero. The
// directory has the time too, a moment later, and has those of other services.
func (r *Register) Ended(issuer string) time.Time {
	if r == nil {
		return time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended[issuer]
}

// Used notes that a ticket let somebody in. It does not wait for the directory.
func (r *Register) Used(t *token.Ticket, at time.Time) {
	if r == nil || t.Issuer == "" {
		return
	}
	k := directory.IssuerKey{Issuer: t.Issuer, Key: t.KeyID.String()}
	if t.SigningKey != 0 { // in format 2, the other key is the login service's own
		k.Key = t.SigningKey.String()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.After(r.uses[k]) {
		r.uses[k] = at
	}
}

// Write writes everything that waits into the directory.
func (r *Register) Write(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.write(ctx)
}

func (r *Register) write(ctx context.Context) error {
	select {
	case r.writing <- struct{}{}:
		defer func() { <-r.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			uses := r.uses
			r.uses = make(map[directory.IssuerKey]time.Time)
			r.mu.Unlock()
			err := r.directory.NoteIssuerUses(ctx, uses)
			if err != nil {
				r.restore(uses)
			}
			return err
		}
		next := r.waiting[0]
		r.mu.Unlock()
		if err := r.directory.SeeIssuers(ctx, r.Name, next.at, next.list); err != nil {
			return err
		}
		r.mu.Lock()
		r.waiting = r.waiting[1:]
		r.mu.Unlock()
	}
}

// restore takes uses back that were not written.
func (r *Register) restore(uses map[directory.IssuerKey]time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, at := range uses {
		if at.After(r.uses[k]) {
			r.uses[k] = at
		}
	}
}

func (r *Register) run() {
	defer close(r.done)
	writes, looks := time.NewTicker(writeEvery), time.NewTicker(lookEvery)
	defer writes.Stop()
	defer looks.Stop()
	failed := false
	for {
		select {
		case <-r.changed:
		case <-writes.C:
		case <-looks.C:
			r.look()
		case <-r.quit:
			return
		}
		err := r.write(context.Background())
		if err != nil && !failed {
			r.Log.Error("changes and last uses of issuers are not noted in the directory yet", "error", err)
		}
		failed = err != nil
	}
}

// Close writes everything that waits, and ends the notes.
func (r *Register) Close() error {
	close(r.quit)
	<-r.done
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return r.write(ctx)
}
