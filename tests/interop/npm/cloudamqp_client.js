'use strict';
// What users of @cloudamqp/amqp-client do with a broker. Run by tests/interop/run, with the broker's address in
// INTEROP_AMQP_URL.

const { AMQPClient, AMQPSession } = require('@cloudamqp/amqp-client');
const { randomBytes } = require('node:crypto');
const { assert, check, numbers, pause, until, url, within } = require('./checks.js');

const persistent = { deliveryMode: 2 };

/** Runs a test on a connection and a channel, and deletes afterwards what was noted in queues and exchanges. */
function clientCheck(name, run, query = '') {
  check('amqp-client', name, async (prefix) => {
    const client = new AMQPClient(url + query, undefined, null);
    const connection = await client.connect();
    const queues = [];
    const exchanges = [];
    const t = {
      prefix,
      client,
      connection,
      channel: await connection.channel(),
      async queue(suffix = 'q', args = {}, params = { durable: true }) {
        queues.push(`${prefix}.${suffix}`);
        return (await this.channel.queueDeclare(`${prefix}.${suffix}`, params, args)).name;
      },
      async exchange(kind) {
        exchanges.push(`${prefix}.${kind}`);
        await this.channel.exchangeDeclare(`${prefix}.${kind}`, kind, { durable: true });
        return `${prefix}.${kind}`;
      },
      async publish(queue, ...bodies) {
        const confirming = await connection.channel();
        await confirming.confirmSelect();
        await within(Promise.all(bodies.map((body) => confirming.basicPublish('', queue, body, persistent))), 'confirms');
        await confirming.close();
      },
      get(queue, options = { noAck: true }) {
        return until(() => this.channel.basicGet(queue, options), `a message in ${queue}`);
      },
    };
    try {
      await run(t);
    } finally {
      await connection.close().catch(() => {});
      const cleaner = await new AMQPClient(url).connect();
      const channel = await cleaner.channel();
      for (const queue of queues) await channel.queueDelete(queue);
      for (const exchange of exchanges) await channel.exchangeDelete(exchange);
      await cleaner.close();
    }
  });
}

clientCheck('publishes 1000 with confirms in flight and consumes them in order', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, ...numbers(1000).map(String));
  assert.equal((await t.channel.queueDeclare(queue, { passive: true })).messageCount, 1000);
  await t.channel.prefetch(50);
  const received = [];
  const consumer = await t.channel.basicConsume(queue, { noAck: false });
  for await (const message of consumer.messages) {
    received.push(message.bodyToString());
    if (received.length % 25 === 0) await message.ack(true);
    if (received.length === 1000) break;
  }
  assert.deepEqual(received, numbers(1000).map(String));
  assert.equal(await t.channel.basicGet(queue), null);
});

clientCheck('a full queue that rejects publishes nacks', async (t) => {
  const queue = await t.queue('q', { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
  await assert.rejects(t.publish(queue, ...numbers(10).map(String)), /rejected/);
});

clientCheck('prefetch limits what is unacknowledged', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, ...numbers(30).map(String));
  const messages = [];
  await t.channel.basicQos(10);
  await t.channel.basicConsume(queue, { noAck: false }, (message) => messages.push(message));
  await until(() => messages.length === 10, '10 deliveries');
  await pause(300);
  assert.equal(messages.length, 10);
  await messages[4].ack(true);
  await until(() => messages.length === 15, '5 more');
});

clientCheck('requeued messages come back first and redelivered', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, '0', '1', '2', '3');
  const messages = [];
  for (let i = 0; i < 3; ++i) messages.push(await t.get(queue, { noAck: false }));
  await messages[1].nack(true, true);
  await messages[2].reject(false);
  const results = [];
  for (let i = 0; i < 3; ++i) results.push(await t.get(queue));
  assert.deepEqual(results.map((m) => [m.bodyToString(), m.redelivered]), [['0', true], ['1', true], ['3', false]]);
  await t.publish(queue, '4');
  await t.get(queue, { noAck: false });
  await t.channel.basicRecover(true);
  assert.ok((await t.get(queue)).redelivered);
});

clientCheck('get tells how many are left', async (t) => {
  const queue = await t.queue();
  assert.equal(await t.channel.basicGet(queue), null);
  await t.publish(queue, 'a', 'b');
  assert.equal((await t.get(queue)).messageCount, 1);
  assert.equal((await t.get(queue)).messageCount, 0);
});

