"""What users of kombu (over py-amqp) do with a broker: entities, producers, consumers, serializers, simple queues.

Run by tests/interop/run, with the broker's address in INTEROP_AMQP_URL.
"""

import datetime
import decimal
import os
import socket
import time
import unittest
import uuid

import amqp.exceptions
import kombu.common
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin

URL = os.environ["INTEROP_AMQP_URL"].replace("amqp://", "pyamqp://", 1)
DEADLINE_S = 15
ACCEPT = ["json", "pickle", "text/plain", "application/data"]


def connect(**settings):
    return Connection(URL, connect_timeout=DEADLINE_S,
                      transport_options={"confirm_publish": True, "read_timeout": DEADLINE_S,
                                         "write_timeout": DEADLINE_S}, **settings)


class KombuTest(unittest.TestCase):
    def setUp(self):
        self.name = f"interop.kombu.{uuid.uuid4().hex[:12]}"
        self.connection = connect()
        self.channel = self.connection.channel()
        self.producer = Producer(self.channel)
        self.entities = []

    def tearDown(self):
        self.connection.release()
        with connect() as connection:
            for entity in self.entities:
                entity(connection.channel()).delete()

    def declare(self, entity):
        self.entities.append(entity)
        bound = entity(self.channel)
        bound.declare()
        return bound

    def queue(self, suffix="q", **settings):
        return self.declare(Queue(f"{self.name}.{suffix}", **settings))

    def exchange(self, kind):
        return self.declare(Exchange(f"{self.name}.{kind}", kind))

    def publish(self, queue, *bodies, **settings):
        for body in bodies:
            self.producer.publish(body, exchange="", routing_key=queue.name, delivery_mode=2, **settings)

    def drain_until(self, condition, what, connection=None):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"waited {DEADLINE_S} s for {what}")
            try:
                (connection or self.connection).drain_events(timeout=0.1)
            except socket.timeout:
                pass

    def get(self, queue, **settings):
        deadline = time.monotonic() + DEADLINE_S
        while (message := queue.get(accept=ACCEPT, **settings)) is None:
            self.assertLess(time.monotonic(), deadline, f"waited {DEADLINE_S} s for a message in {queue.name}")
        return message

    def test_publishes_1000_with_confirms_and_consumes_them_in_order(self):
        queue = self.queue()
        for i in range(1000):
            self.publish(queue, {"n": i})
        self.assertEqual(queue.queue_declare(passive=True).message_count, 1000)
        received = []

        def on_message(body, message):
            received.append(body["n"])
            if len(received) % 25 == 0:
                message.channel.basic_ack(message.delivery_tag, multiple=True)

        with Consumer(self.channel, queue, callbacks=[on_message], accept=ACCEPT, prefetch_count=50):
            self.drain_until(lambda: len(received) == 1000, "1000 messages")
        self.assertEqual(received, list(range(1000)))
        self.assertIsNone(queue.get())

    def test_a_producer_declares_what_it_publishes_to(self):
        exchange = Exchange(self.name, "topic")
        queue = Queue(self.name, exchange, "news.*")
        self.entities += [queue, exchange]
        self.producer.publish("hello", exchange=exchange, routing_key="news.local", declare=[exchange, queue],
                              retry=True, retry_policy={"max_retries": 3})
        message = self.get(queue(self.channel), no_ack=True)
        self.assertEqual((message.payload, message.delivery_info["routing_key"]), ("hello", "news.local"))
        self.assertEqual(message.properties["delivery_mode"], 2)

    def test_serializers_and_compression(self):
        queue = self.queue()
        value = {"text": "żółw", "list": [1, 2.5, None, True]}
        for settings in ({"serializer": "json"}, {"serializer": "pickle"},
                         {"serializer": "json", "compression": "zlib"}, {"serializer": "pickle", "compression": "bzip2"}):
            self.publish(queue, value, **settings)
            self.assertEqual(self.get(queue, no_ack=True).decode(), value, settings)
        self.publish(queue, b"\x00\xff", content_type="application/data", content_encoding="binary")
        self.assertEqual(self.get(queue, no_ack=True).payload, b"\x00\xff")

    def test_properties_and_headers_round_trip(self):
        queue = self.queue()
        headers = {
            "text": "żółw 🐢", "empty": "", "true": True, "false": False, "int": 7, "negative": -2**31 + 1,
            "long": 2**63 - 1, "least long": -2**63, "float": 0.1, "decimal": decimal.Decimal("-12.345"),
            "time": datetime.datetime(2026, 11, 21, 9, 30, 1), "none": None,
            "list": [1, "two", None, [3.5, {"four": 4}]], "table": {"a": {"b": [True, {}]}}, "empty list": [],
        }
        properties = {"priority": 3, "correlation_id": "correlation", "reply_to": "reply", "expiration": "60000",
                      "message_id": "m" * 255, "timestamp": 1_795_253_401,
                      "type": "kind", "user_id": self.connection.userid, "app_id": "interop"}
        sent = dict(properties, expiration=60)  # kombu takes seconds.
        self.publish(queue, "", headers=headers, **sent)
        message = self.get(queue, no_ack=True)
        self.maxDiff = None
        self.assertEqual(message.headers, headers)
        for name, value in properties.items():
            self.assertEqual(message.properties[name], value, name)

    def test_prefetch_limits_what_is_unacknowledged(self):
        queue = self.queue()
        self.publish(queue, *range(30))
        messages = []
        with Consumer(self.channel, queue, on_message=messages.append, prefetch_count=10):
            self.drain_until(lambda: len(messages) == 10, "10 deliveries")
            with self.assertRaises(socket.timeout):
                self.connection.drain_events(timeout=0.3)
            messages[0].ack()
            self.drain_until(lambda: len(messages) == 11, "one more")
            with self.assertRaises(socket.timeout):
                self.connection.drain_events(timeout=0.3)

    def test_requeued_messages_come_back_first_and_redelivered(self):
        queue = self.queue()
        self.publish(queue, *range(4))
        messages = [self.get(queue) for _ in range(3)]
        messages[0].requeue()
        messages[1].reject()
        messages[2].ack()
        results = [self.get(queue, no_ack=True) for _ in range(2)]
        self.assertEqual([(m.payload, m.delivery_info["redelivered"]) for m in results], [(0, True), (3, False)])
        self.assertIsNone(queue.get())

    def test_recover_and_a_lost_channel_requeue(self):
        queue = self.queue()
        self.publish(queue, 0)
        self.get(queue)
        self.channel.basic_recover(requeue=True)
        self.assertTrue(self.get(queue).delivery_info["redelivered"])
        self.connection.release()
        self.connection = connect()
        self.channel = self.connection.channel()
        self.assertTrue(self.get(queue(self.channel)).delivery_info["redelivered"])

    def test_routes_by_direct_fanout_topic_and_headers(self):
        exchanges = {kind: self.exchange(kind) for kind in ("direct", "fanout", "topic", "headers")}
        queues = [self.queue(str(i)) for i in range(2)]
        queues[0].bind_to(exchanges["direct"].name, "red")
        for queue in queues:
            queue.bind_to(exchanges["fanout"].name)
        queues[0].bind_to(exchanges["topic"].name, "*.orange.*")
        queues[1].bind_to(exchanges["topic"].name, "lazy.#")
        queues[1].bind_to(exchanges["headers"].name, "", arguments={"x-match": "all", "a": 1})

        def routed(kind, key, **settings):
            self.producer.publish("", exchange=exchanges[kind].name, routing_key=key, **settings)
            return [queue.purge() for queue in queues]

        self.assertEqual(routed("direct", "red"), [1, 0])
        self.assertEqual(routed("direct", "blue"), [0, 0])
        self.assertEqual(routed("fanout", ""), [1, 1])
        self.assertEqual(routed("topic", "lazy.orange.fox"), [1, 1])
        self.assertEqual(routed("topic", "lazy"), [0, 1])
        self.assertEqual(routed("headers", "", headers={"a": 1}), [0, 1])
        self.assertEqual(routed("headers", "", headers={"a": 2}), [0, 0])
        exchanges["fanout"].bind_to(exchanges["direct"].name, "all")
        self.assertEqual(routed("direct", "all"), [1, 1])
        exchanges["fanout"].unbind_from(exchanges["direct"].name, "all")
        self.assertEqual(routed("direct", "all"), [0, 0])

    def test_unroutable_messages_are_returned(self):
        returned = []
        producer = Producer(self.channel, on_return=lambda *args: returned.append(args[0]))
        producer.publish("", exchange="", routing_key=self.name + ".missing", mandatory=True)
        self.drain_until(lambda: returned, "the return")
        self.assertEqual(returned[0].reply_code, 312)

    def test_expired_and_rejected_messages_are_dead_lettered(self):
        exchange = self.exchange("fanout")
        dead = self.queue("dead", exchange=exchange)
        arguments = {"x-dead-letter-exchange": exchange.name, "x-dead-letter-routing-key": "dead"}
        queue = self.queue("short", message_ttl=0.1, max_length=5, expires=60, queue_arguments=arguments)
        self.publish(queue, "old")
        message = self.get(dead, no_ack=True)
        death = message.headers["x-death"][0]
        self.assertEqual((message.payload, death["reason"], death["queue"], death["count"]),
                         ("old", "expired", queue.name, 1))
        lasting = self.queue("lasting", queue_arguments=arguments)
        self.publish(lasting, "bad")
        self.get(lasting).reject()
        self.assertEqual(self.get(dead, no_ack=True).headers["x-first-death-reason"], "rejected")

    def test_priorities(self):
        queue = self.queue(max_priority=5)
        for priority in (0, 5, 1):
            self.publish(queue, priority, priority=priority)
        self.assertEqual([self.get(queue, no_ack=True).payload for _ in range(3)], [5, 1, 0])

    def test_a_full_queue_that_rejects_publishes_nacks(self):
        queue = self.queue(max_length=1, queue_arguments={"x-overflow": "reject-publish"})
        with self.assertRaises(amqp.exceptions.MessageNacked):
            self.publish(queue, *range(10))

    def test_exclusive_queues_are_for_one_connection(self):
        queue = self.queue("exclusive", exclusive=True)
        with connect() as other, self.assertRaises(amqp.exceptions.ResourceLocked):
            queue(other.channel()).queue_declare(passive=True)

    def test_auto_delete_queues_end_with_their_last_consumer(self):
        queue = self.queue("auto", auto_delete=True)
        with Consumer(self.channel, queue, on_message=lambda _: None):
            pass
        with self.assertRaises(amqp.exceptions.NotFound):
            queue.queue_declare(passive=True)

    def test_a_consumer_is_told_when_its_queue_is_deleted(self):
        queue = self.queue()
        with connect() as other:
            consumer = Consumer(self.channel, queue, on_message=lambda _: None)
            consumer.consume()
            queue(other.channel()).delete()
            with self.assertRaises(amqp.exceptions.ConsumerCancelled):
                self.drain_until(lambda: False, "the cancel")

    def test_a_redeclare_with_other_properties_is_refused(self):
        queue = self.queue()
        with self.assertRaises(amqp.exceptions.PreconditionFailed):
            Queue(queue.name, durable=False, auto_delete=True)(self.connection.channel()).declare()

    def test_goes_on_after_a_channel_was_closed_with_404(self):
        queue = self.queue()
        with self.assertRaises(amqp.exceptions.NotFound):
            Queue(self.name + ".missing")(self.channel).queue_declare(passive=True)
        self.channel = self.connection.channel()
        self.producer = Producer(self.channel)
        self.publish(queue, "after")
        self.assertEqual(self.get(queue(self.channel), no_ack=True).payload, "after")

    def test_ensure_retries_on_a_new_connection(self):
        queue = self.queue()
        publish = self.connection.ensure(self.producer, self.producer.publish, max_retries=3, interval_start=0)
        self.connection.default_channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        publish("after", exchange="", routing_key=queue.name)
        with connect() as other:
            self.assertEqual(self.get(queue(other.channel()), no_ack=True).payload, "after")

    def test_a_consumer_mixin_survives_a_deleted_queue_and_a_lost_connection(self):
        # A durable queue that is declared again by each new consumer.
        queue = self.queue()
        test = self

        class Worker(ConsumerMixin):
            received = []

            def __init__(self, connection):
                self.connection = connection

            def get_consumers(self, consumer_class, channel):
                return [consumer_class([Queue(queue.name)], callbacks=[self.on_body], accept=ACCEPT)]

            def on_body(self, body, message):
                message.ack()
                self.received.append(body)
                if body == "delete":
                    queue.delete()
                elif body == "drop":
                    message.channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
                elif body == "stop":
                    self.should_stop = True

            def on_consume_ready(self, connection, channel, consumers, **_):
                if self.queued:
                    test.publish(queue, self.queued.pop(0))

            def on_iteration(self):
                test.assertLess(time.monotonic(), deadline, f"after {self.received}")

        Worker.queued = ["delete", "drop", "stop"]
        deadline = time.monotonic() + DEADLINE_S
        with connect() as connection:
            worker = Worker(connection)
            worker.connect_max_retries = 3
            worker.run()
        self.assertEqual(worker.received, ["delete", "drop", "stop"])

    def test_a_simple_queue(self):
        simple = self.connection.SimpleQueue(self.name)
        self.entities.append(Queue(self.name))
        self.entities.append(Exchange(self.name))
        with self.assertRaises(simple.Empty):
            simple.get_nowait()
        for i in range(3):
            simple.put({"n": i})
        for i in range(3):
            message = simple.get(timeout=DEADLINE_S)
            self.assertEqual(message.payload, {"n": i})
            message.ack()
        with self.assertRaises(simple.Empty):
            simple.get(timeout=0.1)
        simple.close()

    def test_a_body_of_5_mib(self):
        queue = self.queue()
        body = os.urandom(5 * 1024 * 1024)
        self.publish(queue, body, content_type="application/data", content_encoding="binary")
        self.assertTrue(self.get(queue, no_ack=True).payload == body, "another body came back")

    def test_heartbeats_keep_an_idle_connection(self):
        queue = self.queue()
        with connect(heartbeat=2) as idle:
            idle.connect()
            self.assertTrue(idle.get_heartbeat_interval())
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline:
                idle.heartbeat_check(rate=4)
                try:
                    idle.drain_events(timeout=0.5)
                except socket.timeout:
                    pass
            queue(idle.channel()).queue_declare(passive=True)

    def test_transactions_commit_and_roll_back(self):
        queue = self.queue()
        with connect() as other:
            other.transport_options = {}
            channel = other.channel()
            channel.tx_select()
            producer = Producer(channel)
            producer.publish("rolled back", exchange="", routing_key=queue.name)
            channel.tx_rollback()
            producer.publish("committed", exchange="", routing_key=queue.name)
            channel.tx_commit()
        self.assertEqual(self.get(queue, no_ack=True).payload, "committed")

    def test_broadcasts_reach_every_consumer(self):
        name = self.name + ".broadcast"
        received = []
        with connect() as other:
            consumers = [kombu.common.Broadcast(name), kombu.common.Broadcast(name)]
            self.entities.append(Exchange(name))
            with Consumer(self.channel, consumers[0], callbacks=[lambda body, _: received.append(0)], no_ack=True), \
                    Consumer(other.channel(), consumers[1], callbacks=[lambda body, _: received.append(1)], no_ack=True):
                self.producer.publish("all", exchange=name)
                self.drain_until(lambda: 0 in received, "the first copy")
                self.drain_until(lambda: 1 in received, "the second copy", other)


if __name__ == "__main__":
    unittest.main()
