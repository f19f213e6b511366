//go:build unix

package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
)

// Durable are the options of a Redis that loses no answered write when the server
// crashes.
var Durable = []string{"--appendonly", "yes", "--appendfsync", "always", "--save", ""}

// Forgetful are the options of a Redis that keeps nothing.
var Forgetful = []string{"--appendonly", "no", "--save", ""}

// RedisServer is a Redis or Valkey, or a Sentinel.
type RedisServer struct {
	// URL is redis://127.0.0.1:PORT.
	URL string
	// Port is the server's port on 127.0.0.1, and Address is 127.0.0.1:PORT.
	Port    int
	Address string

	t       testing.TB
	program string
	options []string
	process
}

// RedisPrograms returns the paths of redis-server and valkey-server, as far as they
// are installed.
func RedisPrograms(t testing.TB) (found []string) {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		missing(t, "neither redis-server nor valkey-server")
	}
	return found
}

// Redis starts a server of the program; "" stands for the first installed program.
// The options are those of redis-server, such as Durable.
func Redis(t testing.TB, program string, options ...string) *RedisServer {
	t.Helper()
	s := newRedis(t, program, options)
	s.Start()
	return s
}

func newRedis(t testing.TB, program string, options []string) *RedisServer {
	t.Helper()
	if program == "" {
		program = RedisPrograms(t)[0]
	}
	dir := t.TempDir()
	s := &RedisServer{t: t, program: program, Port: Port(t)}
	s.Address = fmt.Sprintf("127.0.0.1:%d", s.Port)
	s.URL = "redis://" + s.Address
	s.options = append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--dir", dir}, options...)
	s.log = filepath.Join(dir, "log")
	t.Cleanup(s.Kill)
	return s
}

// Start starts the server, and returns when the server answers.
func (s *RedisServer) Start() {
	s.t.Helper()
	s.begin(s.t, exec.Command(s.program, s.options...))
	want := fmt.Sprintf("process_id:%d\r\n", s.pid())
	s.awaitAnswer(s.t, func() error {
		// Unlike INFO, PING is refused until all data is loaded.
		_, err := s.do("PING")
		if err != nil {
			// The server is up, and wants a password or a certificate.
			if redis, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(redis.Error(), "NOAUTH") {
				return nil
			}
			return err
		}
		if info, err := s.do("INFO", "server"); err != nil {
			return err
		} else if !strings.Contains(info, want) {
			return fmt.Errorf("another server listens on port %d", s.Port)
		}
		return nil
	})
}

// Stop shuts the server down in good order. The server saves its data if configured to.
func (s *RedisServer) Stop() {
	s.Thaw()
	s.end(syscall.SIGTERM)
}

// Kill ends the server with SIGKILL.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// Freeze suspends the server; Thaw resumes the server.
func (s *RedisServer) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *RedisServer) Thaw() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(signal syscall.Signal) {
	s.t.Helper()
	if pid := s.pid(); pid != 0 {
		_ = syscall.Kill(pid, signal)
	}
}

// Do sends a command on a connection of its own and returns the answer as text. An
// error fails the test.
func (s *RedisServer) Do(arguments ...string) string {
	s.t.Helper()
	answer, err := s.do(arguments...)
	if err != nil {
		s.t.Fatalf("%v: %v", arguments, err)
	}
	return answer
}

func (s *RedisServer) do(arguments ...string) (string, error) {
	client, err := s.Client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	message, err := client.Do(ctx, client.B().Arbitrary(arguments...).Build()).ToMessage()
	if err != nil {
		return "", err
	}
	value, err := message.ToAny()
	return fmt.Sprint(value), err
}

// Client returns a client of this server only, without user and password.
func (s *RedisServer) Client() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Address}, ForceSingleClient: true,
		DisableCache: true})
}

// Replicas starts n replicas of s with the same program, and returns when s sends
// its writes to all replicas. A replica gets writes after its first acknowledgement,
// up to a second after the link is up. Before that, a replica may have nothing, and
// can still be promoted.
func (s *RedisServer) Replicas(n int, options ...string) (replicas []*RedisServer) {
	s.t.Helper()
	for range n {
		replicas = append(replicas, Redis(s.t, s.program,
			append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(s.Port)}, options...)...))
	}
	for _, replica := range replicas {
		replica.await("master_link_status:up", "INFO", "replication")
	}
	s.Do("PUBLISH", "to replicas", "") // reaches the replicas, and changes no data
	sent, err := s.offset()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, replica := range replicas {
		eventually(s.t, "replication to "+replica.Address, func() error {
			got, err := replica.offset()
			if err == nil && got < sent {
				err = fmt.Errorf("it has %d bytes of %d", got, sent)
			}
			return err
		})
	}
	return replicas
}