clientCheck('properties and headers round trip', async (t) => {
  const queue = await t.queue();
  const headers = {
    text: 'żółw 🐢', empty: '', bytes: new Uint8Array([0, 255, 128]), true: true, false: false, none: null, small: 7,
    negative: -7, int: 2 ** 31 - 1, long: 2 ** 50, float: 0.5, double: 2 ** 40 + 0.5, list: [1, 'two', null, [3.5, { four: 4 }]],
    table: { a: { b: [true, {}] } }, emptyList: [], time: new Date(1795253401000),
  };
  const properties = {
    contentType: 'application/json', contentEncoding: 'gzip', headers, deliveryMode: 2, priority: 9,
    correlationId: 'c', replyTo: 'r', expiration: '60000', messageId: 'm'.repeat(255),
    timestamp: new Date(1795253401000), type: 'kind', userId: new URL(url).username, appId: 'interop',
  };
  await t.channel.basicPublish('', queue, '', properties);
  const message = await t.get(queue);
  assert.deepEqual(message.properties, properties);
  assert.equal(message.bodySize, 0);
});

clientCheck('routes by direct, fanout, topic and headers, and from exchange to exchange', async (t) => {
  const [direct, fanout, topic, headers] =
    [await t.exchange('direct'), await t.exchange('fanout'), await t.exchange('topic'), await t.exchange('headers')];
  const queues = [await t.queue('0'), await t.queue('1'), await t.queue('2')];
  const confirming = await t.connection.channel();
  await confirming.confirmSelect();
  await t.channel.queueBind(queues[0], direct, 'red');
  for (const queue of queues) await t.channel.queueBind(queue, fanout, '');
  await t.channel.queueBind(queues[0], topic, '*.orange.*');
  await t.channel.queueBind(queues[1], topic, 'lazy.#');
  await t.channel.queueBind(queues[2], topic, '#');
  await t.channel.queueBind(queues[0], headers, '', { 'x-match': 'all', a: 1, b: 'two' });
  await t.channel.queueBind(queues[1], headers, '', { 'x-match': 'any', a: 1, b: 'two' });
  await t.channel.exchangeBind(fanout, direct, 'all');
  const routed = async (exchange, key, properties) => {
    await within(confirming.basicPublish(exchange, key, key, properties), 'the confirm');
    const counts = [];
    for (const queue of queues) counts.push((await t.channel.queuePurge(queue)).messageCount);
    return counts;
  };
  assert.deepEqual(await routed(direct, 'red'), [1, 0, 0]);
  assert.deepEqual(await routed(direct, 'all'), [1, 1, 1]);
  assert.deepEqual(await routed(fanout, ''), [1, 1, 1]);
  assert.deepEqual(await routed(topic, 'quick.orange.fox'), [1, 0, 1]);
  assert.deepEqual(await routed(topic, 'lazy'), [0, 1, 1]);
  assert.deepEqual(await routed(headers, '', { headers: { a: 1, b: 'two' } }), [1, 1, 0]);
  assert.deepEqual(await routed(headers, '', { headers: { b: 'two' } }), [0, 1, 0]);
  await t.channel.exchangeUnbind(fanout, direct, 'all');
  assert.deepEqual(await routed(direct, 'all'), [0, 0, 0]);
});

clientCheck('unroutable messages are returned', async (t) => {
  const returned = new Promise((resolve) => { t.channel.onReturn = resolve; });
  await t.channel.basicPublish('', `${t.prefix}.missing`, 'back', {}, true);
  const message = await within(returned, 'the return');
  assert.deepEqual([message.replyCode, message.bodyToString()], [312, 'back']);
});

clientCheck('expired and rejected messages are dead-lettered', async (t) => {
  const exchange = await t.exchange('fanout');
  const dead = await t.queue('dead');
  await t.channel.queueBind(dead, exchange, '');
  const queue = await t.queue('q', { 'x-dead-letter-exchange': exchange, 'x-message-ttl': 100 });
  await t.publish(queue, 'old');
  let message = await t.get(dead);
  const death = message.properties.headers['x-death'][0];
  assert.deepEqual([message.bodyToString(), death.reason, death.queue, death.count, death['routing-keys']],
    ['old', 'expired', queue, 1, [queue]]);
  const lasting = await t.queue('lasting', { 'x-dead-letter-exchange': exchange, 'x-dead-letter-routing-key': 'dead' });
  await t.publish(lasting, 'bad');
  await (await t.get(lasting, { noAck: false })).reject(false);
  message = await t.get(dead);
  assert.deepEqual([message.routingKey, message.properties.headers['x-first-death-reason']], ['dead', 'rejected']);
});

clientCheck('exclusive queues are for one connection', async (t) => {
  const { name } = await t.channel.queueDeclare('');
  const other = await new AMQPClient(url, undefined, null).connect();
  const channel = await other.channel();
  await assert.rejects(channel.queueDeclare(name, { passive: true }), /405|RESOURCE_LOCKED/);
  await t.connection.close();
  await until(async () => {
    const next = await other.channel();
    return next.queueDeclare(name, { passive: true }).then(() => false, (error) => /404|NOT_FOUND/.test(error.message));
  }, 'the end of the exclusive queue');
  await other.close();
});

