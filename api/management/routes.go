package management

import (
	"slices"

	"github.com/trellisdb/trellis/api/wire"
)

// Who says who may call a route (spec auth-and-tokens section 10).
type Who byte

// Callers of routes.
const (
	Public         Who = iota + 1 // everybody
	Members                       // members of the organisation, its client, the superuser (A10)
	Self                          // the admin user himself and the superuser (A11)
	Superuser                     // A12
	Administrators                // who may do everything in the application (A9)
	Permitted                     // by the permissions for the path (A9)
	Proven                        // depends on what the request proves besides: the route decides
)

// Route is a method on a pattern of paths. Literals are compared without case, and
// orgs and apps stand for organizations and applications, too. What a placeholder
// names is resolved before access is checked: {org}, {user}, an admin user, and {app},
// an application of {org}.
type Route struct {
	Method, Pattern string
	Who             Who

	is     trait
	answer func(*call) (*wire.Reply, error)
	names  []string // segments of the pattern below its area
}

// trait is what else is so of a route.
type trait byte

const (
	changes trait = 1 << iota // what it does is noted in the log
	ofOrg                     // {user} must be a member of {org}
)

// Routes returns the routes of this package: the access matrix is made of them.
func Routes() []Route {
	return slices.Concat(tokenRoutes(), organizationRoutes(), memberRoutes(), applicationRoutes(), adminRoutes(), systemRoutes(), accountRoutes())
}

func tokenRoutes() []Route {
	return []Route{
		{"GET", "/management/token", Public, 0, (*call).managementToken, nil},
		{"POST", "/management/token", Public, 0, (*call).managementToken, nil},
		{"GET", "/management/me", Proven, 0, (*call).me, nil},
		{"POST", "/management/me", Public, 0, (*call).me, nil},
		{"GET", "/management/authorize", Public, 0, (*call).authorizeForm, nil},
		{"POST", "/management/authorize", Public, 0, (*call).authorizeAdmin, nil},
		{"GET", "/management/tokendetails", Public, 0, (*call).never, nil},
		{"GET", "/management/externaltoken", Public, 0, (*call).never, nil},
	}
}

func organizationRoutes() []Route {
	return []Route{
		{"POST", "/management/orgs", Public, changes, (*call).createOrganization, nil},
		{"GET", "/management/orgs", Superuser, 0, (*call).listOrganizations, nil},
		{"GET", "/management/orgs/{org}", Members, 0, (*call).showOrganization, nil},
		{"PUT", "/management/orgs/{org}", Members, changes, (*call).updateOrganization, nil},
		{"DELETE", "/management/orgs/{org}", Public, 0, (*call).deleteOrganization, nil},
		{"GET", "/management/orgs/{org}/activate", Public, changes, (*call).activateOrganization, nil},
		{"GET", "/management/orgs/{org}/confirm", Public, changes, (*call).confirmOrganization, nil},
		{"GET", "/management/orgs/{org}/reactivate", Public, changes, (*call).reactivateOrganization, nil},
		{"GET", "/management/orgs/{org}/feed", Members, 0, (*call).organizationFeed, nil},
		{"GET", "/management/orgs/{org}/credentials", Members, 0, (*call).organizationCredentials, nil},
		{"POST", "/management/orgs/{org}/credentials", Members, changes, (*call).organizationCredentials, nil},
		{"GET", "/management/orgs/{org}/config", Superuser, 0, (*call).showSettings, nil},
		{"PUT", "/management/orgs/{org}/config", Superuser, changes, (*call).changeSettings, nil},
		{"POST", "/management/orgs/{org}/export", Members, changes, (*call).exportOrganization, nil},
		{"GET", "/management/orgs/{org}/export/{job}", Members, 0, (*call).showExport, nil},
		{"GET", "/management/orgs/{org}/export/{job}/files", Members, 0, (*call).exportFiles, nil},
		{"GET", "/management/orgs/{org}/tasks", Members, 0, (*call).organizationTasks, nil},
	}
}

