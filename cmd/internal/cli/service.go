package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/internal/durable"
)

// APIKeyVariable is the environment variable with the API key for commands that call a running
// service.
const APIKeyVariable = "ADMITONE_API_KEY"

// APIKey returns the API key from the file of --api-key-file, or without a file from
// APIKeyVariable.
func APIKey(file string) (string, error) {
	if file == "" {
		if key := os.Getenv(APIKeyVariable); key != "" {
			return key, nil
		}
		return "", Usagef("no API key: give --api-key-file or set %s; ticketd apikey add makes one", APIKeyVariable)
	}
	const longest = 4096
	data, err := durable.ReadPrivate(file, longest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", Flagf("api-key-file", "names no file; write the output of ticketd apikey add to %s", file)
	case err != nil:
		return "", &FlagError{Flag: "api-key-file", Reason: "cannot be used", Cause: err}
	}
	key := strings.TrimRight(string(data), "\r\n")
	if key == "" {
		return "", Flagf("api-key-file", "is an empty file; write the output of ticketd apikey add to %s", file)
	}
	return key, nil
}

// ForService makes a *client.ConfigError wrong usage of --url or --api-key-file. Other errors
// stay as they are.
func ForService(err error) error {
	fault, ok := errors.AsType[*client.ConfigError](err)
	if !ok {
		return err
	}
	flag := map[string]string{"client.Config.URL": "url", "client.Config.APIKey": "api-key-file"}[fault.Field]
	return Usage(&FlagError{Flag: flag, Reason: InFlags(fault.Reason), Cause: fault.Cause})
}

// InFlags puts flags in the place of the fields of client.Config in a text.
func InFlags(text string) string {
	return strings.NewReplacer("client.Config.URL", "--url", "client.Config.APIKey", "--api-key-file",
		"set InsecureHTTP", "give --insecure-http").Replace(text)
}