clientCheck('auto-delete queues end with their last consumer', async (t) => {
  const { name } = await t.channel.queueDeclare(`${t.prefix}.auto`, { autoDelete: true, durable: false });
  const consumer = await t.channel.basicConsume(name, { noAck: true }, () => {});
  await consumer.cancel();
  await assert.rejects(t.channel.queueDeclare(name, { passive: true }), /404|NOT_FOUND/);
});

clientCheck('a consumer is told when its queue is deleted', async (t) => {
  const queue = await t.queue();
  const consumer = await t.channel.basicConsume(queue, { noAck: true }, () => {});
  const cancelled = assert.rejects(consumer.wait(), /cancelled by the server/);
  const other = await t.connection.channel();
  await other.queueDelete(queue);
  await within(cancelled, 'the cancel');
});

clientCheck('goes on after a channel was closed with 404 or 406', async (t) => {
  const queue = await t.queue();
  for (const [action, expected] of [
    [(channel) => channel.queueDeclare(`${t.prefix}.missing`, { passive: true }), /404|NOT_FOUND/],
    [(channel) => channel.queueDeclare(queue, { durable: false }), /406|PRECONDITION_FAILED/],
    [(channel) => channel.basicConsume(`${t.prefix}.missing`, {}, () => {}), /404|NOT_FOUND/],
    [(channel) => channel.basicGet(`${t.prefix}.missing`), /404|NOT_FOUND/],
  ]) {
    const channel = await t.connection.channel();
    await assert.rejects(action(channel), expected);
    assert.ok(channel.closed);
  }
  const confirming = await t.connection.channel();
  await confirming.confirmSelect();
  await assert.rejects(confirming.basicPublish(`${t.prefix}.missing`, '', 'lost'), /404|NOT_FOUND/);
  await t.publish(queue, 'after');
  assert.equal((await t.get(queue)).bodyToString(), 'after');
});

clientCheck('a session reconnects and goes on consuming', async (t) => {
  const session = await AMQPSession.connect(url, { logger: null, reconnectInterval: 10 });
  try {
    const name = await t.queue();
    const queue = await session.queue(name, { durable: true });
    const received = [];
    await queue.subscribe({ noAck: false }, async (message) => {
      received.push(message.bodyToString());
    });
    await queue.publish('before');
    await until(() => received.length === 1, 'the first message');
    session.client.socket.destroy(new Error('cut'));
    await t.publish(name, 'after');
    await until(() => received.length >= 2, 'the second message');
    assert.equal(received.at(-1), 'after');
  } finally {
    await session.stop();
  }
});

clientCheck('remote calls by direct reply-to', async (t) => {
  const session = await AMQPSession.connect(url, { logger: null });
  try {
    const queue = await t.queue();
    await session.rpcServer(queue, (message) => `re: ${message.bodyToString()}`);
    const calls = await Promise.all(numbers(20).map((i) => session.rpcCall(queue, String(i), { timeout: 15000 })));
    assert.deepEqual(calls.map((answer) => answer.bodyToString()), numbers(20).map((i) => `re: ${i}`));
  } finally {
    await session.stop();
  }
});

clientCheck('a stream is read again and again, from any offset', async (t) => {
  const queue = await t.queue('stream', { 'x-queue-type': 'stream' });
  await t.publish(queue, ...numbers(100).map(String));
  const read = async (offset, count) => {
    const channel = await t.connection.channel();
    await channel.prefetch(10);
    const messages = [];
    await channel.basicConsume(queue, { noAck: false, args: { 'x-stream-offset': offset } }, (message) => {
      messages.push(message);
      message.ack();
    });
    await until(() => messages.length >= count, `${count} messages from ${offset}`);
    await channel.close();
    return messages.slice(0, count);
  };
  for (let round = 0; round < 2; ++round) {
    const all = await read('first', 100);
    assert.deepEqual(all.map((message) => message.bodyToString()), numbers(100).map(String));
    assert.deepEqual(all.map((message) => Number(message.properties.headers['x-stream-offset'])), numbers(100));
  }
  assert.deepEqual((await read(95, 5)).map((message) => message.bodyToString()), ['95', '96', '97', '98', '99']);
});

clientCheck('transactions commit and roll back', async (t) => {
  const queue = await t.queue();
  await t.channel.txSelect();
  await t.channel.basicPublish('', queue, 'rolled back');
  await t.channel.txRollback();
  await t.channel.basicPublish('', queue, 'committed');
  await t.channel.txCommit();
  assert.equal((await t.get(queue)).bodyToString(), 'committed');
});

clientCheck('a body of 5 MiB', async (t) => {
  const queue = await t.queue();
  const body = randomBytes(5 * 1024 * 1024);
  await t.publish(queue, body);
  assert.ok(body.equals((await t.get(queue)).body));
});

clientCheck('heartbeats keep an idle connection', async (t) => {
  await pause(10000);
  assert.equal(t.client.closed, false);
  const queue = await t.queue();
  await t.publish(queue, 'still here');
  assert.equal((await t.get(queue)).bodyToString(), 'still here');
}, '?heartbeat=3');
