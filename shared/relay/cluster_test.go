package relay

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"containertriggers/infra/local/natsd"
)

// cluster starts three servers of one cluster and waits until all are connected.
func cluster(t *testing.T) (servers []*natsd.Server, urls []string) {
	t.Helper()
	var ports []int
	var routes []*url.URL
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: listener.Addr().String()})
		listener.Close()
	}
	servers = make([]*natsd.Server, len(ports))
	var starting errgroup.Group
	for i, port := range ports {
		starting.Go(func() (err error) {
			servers[i], err = natsd.Start(&server.Options{
				ServerName: strconv.Itoa(i), Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: port}, Routes: routes,
			})
			return err
		})
	}
	err := starting.Wait()
	for _, started := range servers {
		if started != nil {
			t.Cleanup(started.Close)
			urls = append(urls, started.URL())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return servers, urls
}

func TestStream_OfAClusterSurvivesTheLossOfAServer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	servers, urls := cluster(t)
	conn, err := nats.Connect(urls[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	var stream jetstream.Stream
	b.eventually("the cluster takes a stream", func() bool {
		stream, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3, Retention: jetstream.InterestPolicy})
		return err == nil
	})
	id := b.createOn(urls, "s", "")
	b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s", "1")
	b.eventually("it arrives", func() bool { return b.took("1") == 1 })
	if consumer, err := stream.Consumer(t.Context(), "trigger-"+id); err != nil || len(consumer.CachedInfo().Cluster.Replicas) != 2 {
		t.Errorf("the consumer does not have the stream's replicas: %v", err)
	}
	servers[0].Close()
	b.eventually("the cluster takes a message again", func() bool {
		_, err := js.Publish(t.Context(), "s", []byte("2"))
		return err == nil
	})
	b.eventually("it arrives", func() bool { return b.took("2") > 0 })

	// Without a majority the stream delivers no message.
	servers[2].Close()
	b.inError(id, "JetStream") // it does not answer, or answers that it is unavailable
}
