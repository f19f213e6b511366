package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func customerCommand(s *shell) *cobra.Command {
	k := kind[directory.Customer]{
		noun: "customer", what: "a customer", arg: "ID", ofBrand: true, given: true, fields: attribute.Customers,
		example: map[string]string{
			"add":    "  ticketd customer add --brand commbox --email jane@example.com --data /var/lib/ticketd",
			"set":    "  ticketd customer set 17 --brand commbox --remark 'prefers chat' --data /var/lib/ticketd",
			"list":   "  ticketd customer list --brand commbox --data /var/lib/ticketd --json",
			"show":   "  ticketd customer show 17 --brand commbox --data /var/lib/ticketd",
			"find":   "  ticketd customer find --brand commbox --email jane@example.com --data /var/lib/ticketd",
			"remove": "  ticketd customer remove 17 --brand commbox --data /var/lib/ticketd",

			"end-sessions": "  ticketd customer end-sessions 17 --brand commbox --data /var/lib/ticketd",
		},
		name: customerName,
		prepare: func(ctx context.Context, db store, _ *cobra.Command, brand string, c *directory.Customer) error {
			return preparePhone(ctx, db, brand, &c.Phone1)
		},
		add: func(
			db store, ctx context.Context, brand, _ string, c directory.Customer,
		) (directory.Customer, error) {
			c.Brand = brand
			return db.AddCustomer(ctx, c)
		},
		get: func(db store, ctx context.Context, brand, name string) (c directory.Customer, err error) {
			id, err := customerID(name)
			if err != nil {
				return c, err
			}
			return db.Customer(ctx, brand, id)
		},
		update: func(
			db store, ctx context.Context, brand, name string, edit func(*directory.Customer) error,
		) (c directory.Customer, err error) {
			id, err := customerID(name)
			if err != nil {
				return c, err
			}
			return db.UpdateCustomer(ctx, brand, id, edit)
		},
		list: store.Customers,
		remove: func(db store, ctx context.Context, brand, name string) error {
			id, err := customerID(name)
			if err != nil {
				return err
			}
			return db.RemoveCustomer(ctx, brand, id)
		},
	}
	cmd := k.command(s, "Manage customers",
		"A customer is a person whom the tickets of a brand name by an email address, a phone\n"+
			"number or a unique ID. The service adds the record when a customer enters for the first\ntime.")
	find := verb{"find", "Find customers by an identifier",
		"find prints the customers who have one of the given identifiers.", false}
	findCmd := k.verb(s, find, func(ctx context.Context, db store, cmd *cobra.Command, brand, _ string) error {
		if !anyGiven(cmd, attribute.Identifiers) {
			return cli.Usagef("nothing to look for: give --email, --phone1 or --unique-id")
		}
		var c directory.Customer
		if err := k.fill(ctx, s, db, cmd, brand, &c); err != nil {
			return err
		}
		found, err := db.FindCustomers(ctx, brand, c)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("no customer of brand %q has this identifier", brand)
		}
		return k.printAll(s, func(yield func(directory.Customer, error) bool) {
			for _, c := range found {
				if !yield(c, nil) {
					return
				}
			}
		})
	})
	addFieldFlags(findCmd, attribute.Identifiers)
	cmd.AddCommand(findCmd, k.endSessionsCommand(s, "end-sessions signs the customer out, within 5 seconds. "+
		"The customer may enter again.",
		func(ctx context.Context, db store, brand, name string) (c directory.Customer, err error) {
			id, err := customerID(name)
			if err != nil {
				return c, err
			}
			return db.EndCustomerSessions(ctx, brand, id)
		}))
	return cmd
}

func customerName(c *directory.Customer) string { return strconv.FormatInt(c.ID, 10) }

// customerID parses the ID of a customer.
func customerID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, cli.Usagef("ID %q is not a number; ticketd customer list or find prints the IDs", text)
	}
	return id, nil
}
