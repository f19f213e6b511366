package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap S13: another database's connection string, in a flag or a variable, is refused before anything is made,
// and nothing of the string is printed.
func TestConnectionStringsOfOthers(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		return run(t.Context(), args, &out, &out), out.String()
	}
	commands := [][]string{
		{"init", "--data", "new"}, {"init", "--data"}, {"serve", "--data", "none"}, {"demo"}, {"brand", "list", "--data", "none"},
		{"brand", "list", "--data"},
	}
	for _, text := range []string{
		"mysql://root:hunter2@localhost/db", "mysql:host=localhost;dbname=db;password=hunter2",
		"root:hunter2@tcp(127.0.0.1:3306)/db", "root:hunter2@/db", "jdbc:mysql://localhost/db?password=hunter2",
		"jdbc:oracle:thin:scott/hunter2@localhost:1521:xe", "scott/hunter2@//localhost:1521/xe",
		"(DESCRIPTION=(ADDRESS=(HOST=localhost))(CONNECT_DATA=(SID=hunter2)))",
		"Server=tcp:localhost,1433;Database=db;User Id=sa;Password=hunter2;", "Data Source=localhost;Pwd=hunter2",
		"sqlserver://sa:hunter2@localhost?database=db", "mongodb+srv://root:hunter2@localhost/db",
		"localhost:6379,password=hunter2", "sqlite:hunter2.db", "sqlite:///hunter2.db", "file:hunter2.db?mode=rwc",
		"host=localhost password=hunter2", "postgres:root:hunter2@localhost/db", "POSTGRES://root:hunter2@localhost/db",
		"cockroachdb://root:hunter2@localhost/db", "amqp://root:hunter2@localhost", "localhost:hunter2/db",
	} {
		for _, command := range commands {
			last := command[len(command)-1]
			if last == "--data" {
				code, out := run(append(command[:len(command):len(command)], text)...)
				assert.Equal(t, 2, code, "%v %s\n%s", command, text, out)
				assert.NotContains(t, out, "hunter2", "%v", command)
				continue
			}
			flags := []string{"--database"}
			if command[0] == "serve" || command[0] == "demo" {
				flags = append(flags, "--replay", "--rate-store")
			}
			for _, flag := range flags {
				values := []string{text}
				if flag == "--replay" {
					values = append(values, "journal:"+text)
				}
				for _, value := range values {
					code, out := run(append(command[:len(command):len(command)], flag, value)...)
					assert.Equal(t, 2, code, "%v %s %s\n%s", command, flag, value, out)
					assert.NotContains(t, out, "hunter2", "%v %s", command, flag)
				}
			}
		}
	}
	made, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, made, "no file is made")
}
