package admin

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxOffered is the largest number of names offered to a shell.
const maxOffered = 200

// offerTimeout is how long a shell waits for names.
const offerTimeout = 5 * time.Second

// namePage lists names of records behind the name after, in order.
type namePage func(ctx context.Context, db store, after string) ([]string, error)

// offerNames completes an argument or flag with the names that begin with the typed
// text. If the directory does not answer, no name is offered: a shell has no place for
// errors.
func (s *shell) offerNames(page namePage) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		ctx, cancel := context.WithTimeout(cmd.Context(), offerTimeout)
		defer cancel()
		db, end, err := s.open(cmd)
		if err != nil {
			return nil, none
		}
		defer func() { _ = end() }()
		all, err := page(ctx, db, typed)
		if err != nil {
			return nil, none
		}
		for _, name := range all {
			if strings.HasPrefix(name, typed) {
				names = append(names, name)
			}
		}
		return names, none
	}
}

// offerBrands completes a flag with the names of brands.
func (s *shell) offerBrands(cmd *cobra.Command, flag string) {
	page := func(ctx context.Context, db store, after string) (names []string, err error) {
		for b, err := range db.Brands(ctx, after) {
			if err != nil || len(names) == maxOffered {
				return names, err
			}
			names = append(names, b.Name)
		}
		return names, nil
	}
	_ = cmd.RegisterFlagCompletionFunc(flag, s.offerNames(page)) // the flag exists
}

// addBrandFlag adds the mandatory flag --brand.
func (s *shell) addBrandFlag(cmd *cobra.Command, brand *string) {
	cmd.Flags().StringVar(brand, "brand", "", "`brand` to which the record belongs")
	_ = cmd.MarkFlagRequired("brand") // the flag exists
	s.offerBrands(cmd, "brand")
}