// offset is the position in the stream of writes that the server has sent or taken in.
func (s *RedisServer) offset() (n int64, err error) {
	answer, err := s.do("INFO", "replication")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(answer, "\nmaster_repl_offset:")
	number, _, _ := strings.Cut(rest, "\r")
	return strconv.ParseInt(number, 10, 64)
}

// Sentinel starts a Sentinel that watches s and its replicas under the name
// tickets, and decides alone. Before FailOver, the Sentinel takes no server for dead,
// however slow the machine is. Sentinel returns when the Sentinel knows the given
// number of replicas.
func (s *RedisServer) Sentinel(replicas int) *RedisServer {
	s.t.Helper()
	sentinel := newRedis(s.t, s.program, nil)
	file := filepath.Join(s.t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor tickets 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds tickets 3600000\nsentinel failover-timeout tickets 5000\n", s.Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	sentinel.options = append([]string{file, "--sentinel"}, sentinel.options...)
	sentinel.Start()
	sentinel.await(fmt.Sprintf("slaves=%d", replicas), "INFO", "sentinel")
	return sentinel
}

// FailOver kills the primary. When the replicas have taken in all writes that the
// primary sent, and have noticed its end, the Sentinel promotes a replica.
func (s *RedisServer) FailOver(sentinel *RedisServer, replicas ...*RedisServer) {
	s.t.Helper()
	s.Kill()
	for _, replica := range replicas {
		replica.await("master_link_status:down", "INFO", "replication")
	}
	sentinel.await("OK", "SENTINEL", "FAILOVER", "tickets")
}

// RedisCluster starts a Cluster of three primaries, each with a third of the
// slots, in their order.
func RedisCluster(t testing.TB, program string, options ...string) (nodes []*RedisServer) {
	t.Helper()
	options = append([]string{
		"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "60000", "--cluster-require-full-coverage", "no",
	}, options...)
	for range 3 {
		nodes = append(nodes, Redis(t, program, options...))
	}
	for i, node := range nodes {
		add := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * 16384 / 3; slot < (i+1)*16384/3; slot++ {
			add = append(add, strconv.Itoa(slot))
		}
		node.Do(add...)
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, node := range nodes[1:] {
		node.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(nodes[0].Port))
	}
	for _, node := range nodes {
		node.AwaitCluster()
	}
	return nodes
}

// ClusterReplicas adds a replica to each node of a Cluster of three, and returns when all
// replicas follow.
func ClusterReplicas(nodes []*RedisServer) (replicas []*RedisServer) {
	t := nodes[0].t
	t.Helper()
	for _, node := range nodes {
		replica := newRedis(t, node.program, nil)
		replica.options = append(replica.options, node.options[len(replica.options):]...)
		replica.Start()
		replica.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(nodes[0].Port))
		replicas = append(replicas, replica)
	}
	for i, replica := range replicas {
		replica.await("cluster_known_nodes:6", "CLUSTER", "INFO")
		eventually(t, "CLUSTER REPLICATE on "+replica.Address, func() error {
			_, err := replica.do("CLUSTER", "REPLICATE", nodes[i].Do("CLUSTER", "MYID"))
			return err
		})
	}
	for i, replica := range replicas {
		replica.await("master_link_status:up", "INFO", "replication")
		nodes[i].await("state=online", "INFO", "replication")
	}
	return replicas
}

// AwaitCluster returns when the node sees all three nodes of the Cluster, and all
// slots are served.
func (s *RedisServer) AwaitCluster() {
	s.t.Helper()
	for _, want := range []string{"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_known_nodes:3"} {
		s.await(want, "CLUSTER", "INFO")
	}
}

// await sends the command until the answer contains want.
func (s *RedisServer) await(want string, command ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%v on %s", command, s.Address), func() error {
		answer, err := s.do(command...)
		if err == nil && !strings.Contains(answer, want) {
			err = fmt.Errorf("no %q in %q", want, answer)
		}
		return err
	})
}
