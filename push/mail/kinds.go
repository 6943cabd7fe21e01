package mail

import "slices"

// Key names a mail and its templates, below usergrid.management.email.
type Key string

// The mails, as the specification of management (2.4) and that of users (1.9)
// list them. The comment says who gets it.
const (
	AdminPasswordReset             Key = "admin-password-reset"             // the admin user
	AdminConfirmation              Key = "admin-confirmation"               // the admin user
	AdminConfirmed                 Key = "admin-confirmed"                  // the admin user, who now waits for approval
	AdminActivated                 Key = "admin-activated"                  // the admin user
	AdminInvited                   Key = "admin-invited"                    // the admin user
	SysadminAdminActivation        Key = "sysadmin-admin-activation"        // the operator
	SysadminAdminActivated         Key = "sysadmin-admin-activated"         // the operator
	SysadminOrganizationActivation Key = "sysadmin-organization-activation" // the operator
	SysadminOrganizationActivated  Key = "sysadmin-organization-activated"  // the operator
	OrganizationConfirmation       Key = "organization-confirmation"        // all members
	OrganizationConfirmed          Key = "organization-confirmed"           // all members: it waits for approval
	OrganizationActivated          Key = "organization-activated"           // all members
	AdminUserActivation            Key = "admin-user-activation"            // admins of the organisation
	AdminUserActivated             Key = "admin-user-activated"             // admins of the organisation
	UserPasswordReset              Key = "user-password-reset"              // the application user
	UserConfirmation               Key = "user-confirmation"                // the application user
	UserConfirmed                  Key = "user-confirmed"                   // the application user, who now waits for approval
	UserActivated                  Key = "user-activated"                   // the application user
	UserPin                        Key = "user-pin"                         // the application user
)

// Keys returns all keys, in the order of their declaration.
func Keys() []Key {
	keys := make([]Key, 0, len(kinds()))
	for _, k := range kinds() {
		keys = append(keys, k.key)
	}
	return keys
}

// Variables returns the names of the variables a mail has: first those that every
// Message of this key carries, then those that it may carry. Both are nil for a
// key that is none.
func Variables(key Key) (required, optional []string) {
	k, ok := kindOf(key)
	if !ok {
		return nil, nil
	}
	required = slices.Clone(k.required)
	if k.link != "" {
		required = append(required, k.link)
	}
	return required, slices.Clone(k.optional)
}

// kind is what is known of a mail beside its templates.
type kind struct {
	key      Key
	link     string   // the variable that ends the text part; "": this mail has no link
	required []string // without link
	optional []string
}

// knows tells whether name is a variable of the mail.
func (k *kind) knows(name string) bool {
	return name == k.link && name != "" || slices.Contains(k.required, name) || slices.Contains(k.optional, name)
}

func kindOf(key Key) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.key == key })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// kinds is the table of all mails.
func kinds() []kind {
	return []kind{
		{AdminPasswordReset, "reset_url", nil, []string{"reset_url_base", "user_uuid", "raw_token"}},
		{AdminConfirmation, "confirmation_url", []string{"confirm_email"}, []string{"reset_url"}},
		{AdminConfirmed, "", []string{"confirmed_email"}, nil},
		{AdminActivated, "", nil, nil},
		{AdminInvited, "", []string{"organization_name"}, nil},
		{SysadminAdminActivation, "activation_url", []string{"user_email"}, nil},
		{SysadminAdminActivated, "", []string{"user_email"}, nil},
		{SysadminOrganizationActivation, "activation_url", []string{"organization_name", "organization_owners"}, nil},
		{SysadminOrganizationActivated, "", []string{"organization_name", "organization_owners"}, nil},
		{OrganizationConfirmation, "confirmation_url", []string{"organization_name"}, nil},
		{OrganizationConfirmed, "", []string{"organization_name"}, nil},
		{OrganizationActivated, "", []string{"organization_name"}, nil},
		{AdminUserActivation, "activation_url", []string{"organization_name", "user_email"}, nil},
		{AdminUserActivated, "", []string{"organization_name", "user_email"}, nil},
		{UserPasswordReset, "reset_url", nil, []string{"reset_url_base", "user_uuid", "raw_token", "application_id"}},
		{UserConfirmation, "confirmation_url", []string{"confirm_email"}, nil},
		{UserConfirmed, "", nil, nil},
		{UserActivated, "", nil, nil},
		{UserPin, "", []string{"pin"}, nil},
	}
}
