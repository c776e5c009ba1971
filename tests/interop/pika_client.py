"""What users of pika do with a broker: BlockingConnection for most of it, SelectConnection for many confirms in flight.

Run by tests/interop/run, with the broker's address in INTEROP_AMQP_URL.
"""

import datetime
import decimal
import hashlib
import os
import threading
import time
import unittest
import uuid

import pika
from pika.exceptions import (AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker, NackError,
                             UnroutableError)

URL = os.environ["INTEROP_AMQP_URL"]
PERSISTENT = pika.BasicProperties(delivery_mode=2)
DEADLINE_S = 15


def connect(**settings):
    parameters = pika.URLParameters(URL)
    parameters.socket_timeout = DEADLINE_S
    parameters.blocked_connection_timeout = DEADLINE_S
    for name, value in settings.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


class PikaTest(unittest.TestCase):
    def setUp(self):
        self.name = f"interop.pika.{uuid.uuid4().hex[:12]}"
        self.connection = connect()
        self.channel = self.connection.channel()
        self.queues = []
        self.exchanges = []

    def tearDown(self):
        if self.connection.is_open:
            self.connection.close()
        with connect() as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_delete(queue)
            for exchange in self.exchanges:
                channel.exchange_delete(exchange)

    def queue(self, suffix="q", durable=True, **settings):
        queue = f"{self.name}.{suffix}"
        self.queues.append(queue)
        self.channel.queue_declare(queue, durable=durable, **settings)
        return queue

    def exchange(self, kind, suffix=None):
        exchange = f"{self.name}.{suffix or kind}"
        self.exchanges.append(exchange)
        self.channel.exchange_declare(exchange, kind, durable=True)
        return exchange

    def publish(self, queue, *bodies, properties=PERSISTENT):
        for body in bodies:
            self.channel.basic_publish("", queue, body, properties)

    def process_until(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"waited {DEADLINE_S} s for {what}")
            self.connection.process_data_events(time_limit=0.05)

    def get(self, queue, auto_ack=True):
        """The next message, which may take a moment to arrive: (method, properties, body)."""
        result = [None]

        def got():
            result[0] = self.channel.basic_get(queue, auto_ack=auto_ack)
            return result[0][0] is not None

        self.process_until(got, f"a message in {queue}")
        return result[0]

    def bodies(self, queue, count):
        return [self.get(queue)[2] for _ in range(count)]

    def assert_empty(self, queue):
        self.assertEqual(self.channel.basic_get(queue), (None, None, None))

    def depth(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def test_publishes_1000_with_confirms_in_flight_and_consumes_them_in_order(self):
        queue = self.queue()
        settled = set()
        failures = []

        def on_settled(frame):
            method = frame.method
            if not isinstance(method, pika.spec.Basic.Ack):
                failures.append(f"nack of {method.delivery_tag}")
            lowest = len(settled) + 1 if method.multiple else method.delivery_tag
            for tag in range(min(lowest, method.delivery_tag), method.delivery_tag + 1):
                settled.add(tag)
            if len(settled) == 1000:
                client.close()

        def on_confirming(_):
            for i in range(1000):
                channel.basic_publish("", queue, b"message %d" % i, PERSISTENT)

        def on_channel(opened):
            nonlocal channel
            channel = opened
            channel.confirm_delivery(on_settled, callback=on_confirming)

        def on_timeout():
            failures.append(f"{len(settled)} of 1000 confirmed after {DEADLINE_S} s")
            client.close()

        channel = None
        client = pika.SelectConnection(
            pika.URLParameters(URL),
            on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
            on_open_error_callback=lambda _, error: (failures.append(repr(error)), client.ioloop.stop()),
            on_close_callback=lambda *_: client.ioloop.stop())
        timeout = client.ioloop.call_later(DEADLINE_S, on_timeout)
        client.ioloop.start()
        client.ioloop.remove_timeout(timeout)
        self.assertEqual(failures, [])
        self.assertEqual(settled, set(range(1, 1001)))
        self.assertEqual(self.depth(queue), 1000)

        self.channel.basic_qos(prefetch_count=50)
        received = []
        for method, properties, body in self.channel.consume(queue, inactivity_timeout=DEADLINE_S):
            self.assertIsNotNone(method, f"only {len(received)} of 1000 arrived")
            self.assertEqual(properties.delivery_mode, 2)
            self.assertFalse(method.redelivered)
            received.append(body)
            if len(received) % 25 == 0:
                self.channel.basic_ack(method.delivery_tag, multiple=True)
            if len(received) == 1000:
                break
        self.channel.cancel()
        self.assertEqual(received, [b"message %d" % i for i in range(1000)])
        self.assert_empty(queue)

    def test_each_publish_waits_for_its_confirm(self):
        queue = self.queue()
        self.channel.confirm_delivery()
        for i in range(100):
            self.channel.basic_publish("", queue, b"%d" % i, PERSISTENT, mandatory=True)
        self.assertEqual(self.depth(queue), 100)
        with self.assertRaises(UnroutableError) as caught:
            self.channel.basic_publish("", self.name + ".missing", b"back", PERSISTENT, mandatory=True)
        returned = caught.exception.messages[0]
        self.assertEqual((returned.method.reply_code, returned.body), (312, b"back"))

    def test_a_full_queue_that_rejects_publishes_nacks(self):
        queue = self.queue(arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        self.channel.confirm_delivery()
        nacked = 0
        for i in range(10):
            try:
                self.channel.basic_publish("", queue, b"%d" % i, PERSISTENT)
            except NackError:
                nacked += 1
        self.assertGreater(nacked, 0)
        self.assertEqual(self.depth(queue), 10 - nacked)

    def test_a_full_queue_drops_its_oldest(self):
        queue = self.queue(arguments={"x-max-length": 3})
        self.channel.confirm_delivery()
        self.publish(queue, *(b"%d" % i for i in range(10)))
        self.assertEqual(self.bodies(queue, 3), [b"7", b"8", b"9"])
        self.assert_empty(queue)

    def test_redeclaring_with_other_properties_closes_only_the_channel(self):
        queue = self.queue()
        self.channel.queue_declare(queue, durable=True)
        with self.assertRaises(ChannelClosedByBroker) as caught:
            self.channel.queue_declare(queue, durable=False)
        self.assertEqual(caught.exception.reply_code, 406)
        self.channel = self.connection.channel()
        exchange = self.exchange("direct")
        with self.assertRaises(ChannelClosedByBroker) as caught:
            self.channel.exchange_declare(exchange, "fanout", durable=True)
        self.assertEqual(caught.exception.reply_code, 406)
        self.channel = self.connection.channel()
        self.assertEqual(self.depth(queue), 0)

    def test_goes_on_after_a_channel_was_closed_with_404(self):
        queue = self.queue()
        actions = (lambda: self.channel.queue_declare(self.name + ".missing", passive=True),
                   lambda: self.channel.basic_consume(self.name + ".missing", lambda *_: None),
                   lambda: self.channel.basic_get(self.name + ".missing"),
                   lambda: self.channel.queue_bind(queue, self.name + ".missing", "key"))
        for action in actions:
            with self.assertRaises(ChannelClosedByBroker) as caught:
                action()
            self.assertEqual(caught.exception.reply_code, 404)
            self.assertTrue(self.connection.is_open)
            self.channel = self.connection.channel(1)
        self.publish(queue, b"after")
        self.assertEqual(self.get(queue)[2], b"after")

    def test_reconnects_after_the_connection_was_closed(self):
        queue = self.queue()
        self.channel.basic_consume(queue, lambda *_: None, consumer_tag="same")
        other = pika.spec.Basic.Consume(queue=queue, consumer_tag="same")
        # A duplicate consumer tag, which pika itself would refuse.
        self.channel._impl._send_method(other)
        with self.assertRaises(ConnectionClosedByBroker) as caught:
            self.process_until(lambda: False, "the close")
        self.assertEqual(caught.exception.reply_code, 530)
        self.connection = connect()
        self.channel = self.connection.channel()
        self.publish(queue, b"after")
        self.assertEqual(self.get(queue)[2], b"after")

    def test_a_wrong_password_is_refused(self):
        credentials = pika.PlainCredentials(pika.URLParameters(URL).credentials.username, "wrong")
        with self.assertRaises(pika.exceptions.ProbableAuthenticationError):
            connect(credentials=credentials)

    def test_prefetch_limits_what_is_unacknowledged(self):
        queue = self.queue()
        self.publish(queue, *(b"%d" % i for i in range(30)))
        tags = []
        self.channel.basic_qos(prefetch_count=10)
        self.channel.basic_consume(queue, lambda _, method, *__: tags.append(method.delivery_tag))
        self.process_until(lambda: len(tags) == 10, "10 deliveries")
        self.connection.process_data_events(time_limit=0.3)
        self.assertEqual(len(tags), 10)
        self.channel.basic_ack(tags[4], multiple=True)
        self.process_until(lambda: len(tags) == 15, "5 more deliveries")
        self.connection.process_data_events(time_limit=0.3)
        self.assertEqual(len(tags), 15)

    def test_requeued_messages_come_back_first_and_redelivered(self):
        queue = self.queue()
        self.publish(queue, b"0", b"1", b"2", b"3")
        tags = [self.get(queue, auto_ack=False)[0].delivery_tag for _ in range(3)]
        self.channel.basic_nack(tags[1], multiple=True, requeue=True)
        self.channel.basic_reject(tags[2], requeue=False)
        results = [self.get(queue) for _ in range(3)]
        self.assertEqual([(body, method.redelivered) for method, _, body in results],
                         [(b"0", True), (b"1", True), (b"3", False)])
        self.assert_empty(queue)

    def test_unacknowledged_messages_come_back_when_the_channel_closes(self):
        queue = self.queue()
        self.publish(queue, b"0", b"1")
        self.get(queue, auto_ack=False)
        self.channel.close()
        self.channel = self.connection.channel()
        self.assertEqual([(body, method.redelivered) for method, _, body in (self.get(queue), self.get(queue))],
                         [(b"0", True), (b"1", False)])

    def test_recover_requeues(self):
        queue = self.queue()
        self.publish(queue, b"0")
        self.get(queue, auto_ack=False)
        self.channel.basic_recover(requeue=True)
        self.assertTrue(self.get(queue)[0].redelivered)

    def test_get_tells_how_many_are_left(self):
        queue = self.queue()
        self.assert_empty(queue)
        self.publish(queue, b"0", b"1", b"2")
        self.process_until(lambda: self.depth(queue) == 3, "3 messages")
        self.assertEqual([self.get(queue)[0].message_count for _ in range(3)], [2, 1, 0])

    def test_purge_tells_how_many_went(self):
        queue = self.queue()
        self.channel.confirm_delivery()
        self.publish(queue, b"0", b"1", b"2")
        self.assertEqual(self.channel.queue_purge(queue).method.message_count, 3)
        self.assert_empty(queue)

    def test_properties_and_headers_round_trip(self):
        queue = self.queue()
        headers = {
            "text": "żółw 🐢", "empty": "", "long text": "x" * 1000, "bytes": b"\x00\xff\x80",
            "true": True, "false": False, "small": 7, "negative": -7, "int": 2**31 - 1, "least int": -2**31,
            "long": 2**63 - 1, "decimal": decimal.Decimal("12.345"),
            "time": datetime.datetime(2026, 11, 21, 9, 30, 1), "none": None,
            "list": [1, "two", None, [3, {"four": 4}]], "table": {"a": {"b": [True, {}]}}, "empty list": [],
        }
        properties = pika.BasicProperties(
            content_type="application/json", content_encoding="gzip", headers=headers, delivery_mode=2, priority=9,
            correlation_id="correlation", reply_to="reply", expiration="60000", message_id="m" * 255,
            timestamp=1_795_253_401, type="kind", user_id=pika.URLParameters(URL).credentials.username, app_id="interop", cluster_id="cluster")
        self.publish(queue, b"", properties=properties)
        _, received, body = self.get(queue)
        self.assertEqual(body, b"")
        self.maxDiff = None
        self.assertEqual(received.headers, headers)
        for name in headers:
            self.assertIsInstance(received.headers[name], type(headers[name]), name)
        self.assertEqual(received.__dict__, properties.__dict__)

    def test_routes_by_direct_fanout_topic_and_headers(self):
        direct, fanout, topic, headers = (self.exchange(kind) for kind in ("direct", "fanout", "topic", "headers"))
        queues = [self.queue(str(i), durable=False) for i in range(3)]
        self.channel.queue_bind(queues[0], direct, "red")
        self.channel.queue_bind(queues[1], direct, "green")
        for queue in queues:
            self.channel.queue_bind(queue, fanout)
        self.channel.queue_bind(queues[0], topic, "*.orange.*")
        self.channel.queue_bind(queues[1], topic, "lazy.#")
        self.channel.queue_bind(queues[2], topic, "#")
        self.channel.queue_bind(queues[0], headers, "", {"x-match": "all", "a": 1, "b": "two"})
        self.channel.queue_bind(queues[1], headers, "", {"x-match": "any", "a": 1, "b": "two"})
        self.channel.exchange_bind(fanout, direct, "all")
        self.channel.confirm_delivery()

        def routed(exchange, key, **properties):
            self.channel.basic_publish(exchange, key, key, pika.BasicProperties(**properties))
            return [self.channel.queue_purge(queue).method.message_count for queue in queues]

        self.assertEqual(routed("", queues[2]), [0, 0, 1])
        self.assertEqual(routed(direct, "red"), [1, 0, 0])
        self.assertEqual(routed(direct, "blue"), [0, 0, 0])
        self.assertEqual(routed(direct, "all"), [1, 1, 1])
        self.assertEqual(routed(fanout, "any"), [1, 1, 1])
        self.assertEqual(routed(topic, "quick.orange.fox"), [1, 0, 1])
        self.assertEqual(routed(topic, "lazy.orange.elephant"), [1, 1, 1])
        self.assertEqual(routed(topic, "lazy"), [0, 1, 1])
        self.assertEqual(routed(topic, "orange.fox"), [0, 0, 1])
        self.assertEqual(routed(headers, "", headers={"a": 1, "b": "two"}), [1, 1, 0])
        self.assertEqual(routed(headers, "", headers={"a": 1, "b": "three"}), [0, 1, 0])
        self.assertEqual(routed(headers, "", headers={"c": 1}), [0, 0, 0])
        self.channel.queue_unbind(queues[1], fanout)
        self.assertEqual(routed(fanout, "any"), [1, 0, 1])

    def test_expired_and_rejected_messages_are_dead_lettered(self):
        dead = self.queue("dead")
        exchange = self.exchange("fanout", "dlx")
        self.channel.queue_bind(dead, exchange)
        slow = self.queue("slow", arguments={"x-dead-letter-exchange": exchange})
        quick = self.queue("quick", arguments={"x-message-ttl": 100, "x-dead-letter-exchange": exchange,
                                               "x-dead-letter-routing-key": "key"})
        self.publish(slow, b"rejected")
        self.channel.basic_reject(self.get(slow, auto_ack=False)[0].delivery_tag, requeue=False)
        method, properties, body = self.get(dead)
        death = properties.headers["x-death"][0]
        self.assertEqual((body, method.exchange, method.routing_key), (b"rejected", exchange, slow))
        self.assertEqual((death["reason"], death["queue"], death["exchange"], death["routing-keys"], death["count"]),
                         ("rejected", slow, "", [slow], 1))
        self.assertIsInstance(death["time"], datetime.datetime)
        self.assertEqual(properties.headers["x-first-death-reason"], "rejected")

        self.publish(slow, b"expired", properties=pika.BasicProperties(expiration="50"))
        method, properties, body = self.get(dead)
        death = properties.headers["x-death"][0]
        self.assertEqual((body, death["reason"], death["original-expiration"]), (b"expired", "expired", "50"))
        self.assertIsNone(properties.expiration)

        self.publish(quick, b"old")
        method, properties, body = self.get(dead)
        self.assertEqual((body, method.routing_key), (b"old", "key"))
        self.assertEqual(properties.headers["x-death"][0]["reason"], "expired")
        self.assert_empty(quick)

    def test_priorities(self):
        queue = self.queue(arguments={"x-max-priority": 5})
        self.channel.confirm_delivery()
        for priority in (0, 5, 1, 5):
            self.publish(queue, b"%d" % priority, properties=pika.BasicProperties(priority=priority))
        self.assertEqual(self.bodies(queue, 4), [b"5", b"5", b"1", b"0"])

    def test_exclusive_queues_are_for_one_connection(self):
        exclusive = self.channel.queue_declare("", exclusive=True).method.queue
        self.assertTrue(exclusive.startswith("amq."))
        with connect() as other:
            with self.assertRaises(ChannelClosedByBroker) as caught:
                other.channel().queue_declare(exclusive, passive=True)
            self.assertEqual(caught.exception.reply_code, 405)
            other.channel().basic_publish("", exclusive, b"for you")
            self.assertEqual(self.get(exclusive)[2], b"for you")
            self.connection.close()
            self.connection, self.channel = other, other.channel()

            def gone():
                try:
                    self.channel.queue_declare(exclusive, passive=True)
                except ChannelClosedByBroker as error:
                    self.channel = other.channel()
                    return error.reply_code == 404
                return False

            self.process_until(gone, "the end of the exclusive queue")

    def test_auto_delete_queues_end_with_their_last_consumer(self):
        queue = self.channel.queue_declare(self.name + ".auto", auto_delete=True).method.queue
        tags = [self.channel.basic_consume(queue, lambda *_: None) for _ in range(2)]
        self.channel.basic_cancel(tags[0])
        self.assertEqual(self.channel.queue_declare(queue, passive=True).method.consumer_count, 1)
        self.channel.basic_cancel(tags[1])
        with self.assertRaises(ChannelClosedByBroker) as caught:
            self.channel.queue_declare(queue, passive=True)
        self.assertEqual(caught.exception.reply_code, 404)

    def test_queues_expire_when_unused(self):
        queue = self.queue(arguments={"x-expires": 200})
        channel = self.connection.channel()
        deadline = time.monotonic() + DEADLINE_S
        with self.assertRaises(ChannelClosedByBroker) as caught:
            while time.monotonic() < deadline:
                self.connection.process_data_events(time_limit=0.5)  # Declaring counts as use.
                channel.queue_declare(queue, passive=True)
        self.assertEqual(caught.exception.reply_code, 404)

    def test_a_consumer_is_told_when_its_queue_is_deleted(self):
        queue = self.queue()
        cancelled = []
        self.channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = self.channel.basic_consume(queue, lambda *_: None)
        with connect() as other:
            other.channel().queue_delete(queue)
        self.process_until(lambda: cancelled, "the cancel")
        self.assertEqual(cancelled, [tag])
        self.assertTrue(self.channel.is_open)

    def test_an_exclusive_consumer_is_alone(self):
        queue = self.queue()
        self.channel.basic_consume(queue, lambda *_: None, exclusive=True)
        with connect() as other, self.assertRaises(ChannelClosedByBroker) as caught:
            other.channel().basic_consume(queue, lambda *_: None)
        self.assertEqual(caught.exception.reply_code, 403)

    def test_transactions_commit_and_roll_back(self):
        queue = self.queue()
        self.channel.tx_select()
        self.publish(queue, b"rolled back")
        self.channel.tx_rollback()
        self.publish(queue, b"0", b"1")
        with connect() as other:
            self.assertEqual(other.channel().queue_declare(queue, passive=True).method.message_count, 0)
        self.channel.tx_commit()
        self.channel = self.connection.channel()
        self.assertEqual(self.bodies(queue, 2), [b"0", b"1"])

    def test_direct_reply_to(self):
        queue = self.queue(durable=False)
        replies = []
        self.channel.basic_consume("amq.rabbitmq.reply-to", lambda *args: replies.append(args[3]), auto_ack=True)
        self.publish(queue, b"question",
                     properties=pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="1"))
        with connect() as other:
            server = other.channel()
            _, properties, _ = next(server.consume(queue, auto_ack=True, inactivity_timeout=DEADLINE_S))
            self.assertTrue(properties.reply_to.startswith("amq.rabbitmq.reply-to."))
            server.basic_publish("", properties.reply_to, b"answer")
        self.process_until(lambda: replies, "the answer")
        self.assertEqual(replies, [b"answer"])

    def test_a_body_of_5_mib(self):
        queue = self.queue()
        self.channel.confirm_delivery()
        body = os.urandom(5 * 1024 * 1024)
        self.publish(queue, body, b"small")
        self.assertEqual(hashlib.sha256(self.get(queue)[2]).digest(), hashlib.sha256(body).digest())
        self.assertEqual(self.get(queue)[2], b"small")
        self.connection.close()
        self.connection = connect(frame_max=4096)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.publish(queue, body)
        for _, _, delivered in self.channel.consume(queue, auto_ack=True, inactivity_timeout=DEADLINE_S):
            self.assertTrue(delivered == body, "another body came back")
            break

    def test_many_channels_share_a_connection(self):
        queue = self.queue(durable=False)
        channels = [self.connection.channel() for _ in range(100)]
        for i, channel in enumerate(channels):
            channel.basic_publish("", queue, b"%d" % i)
        self.process_until(lambda: self.depth(queue) == 100, "100 messages")
        for channel in channels:
            channel.close()

    def test_heartbeats_keep_an_idle_connection(self):
        queue = self.queue()
        idle = connect(heartbeat=3)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            idle.process_data_events(time_limit=0.2)
        idle.channel().queue_declare(queue, passive=True)
        idle.close()

    def test_a_silent_client_is_dropped(self):
        # Its messages are delivered to others once the broker has noticed.
        queue = self.queue()
        self.publish(queue, b"held")
        silent = connect(heartbeat=3)
        held = next(silent.channel().consume(queue, inactivity_timeout=DEADLINE_S))
        self.assertEqual(held[2], b"held")
        method, _, body = self.get(queue)
        self.assertEqual((body, method.redelivered), (b"held", True))
        with self.assertRaises(AMQPConnectionError):
            silent.channel()

    def test_threads_with_a_connection_each(self):
        queue = self.queue()
        failures = []

        def publish(thread):
            try:
                with connect() as connection:
                    channel = connection.channel()
                    channel.confirm_delivery()
                    for i in range(50):
                        channel.basic_publish("", queue, b"%d %d" % (thread, i), PERSISTENT)
            except Exception as error:  # Reported by the main thread.
                failures.append(repr(error))

        threads = [threading.Thread(target=publish, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        received = [body.split() for body in self.bodies(queue, 200)]
        for i in range(4):
            self.assertEqual([n for thread, n in received if thread == b"%d" % i], [b"%d" % n for n in range(50)])


if __name__ == "__main__":
    unittest.main()
