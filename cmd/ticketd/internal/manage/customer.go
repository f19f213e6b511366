package manage

import (
	"context"
	"strconv"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Customers lists the customers of a brand in the order of creation.
func (d *Desk) Customers(ctx context.Context, brand string, p Page) (List[directory.Customer], error) {
	if err := d.may("Customers", brand); err != nil {
		return List[directory.Customer]{}, err
	}
	return listed(p, func(c *directory.Customer) string { return strconv.FormatInt(c.ID, 10) },
		func(after string, limit int) ([]directory.Customer, error) {
			var id int64
			if after != "" {
				var err error
				if id, err = strconv.ParseInt(after, 10, 64); err != nil {
					return nil, &directory.FieldError{Field: "after", Reason: "is not of a list; send the text next as it was given"}
				}
			}
			return d.db.Customers(ctx, brand, id, limit)
		})
}

// SearchCustomers lists up to limit customers of a brand who match a text, as
// directory.DB.SearchCustomers does. more is whether there are others.
func (d *Desk) SearchCustomers(
	ctx context.Context, brand, text string, limit int,
) (all []directory.Customer, more bool, err error) {
	if err := d.may("SearchCustomers", brand); err != nil {
		return nil, false, err
	}
	list, err := listed(Page{Limit: limit}, func(*directory.Customer) string { return "more" },
		func(_ string, limit int) ([]directory.Customer, error) {
			return d.db.SearchCustomers(ctx, brand, text, limit)
		})
	return list.Items, list.Next != "", err
}

// FindCustomers lists the customers of a brand who have one of the identifiers of c, as
// directory.DB.FindCustomers does. The phone number may be in a form of the brand's region.
func (d *Desk) FindCustomers(ctx context.Context, brand string, c directory.Customer) ([]directory.Customer, error) {
	if err := d.may("FindCustomers", brand); err != nil {
		return nil, err
	}
	region, err := d.region(ctx, brand)
	if err != nil {
		return nil, err
	}
	if err := readPhone(&c.Phone1, region); err != nil {
		return nil, err
	}
	return d.db.FindCustomers(ctx, brand, c)
}

// Customer looks up a customer.
func (d *Desk) Customer(ctx context.Context, brand string, id int64) (directory.Customer, error) {
	if err := d.may("Customer", brand); err != nil {
		return directory.Customer{}, err
	}
	return d.db.Customer(ctx, brand, id)
}

// AddCustomer adds a customer, and returns the record. The phone number may be in a form of
// the brand's region.
func (d *Desk) AddCustomer(ctx context.Context, brand string, c directory.Customer) (directory.Customer, error) {
	if err := d.may("AddCustomer", brand); err != nil {
		return directory.Customer{}, err
	}
	region, err := d.region(ctx, brand)
	if err != nil {
		return directory.Customer{}, err
	}
	if err := readPhone(&c.Phone1, region); err != nil {
		return directory.Customer{}, err
	}
	c.Brand = brand
	return d.db.AddCustomer(ctx, c)
}

// ChangeCustomer changes a customer by edit, as ChangeAgent does.
func (d *Desk) ChangeCustomer(
	ctx context.Context, brand string, id int64, edit func(*directory.Customer) error,
) (directory.Customer, error) {
	if err := d.may("ChangeCustomer", brand); err != nil {
		return directory.Customer{}, err
	}
	region, err := d.region(ctx, brand)
	if err != nil {
		return directory.Customer{}, err
	}
	return d.db.UpdateCustomer(ctx, brand, id, func(c *directory.Customer) error {
		was := c.Phone1
		if err := edit(c); err != nil || c.Phone1 == was {
			return err // a number from a ticket may be in no region's plan
		}
		return readPhone(&c.Phone1, region)
	})
}

// RemoveCustomer removes a customer.
func (d *Desk) RemoveCustomer(ctx context.Context, brand string, id int64) error {
	if err := d.may("RemoveCustomer", brand); err != nil {
		return err
	}
	return d.db.RemoveCustomer(ctx, brand, id)
}

// EndCustomerSessions ends the sessions of a customer.
func (d *Desk) EndCustomerSessions(ctx context.Context, brand string, id int64) (directory.Customer, error) {
	if err := d.may("EndCustomerSessions", brand); err != nil {
		return directory.Customer{}, err
	}
	return d.db.EndCustomerSessions(ctx, brand, id)
}
