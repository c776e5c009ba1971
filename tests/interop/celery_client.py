"""What users of Celery do with a broker: workers that execute tasks, acknowledge late, retry, are killed and replaced.

Run by tests/interop/run, with the broker's address in INTEROP_AMQP_URL.
"""

import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = f"interop.celery.{uuid.uuid4().hex[:12]}"
TEMPORARY = tempfile.TemporaryDirectory(prefix="interop-celery.")
os.environ.update(INTEROP_NAME=NAME, INTEROP_FOLDER=TEMPORARY.name)
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from celery import chain, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from celery.result import ResultSet  # noqa: E402
import celery_tasks as tasks  # noqa: E402

DEADLINE_S = 30


class Worker:
    """A celery worker with two processes, as the command starts it, in a session of its own."""

    def __init__(self, name):
        self.name = f"{name}@{NAME}"
        self.log_path = os.path.join(TEMPORARY.name, name + ".log")
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=HERE)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "-n", self.name, "-c", "2", "-l", "INFO", "-E"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
                cwd=TEMPORARY.name)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_ready(self):
        deadline = time.monotonic() + DEADLINE_S
        while f"{self.name} ready." not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the worker does not get ready:\n" + self.log())
            time.sleep(0.05)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """A warm shutdown; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


class CeleryTest(unittest.TestCase):
    def setUp(self):
        self.workers = []

    def tearDown(self):
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        with tasks.app.connection_for_write() as connection:
            channel = connection.channel()
            for queue in (NAME, f"{NAME}.priority"):
                channel.queue_delete(queue)
            for exchange in (NAME, f"{NAME}.control.pidbox", f"reply.{NAME}.control.pidbox", f"{NAME}.events"):
                channel.exchange_delete(exchange)

    def worker(self, name):
        worker = Worker(name)
        self.workers.append(worker)
        worker.wait_ready()
        return worker

    def check(self, worker, what, function):
        try:
            with self.subTest(what):
                function()
        finally:
            self.assertIsNone(worker.process.poll(), "the worker has ended:\n" + worker.log())

    def test_workers(self):
        first = self.worker("first")
        for what in ("tasks", "a_failure", "retries", "eta", "groups_and_chains", "a_large_argument",
                     "remote_control", "a_revoked_task", "routing_to_a_priority_queue"):
            self.check(first, what, getattr(self, what))
        self.a_killed_worker(first)
        self.a_warm_shutdown()

    def tasks(self):
        self.assertEqual(tasks.add.delay(2, 3).get(timeout=DEADLINE_S), 5)
        # A set: asked one by one, Celery looks for a result that is there already only after 1 s.
        results = ResultSet([tasks.add.delay(i, i) for i in range(100)])
        self.assertEqual(results.get(timeout=DEADLINE_S), [2 * i for i in range(100)])

    def a_failure(self):
        with self.assertRaisesRegex(ValueError, "on purpose"):
            tasks.fail.delay().get(timeout=DEADLINE_S)

    def retries(self):
        self.assertEqual(tasks.fail_twice.delay().get(timeout=DEADLINE_S), 2)

    def eta(self):
        started = time.monotonic()
        eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        self.assertEqual(tasks.add.apply_async((1, 1), eta=eta).get(timeout=DEADLINE_S), 2)
        self.assertGreater(time.monotonic() - started, 0.9)

    def groups_and_chains(self):
        self.assertEqual(group(tasks.add.s(i, 1) for i in range(10))().get(timeout=DEADLINE_S), list(range(1, 11)))
        self.assertEqual(chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))().get(timeout=DEADLINE_S), 10)

    def a_large_argument(self):
        self.assertEqual(tasks.size.delay("x" * 5 * 1024 * 1024).get(timeout=DEADLINE_S), 5 * 1024 * 1024)

    def remote_control(self):
        worker = self.workers[0].name
        control = tasks.app.control
        self.assertEqual(control.ping([worker], timeout=DEADLINE_S, limit=1), [{worker: {"ok": "pong"}}])
        stats = control.inspect([worker], timeout=DEADLINE_S, limit=1).stats()[worker]
        self.assertGreaterEqual(stats["total"]["celery_tasks.add"], 100)
        queues = control.inspect([worker], timeout=DEADLINE_S, limit=1).active_queues()[worker]
        self.assertEqual({queue["name"] for queue in queues}, {NAME, f"{NAME}.priority"})

    def a_revoked_task(self):
        result = tasks.add.apply_async((1, 1), countdown=5)  # Time to hear of it.
        result.revoke()
        with self.assertRaises(TaskRevokedError):
            result.get(timeout=DEADLINE_S)

    def routing_to_a_priority_queue(self):
        results = ResultSet(
            [tasks.add.apply_async((i, 0), queue=f"{NAME}.priority", priority=i % 10) for i in range(20)])
        self.assertEqual(results.get(timeout=DEADLINE_S), list(range(20)))

    def a_killed_worker(self, first):
        os.mkfifo(os.path.join(TEMPORARY.name, "never"))
        result = tasks.hold.delay()
        deadline = time.monotonic() + DEADLINE_S
        while not os.path.exists(os.path.join(TEMPORARY.name, "held")):
            self.assertLess(time.monotonic(), deadline, "the task was not started:\n" + first.log())
            time.sleep(0.02)
        first.kill()
        # A set from the beginning: of results that are all there it would never know.
        while_nobody_runs = ResultSet([tasks.add.delay(i, 1) for i in range(10)])
        second = self.worker("second")
        self.assertEqual(result.get(timeout=DEADLINE_S), "second", second.log())
        self.assertEqual(while_nobody_runs.get(timeout=DEADLINE_S), list(range(1, 11)))

    def a_warm_shutdown(self):
        second = self.workers[-1]
        time.sleep(2)  # Told to stop just as a task ends, Celery 5.2.6 may hang, with any broker.
        self.assertEqual(second.stop(), 0, second.log())
        self.assertNotIn("Traceback", second.log())
        with tasks.app.connection_for_read() as connection:
            self.assertEqual(connection.channel().queue_declare(NAME, passive=True).message_count, 0)


if __name__ == "__main__":
    try:
        unittest.main()
    finally:
        TEMPORARY.cleanup()
