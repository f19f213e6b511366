package manage

// Subject is what an operation is about.
type Subject string

// The subjects.
const (
	OfBrand      Subject = "brand"      // one brand, which the caller must have
	OfDeployment Subject = "deployment" // the whole deployment, for callers of all brands
	OfCaller     Subject = "caller"     // the records whose brands are all among the caller's
)

// Effect is what an operation does.
type Effect string

// The effects.
const (
	Reads    Effect = "read"
	Changes  Effect = "change"
	Destroys Effect = "destroy" // a change that nobody can take back
)

// An Operation describes a method of Desk.
type Operation struct {
	Name string // of the method
	Of   Subject
	Does Effect
}

// Operations describes every operation.
var Operations = []Operation{
	{"Brands", OfCaller, Reads},
	{"Brand", OfBrand, Reads},
	{"Effective", OfBrand, Reads},
	{"AddBrand", OfDeployment, Changes},
	{"ChangeBrand", OfBrand, Changes},
	{"RemoveBrand", OfDeployment, Destroys},
	{"EndBrandSessions", OfBrand, Destroys},

	{"Agents", OfBrand, Reads},
	{"SearchAgents", OfBrand, Reads},
	{"Agent", OfBrand, Reads},
	{"AddAgent", OfBrand, Changes},
	{"ChangeAgent", OfBrand, Changes},
	{"RemoveAgent", OfBrand, Destroys},
	{"EndAgentSessions", OfBrand, Destroys},
	{"PreviewAgents", OfBrand, Reads},
	{"ImportAgents", OfBrand, Changes},

	{"Customers", OfBrand, Reads},
	{"SearchCustomers", OfBrand, Reads},
	{"FindCustomers", OfBrand, Reads},
	{"Customer", OfBrand, Reads},
	{"AddCustomer", OfBrand, Changes},
	{"ChangeCustomer", OfBrand, Changes},
	{"RemoveCustomer", OfBrand, Destroys},
	{"EndCustomerSessions", OfBrand, Destroys},

	{"Channels", OfBrand, Reads},
	{"Channel", OfBrand, Reads},
	{"AddChannel", OfBrand, Changes},
	{"ChangeChannel", OfBrand, Changes},
	{"RemoveChannel", OfBrand, Destroys},

	{"IssueTicket", OfBrand, Changes},
	{"ExplainTicket", OfCaller, Reads},
	{"RevokeTicket", OfBrand, Destroys},

	{"APIKeys", OfCaller, Reads},
	{"APIKey", OfCaller, Reads},
	{"AddAPIKey", OfCaller, Changes},
	{"ChangeAPIKey", OfCaller, Changes},
	{"RevokeAPIKey", OfCaller, Destroys},
	{"ReplaceAPIKey", OfCaller, Changes},
	{"RemoveAPIKey", OfCaller, Destroys},

	{"Administrators", OfCaller, Reads},
	{"Administrator", OfCaller, Reads},
	{"AddAdministrator", OfCaller, Changes},
	{"ChangeAdministrator", OfCaller, Changes},
	{"RemoveAdministrator", OfCaller, Destroys},
	{"EndAdministratorSessions", OfCaller, Destroys},

	{"Issuers", OfCaller, Reads},
	{"Issuer", OfCaller, Reads},
	{"EndIssuerSessions", OfDeployment, Destroys},

	{"Events", OfCaller, Reads},
	{"NewEvents", OfCaller, Reads},
	{"Keyrings", OfDeployment, Reads},
	{"Health", OfDeployment, Reads},
	{"Settings", OfDeployment, Reads},
}