// memberRoutes are those of the admin users of an organisation; most are aliases of
// what lies under /management/users.
func memberRoutes() []Route {
	const users, user = "/management/orgs/{org}/users", "/management/orgs/{org}/users/{user}"
	return []Route{
		{"GET", users, Members, 0, (*call).listMembers, nil},
		{"POST", users, Members, changes, (*call).invite, nil},
		{"GET", users + "/resetpw", Public, 0, (*call).resetForm, nil},
		{"POST", users + "/resetpw", Public, 0, (*call).requestReset, nil},
		{"GET", user, Members, ofOrg, (*call).showMember, nil},
		{"PUT", user, Members, changes, (*call).putMember, nil},
		{"DELETE", user, Members, changes, (*call).removeMember, nil},
		{"PUT", user + "/password", Public, changes | ofOrg, (*call).adminPassword, nil},
		{"POST", user + "/password", Public, changes | ofOrg, (*call).adminPassword, nil},
		{"GET", user + "/resetpw", Public, ofOrg, (*call).resetAdminForm, nil},
		{"POST", user + "/resetpw", Public, ofOrg, (*call).resetAdmin, nil},
		{"GET", user + "/activate", Public, changes | ofOrg, (*call).activateAdmin, nil},
		{"GET", user + "/confirm", Public, changes | ofOrg, (*call).confirmAdmin, nil},
		{"GET", user + "/reactivate", Public, changes | ofOrg, (*call).reactivateAdmin, nil},
		{"GET", user + "/feed", Self, ofOrg, (*call).adminFeed, nil},
		{"PUT", user + "/revoketokens", Self, changes | ofOrg, (*call).revokeAdminTokens, nil},
		{"POST", user + "/revoketokens", Self, changes | ofOrg, (*call).revokeAdminTokens, nil},
		{"PUT", user + "/revoketoken", Proven, changes | ofOrg, (*call).revokeAdminToken, nil},
		{"POST", user + "/revoketoken", Proven, changes | ofOrg, (*call).revokeAdminToken, nil},
	}
}

func applicationRoutes() []Route {
	const apps, app = "/management/orgs/{org}/apps", "/management/orgs/{org}/apps/{app}"
	return []Route{
		{"GET", "/apps", Superuser, 0, (*call).listAllApplications, nil},
		{"GET", apps, Members, 0, (*call).listApplications, nil},
		{"POST", apps, Members, changes, (*call).createApplication, nil},
		{"GET", app, Members, 0, (*call).showApplication, nil},
		{"DELETE", app, Members, changes, (*call).deleteApplication, nil},
		{"PUT", apps + "/{deleted}", Members, changes, (*call).restoreApplication, nil},
		{"GET", app + "/credentials", Members, 0, (*call).applicationCredentials, nil},
		{"POST", app + "/credentials", Members, changes, (*call).applicationCredentials, nil},
		{"GET", app + "/_size", Members, 0, (*call).applicationSize, nil},
		{"GET", app + "/collections/_size", Members, 0, (*call).collectionsSize, nil},
		{"GET", app + "/{collection}/_size", Members, 0, (*call).collectionSize, nil},
		{"GET", app + "/status", Members, 0, (*call).applicationStatus, nil},
		{"POST", app + "/sia-provider", Members, changes, (*call).setProvider, nil},
		{"POST", app + "/import", Members, 0, (*call).importLines, nil},
		{"POST", app + "/export", Members, changes, (*call).exportToStore, nil},
		{"POST", app + "/collection/{collection}/export", Members, changes, (*call).exportToStore, nil},
		{"GET", app + "/imports", Members, 0, (*call).listImports, nil},
		{"POST", app + "/imports", Members, changes, (*call).startImport, nil},
		{"GET", app + "/imports/{job}", Members, 0, (*call).showImport, nil},
		{"GET", app + "/imports/{job}/files", Members, 0, (*call).importFiles, nil},
		{"GET", app + "/imports/{job}/files/{file}", Members, 0, (*call).importFile, nil},
		{"GET", app + "/imports/{job}/files/{file}/errors", Members, 0, (*call).importErrors, nil},
		{"GET", app + "/tasks", Members, 0, (*call).applicationTasks, nil},
		{"GET", app + "/tasks/{task}", Members, 0, (*call).applicationTask, nil},
		{"DELETE", app + "/tasks/{task}", Members, changes, (*call).cancelTask, nil},
	}
}

func adminRoutes() []Route {
	const users, user = "/management/users", "/management/users/{user}"
	return []Route{
		{"POST", users, Public, changes, (*call).createAdmin, nil},
		{"GET", users + "/resetpw", Public, 0, (*call).resetForm, nil},
		{"POST", users + "/resetpw", Public, 0, (*call).requestReset, nil},
		{"GET", user, Self, 0, (*call).showAdmin, nil},
		{"PUT", user, Self, changes, (*call).updateAdmin, nil},
		{"PUT", user + "/password", Public, changes, (*call).adminPassword, nil},
		{"POST", user + "/password", Public, changes, (*call).adminPassword, nil},
		{"GET", user + "/resetpw", Public, 0, (*call).resetAdminForm, nil},
		{"POST", user + "/resetpw", Public, 0, (*call).resetAdmin, nil},
		{"GET", user + "/activate", Public, changes, (*call).activateAdmin, nil},
		{"GET", user + "/confirm", Public, changes, (*call).confirmAdmin, nil},
		{"GET", user + "/reactivate", Public, changes, (*call).reactivateAdmin, nil},
		{"GET", user + "/feed", Self, 0, (*call).adminFeed, nil},
		{"GET", user + "/orgs", Self, 0, (*call).adminOrganizations, nil},
		{"POST", user + "/orgs", Self, changes, (*call).createAdminOrganization, nil},
		{"PUT", user + "/orgs/{org}", Members, changes, (*call).joinOrganization, nil},
		{"DELETE", user + "/orgs/{org}", Members, changes, (*call).leaveOrganization, nil},
		{"PUT", user + "/revoketokens", Self, changes, (*call).revokeAdminTokens, nil},
		{"POST", user + "/revoketokens", Self, changes, (*call).revokeAdminTokens, nil},
		{"PUT", user + "/revoketoken", Proven, changes, (*call).revokeAdminToken, nil},
		{"POST", user + "/revoketoken", Proven, changes, (*call).revokeAdminToken, nil},
	}
}

