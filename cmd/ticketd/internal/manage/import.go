package manage

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/admitone/admitone/cmd/ticketd/internal/agentfile"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// maxLines is the largest number of lines that an Import has.
const maxLines = 1000

// An Import is the outcome of a file of agents, or with a preview what the outcome would be.
type Import struct {
	Imported directory.Imported
	Faults   []agentfile.Mistake // wrong lines, which are not counted
	Lines    []ImportedLine      // the lines that add or change an agent, the first maxLines
}

// An ImportedLine is a line of a file that adds or changes an agent.
type ImportedLine struct {
	Line     int
	Username string
	Added    bool     // else changed
	Fields   []string // names of the fields that are set, or that change
}

// ErrFaults is the error for a file with wrong lines. Nothing was imported.
var ErrFaults = errors.New("lines of the file are wrong; nothing was imported")

// PreviewAgents reports what ImportAgents would do with a file, and changes nothing. If lines
// are wrong, the report is about the others.
func (d *Desk) PreviewAgents(ctx context.Context, brand string, csv io.Reader) (Import, error) {
	if err := d.may("PreviewAgents", brand); err != nil {
		return Import{}, err
	}
	return d.importAgents(ctx, brand, csv, true)
}

// ImportAgents adds and changes the agents of a file, all or none. If lines are wrong, the
// error is ErrFaults, and the Import has the wrong lines.
func (d *Desk) ImportAgents(ctx context.Context, brand string, csv io.Reader) (Import, error) {
	if err := d.may("ImportAgents", brand); err != nil {
		return Import{}, err
	}
	return d.importAgents(ctx, brand, csv, false)
}

func (d *Desk) importAgents(ctx context.Context, brand string, csv io.Reader, dryRun bool) (Import, error) {
	b, err := d.db.Brand(ctx, brand)
	if err != nil {
		return Import{}, err
	}
	file, faults, err := agentfile.Read(csv, b)
	did := Import{Faults: faults}
	switch {
	case err != nil:
		return Import{}, err
	case len(faults) > 0 && !dryRun:
		return did, ErrFaults
	}
	did.Imported, err = d.db.ImportAgents(ctx, brand, file.All(), &directory.ImportOptions{
		Missing: file.Missing, DryRun: dryRun,
		Each: func(username string, added bool, fields []string) {
			did.Lines = append(did.Lines, ImportedLine{file.Line(username), username, added, fields})
		},
	})
	if err != nil {
		return Import{}, err
	}
	slices.SortFunc(did.Lines, func(a, b ImportedLine) int { return a.Line - b.Line })
	did.Lines = did.Lines[:min(len(did.Lines), maxLines)]
	return did, nil
}
