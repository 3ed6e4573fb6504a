package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetStream has the relay's settings of the consumer (shared/relay, consumerConfig). It
// receives with nats.go's defaults.
func (f floor) jetStream(url, subject string) error {
	ctx := context.Background()
	conn, err := nats.Connect(url)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := js.StreamNameBySubject(ctx, subject)
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: "floor", FilterSubject: subject, DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 15 * time.Second, MaxDeliver: -1, MaxAckPending: 10_000,
	})
	if err != nil {
		return err
	}
	_, err = consumer.Consume(func(m jetstream.Msg) {
		f.slots <- struct{}{}
		go func() {
			defer func() { <-f.slots }()
			if err := f.call(m.Data()); err != nil {
				tell(err)
				return
			}
			tell(m.Ack())
		}()
	})
	return err
}