func systemRoutes() []Route {
	const rebuild = "/system/index/rebuild"
	return []Route{
		{"PUT", "/system/database/setup", Superuser, changes, (*call).setUp, nil},
		{"PUT", "/system/database/bootstrap", Superuser, changes, (*call).setUp, nil},
		{"GET", "/system/superuser/setup", Superuser, changes, (*call).setUpSuperuser, nil},
		{"PUT", "/system/superuser/setup", Superuser, changes, (*call).setUpSuperuser, nil},
		{"GET", "/system/migrate/status", Superuser, 0, (*call).migrations, nil},
		{"GET", "/system/migrate/count", Superuser, 0, (*call).migrations, nil},
		{"PUT", "/system/migrate/set", Superuser, 0, (*call).migrations, nil},
		{"PUT", "/system/migrate/run", Superuser, 0, (*call).migrations, nil},
		{"PUT", "/system/migrate/run/{plugin}", Superuser, 0, (*call).migrations, nil},
		{"GET", "/system/queue/size", Superuser, 0, (*call).queueSize, nil},
		{"POST", rebuild, Superuser, 0, (*call).rebuilt, nil},
		{"POST", rebuild + "/management", Superuser, 0, (*call).rebuilt, nil},
		{"POST", rebuild + "/{application}", Superuser, changes, (*call).rebuild, nil},
		{"POST", rebuild + "/{application}/{collection}", Superuser, changes, (*call).rebuild, nil},
		{"GET", rebuild + "/{job}", Superuser, 0, (*call).rebuildJob, nil},
		{"DELETE", "/system/applications/{application}", Superuser, changes, (*call).clearApplication, nil},
		{"GET", "/system/applications/{application}/job/{job}", Superuser, 0, (*call).clearJob, nil},
		{"POST", "/system/connection/dedup/{application}", Superuser, 0, (*call).deduplicated, nil},
	}
}

// accountRoutes are those of an application that are about credentials.
func accountRoutes() []Route {
	const app, users, user = "/{org}/{app}", "/{org}/{app}/users", "/{org}/{app}/users/{who}"
	return []Route{
		{"GET", app + "/token", Public, 0, (*call).applicationToken, nil},
		{"POST", app + "/token", Public, 0, (*call).applicationToken, nil},
		{"GET", app + "/authorize", Public, 0, (*call).authorizeForm, nil},
		{"POST", app + "/authorize", Public, 0, (*call).authorizeUser, nil},
		{"GET", app + "/credentials", Administrators, 0, (*call).applicationKeys, nil},
		{"POST", app + "/credentials", Administrators, changes, (*call).applicationKeys, nil},
		{"GET", app + "/export", Administrators, 0, (*call).exportApplication, nil},
		{"GET", app + "/auth/{service}", Permitted, 0, (*call).social, nil},
		{"POST", app + "/auth/{service}", Permitted, 0, (*call).social, nil},
		{"GET", user + "/token", Proven, 0, (*call).userToken, nil},
		{"PUT", user + "/revoketokens", Proven, changes, (*call).revokeUserTokens, nil},
		{"POST", user + "/revoketokens", Proven, changes, (*call).revokeUserTokens, nil},
		{"PUT", user + "/revoketoken", Proven, changes, (*call).revokeUserToken, nil},
		{"POST", user + "/revoketoken", Proven, changes, (*call).revokeUserToken, nil},
		{"GET", users + "/resetpw", Public, 0, (*call).resetForm, nil},
		{"POST", users + "/resetpw", Public, 0, (*call).requestUserReset, nil},
		{"GET", user + "/resetpw", Public, 0, (*call).resetUserForm, nil},
		{"POST", user + "/resetpw", Public, 0, (*call).resetUser, nil},
		{"GET", user + "/activate", Public, changes, (*call).activateUser, nil},
		{"GET", user + "/confirm", Public, changes, (*call).confirmUser, nil},
		{"GET", user + "/reactivate", Public, 0, (*call).reactivateUser, nil},
	}
}
