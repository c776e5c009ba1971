'use strict';
// What users of amqplib do with a broker. Run by tests/interop/run, with the broker's address in INTEROP_AMQP_URL.

const amqplib = require('amqplib');
const { once } = require('node:events');
const { randomBytes } = require('node:crypto');
const { assert, check, numbers, pause, until, url, within } = require('./checks.js');

const persistent = { persistent: true };

/** Runs a test on a connection and a confirming channel, and deletes afterwards what was noted in queues, exchanges. */
function amqplibCheck(name, run, query = '') {
  check('amqplib', name, async (prefix) => {
    const connection = await amqplib.connect(url + query);
    connection.on('error', () => {});
    const queues = [];
    const exchanges = [];
    const t = {
      prefix,
      connection,
      channel: await connection.createConfirmChannel(),
      async queue(suffix = 'q', options = {}) {
        queues.push(`${prefix}.${suffix}`);
        return (await this.channel.assertQueue(`${prefix}.${suffix}`, options)).queue;
      },
      async exchange(kind) {
        exchanges.push(`${prefix}.${kind}`);
        return (await this.channel.assertExchange(`${prefix}.${kind}`, kind)).exchange;
      },
      async publish(queue, ...bodies) {
        for (const body of bodies) this.channel.sendToQueue(queue, Buffer.from(body), persistent);
        await within(this.channel.waitForConfirms(), 'confirms');
      },
      get(queue, options = { noAck: true }) {
        return until(() => this.channel.get(queue, options), `a message in ${queue}`);
      },
    };
    try {
      await run(t);
    } finally {
      await connection.close().catch(() => {});
      const cleaner = await amqplib.connect(url);
      const channel = await cleaner.createChannel();
      for (const queue of queues) await channel.deleteQueue(queue);
      for (const exchange of exchanges) await channel.deleteExchange(exchange);
      await cleaner.close();
    }
  });
}

/** The error that closes the channel. */
async function closing(channel, action) {
  const closed = within(once(channel, 'error'), 'the close of the channel');
  await assert.rejects(action);
  return (await closed)[0];
}

amqplibCheck('publishes 1000 with confirms in flight and consumes them in order', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, ...numbers(1000).map(String));
  assert.equal((await t.channel.checkQueue(queue)).messageCount, 1000);
  await t.channel.prefetch(50);
  const received = [];
  await within(new Promise((resolve) => {
    t.channel.consume(queue, (message) => {
      assert.equal(message.properties.deliveryMode, 2);
      received.push(message.content.toString());
      if (received.length % 25 === 0) t.channel.ack(message, true);
      if (received.length === 1000) resolve();
    });
  }), '1000 messages');
  assert.deepEqual(received, numbers(1000).map(String));
  await t.channel.recover();
  assert.equal(await t.channel.get(queue), false);
});

amqplibCheck('a full queue that rejects publishes nacks', async (t) => {
  const queue = await t.queue('q', { maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } });
  await assert.rejects(t.publish(queue, ...numbers(10).map(String)));
});

amqplibCheck('prefetch limits what is unacknowledged, for each consumer and for the channel', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, ...numbers(30).map(String));
  const messages = [];
  const keep = (message) => messages.push(message);
  await t.channel.prefetch(5);
  await t.channel.consume(queue, keep);
  await t.channel.consume(queue, keep);
  await until(() => messages.length === 10, '10 deliveries');
  await pause(300);
  assert.equal(messages.length, 10);
  t.channel.ack(messages[0]);
  await until(() => messages.length === 11, 'one more');

  const shared = await t.connection.createChannel();
  const sharedMessages = [];
  await shared.prefetch(6, true);
  await shared.consume(queue, (message) => sharedMessages.push(message));
  await shared.consume(queue, (message) => sharedMessages.push(message));
  await until(() => sharedMessages.length === 6, '6 deliveries');
  await pause(300);
  assert.equal(sharedMessages.length, 6);
});

amqplibCheck('requeued messages come back first and redelivered', async (t) => {
  const queue = await t.queue();
  await t.publish(queue, '0', '1', '2', '3');
  const messages = [];
  for (let i = 0; i < 3; ++i) messages.push(await t.get(queue, {}));
  t.channel.nack(messages[1], true);
  t.channel.reject(messages[2], false);
  const results = [];
  for (let i = 0; i < 3; ++i) results.push(await t.get(queue));
  assert.deepEqual(results.map((m) => [m.content.toString(), m.fields.redelivered]),
    [['0', true], ['1', true], ['3', false]]);
  await t.publish(queue, '4', '5');
  await t.get(queue, {});
  await t.get(queue, {});
  t.channel.nackAll(true);
  assert.equal((await t.get(queue)).content.toString(), '4');
});

amqplibCheck('get tells how many are left', async (t) => {
  const queue = await t.queue();
  assert.equal(await t.channel.get(queue), false);
  await t.publish(queue, 'a', 'b');
  assert.equal((await t.get(queue)).fields.messageCount, 1);
  assert.equal((await t.get(queue)).fields.messageCount, 0);
});

amqplibCheck('properties and headers round trip', async (t) => {
  const queue = await t.queue();
  const typed = (type, value) => ({ '!': type, value });
  const headers = {
    text: 'żółw 🐢', empty: '', bytes: Buffer.from([0, 255, 128]), true: true, false: false, none: null,
    small: 7, negative: -7, short: 300, int: 2 ** 31 - 1, leastInt: -(2 ** 31), long: 2 ** 50, leastLong: -(2 ** 50),
    float: 0.1, list: [1, 'two', null, [3.5, { four: 4 }]], table: { a: { b: [true, {}] } }, emptyList: [],
  };
  const explicit = {
    int8: typed('int8', -8), int16: typed('int16', -1600), int32: typed('int32', 5), int64: typed('int64', 6),
    float32: typed('float', 0.5), float64: typed('double', 0.25), uint8: typed('uint8', 200),
    uint16: typed('uint16', 60000), uint32: typed('uint32', 4e9),
    decimal: typed('decimal', { places: 2, digits: 314 }), timestamp: typed('timestamp', 1795253401),
  };
  const properties = {
    contentType: 'application/json', contentEncoding: 'gzip', deliveryMode: 2, priority: 9, correlationId: 'c',
    replyTo: 'r', expiration: '60000', messageId: 'm'.repeat(255), timestamp: 1795253401, type: 'kind',
    appId: 'interop',
  };
  t.channel.sendToQueue(queue, Buffer.alloc(0), { ...properties, headers: { ...headers, ...explicit } });
  const message = await t.get(queue);
  const received = message.properties.headers;
  for (const [name, value] of Object.entries(headers)) assert.deepEqual(received[name], value, name);
  for (const [name, { value }] of Object.entries(explicit)) {
    assert.deepEqual(received[name]?.value ?? received[name], value, name);
  }
  for (const [name, value] of Object.entries(properties)) assert.equal(message.properties[name], value, name);
  assert.equal(message.content.length, 0);
});

amqplibCheck('routes by direct, fanout, topic and headers, and from exchange to exchange', async (t) => {
  const [direct, fanout, topic, headers] =
    [await t.exchange('direct'), await t.exchange('fanout'), await t.exchange('topic'), await t.exchange('headers')];
  const queues = [await t.queue('0'), await t.queue('1'), await t.queue('2')];
  await t.channel.bindQueue(queues[0], direct, 'red');
  for (const queue of queues) await t.channel.bindQueue(queue, fanout, '');
  await t.channel.bindQueue(queues[0], topic, '*.orange.*');
  await t.channel.bindQueue(queues[1], topic, 'lazy.#');
  await t.channel.bindQueue(queues[2], topic, '#');
  await t.channel.bindQueue(queues[0], headers, '', { 'x-match': 'all', a: 1, b: 'two' });
  await t.channel.bindQueue(queues[1], headers, '', { 'x-match': 'any', a: 1, b: 'two' });
  await t.channel.bindExchange(fanout, direct, 'all');
  const routed = async (exchange, key, options) => {
    t.channel.publish(exchange, key, Buffer.from(key), options);
    await within(t.channel.waitForConfirms(), 'the confirm');
    const counts = [];
    for (const queue of queues) counts.push((await t.channel.purgeQueue(queue)).messageCount);
    return counts;
  };
  assert.deepEqual(await routed(direct, 'red'), [1, 0, 0]);
  assert.deepEqual(await routed(direct, 'blue'), [0, 0, 0]);
  assert.deepEqual(await routed(direct, 'all'), [1, 1, 1]);
  assert.deepEqual(await routed(fanout, ''), [1, 1, 1]);
  assert.deepEqual(await routed(topic, 'quick.orange.fox'), [1, 0, 1]);
  assert.deepEqual(await routed(topic, 'lazy'), [0, 1, 1]);
  assert.deepEqual(await routed(headers, '', { headers: { a: 1, b: 'two' } }), [1, 1, 0]);
  assert.deepEqual(await routed(headers, '', { headers: { b: 'two' } }), [0, 1, 0]);
  assert.deepEqual(await routed(direct, 'none', { CC: ['red', 'all'] }), [1, 1, 1]);
  await t.channel.unbindExchange(fanout, direct, 'all');
  assert.deepEqual(await routed(direct, 'all'), [0, 0, 0]);
});

amqplibCheck('unroutable messages are returned, then confirmed', async (t) => {
  const order = [];
  t.channel.on('return', (message) => order.push(`return ${message.fields.replyCode} ${message.content}`));
  t.channel.publish('', `${t.prefix}.missing`, Buffer.from('back'), { mandatory: true }, (error) => {
    order.push(error ? 'nack' : 'ack');
  });
  await within(t.channel.waitForConfirms(), 'the confirm');
  assert.deepEqual(order, ['return 312 back', 'ack']);
});

amqplibCheck('an alternate exchange takes what is not routed', async (t) => {
  const fanout = await t.exchange('fanout');
  const queue = await t.queue();
  await t.channel.bindQueue(queue, fanout, '');
  const exchange = `${t.prefix}.with.alternate`;
  await t.channel.assertExchange(exchange, 'direct', { autoDelete: true, alternateExchange: fanout });
  t.channel.publish(exchange, 'nowhere', Buffer.from('caught'));
  assert.equal((await t.get(queue)).content.toString(), 'caught');
  await t.channel.deleteExchange(exchange);
});

amqplibCheck('expired and rejected messages are dead-lettered', async (t) => {
  const exchange = await t.exchange('fanout');
  const dead = await t.queue('dead');
  await t.channel.bindQueue(dead, exchange, '');
  const queue = await t.queue('q', { deadLetterExchange: exchange, deadLetterRoutingKey: 'dead', messageTtl: 100 });
  await t.publish(queue, 'old');
  let message = await t.get(dead);
  let death = message.properties.headers['x-death'][0];
  assert.deepEqual([message.content.toString(), message.fields.routingKey, death.reason, death.queue, death.count],
    ['old', 'dead', 'expired', queue, 1]);
  const lasting = await t.queue('lasting', { deadLetterExchange: exchange });
  t.channel.sendToQueue(lasting, Buffer.from('short'), { expiration: 50 });
  message = await t.get(dead);
  death = message.properties.headers['x-death'][0];
  assert.deepEqual([message.fields.routingKey, death['original-expiration']], [lasting, '50']);
  await t.publish(lasting, 'bad');
  t.channel.nack(await t.get(lasting, {}), false, false);
  message = await t.get(dead);
  assert.equal(message.properties.headers['x-first-death-reason'], 'rejected');
});

amqplibCheck('a retry loop of two queues counts its deaths', async (t) => {
  const work = await t.queue('work', { deadLetterExchange: '', deadLetterRoutingKey: `${t.prefix}.retry` });
  await t.queue('retry', { messageTtl: 50, deadLetterExchange: '', deadLetterRoutingKey: work });
  await t.publish(work, 'again');
  for (let attempt = 0; attempt < 3; ++attempt) {
    const message = await t.get(work, {});
    const deaths = message.properties.headers['x-death'] ?? [];
    assert.equal(deaths.find((death) => death.queue === work)?.count ?? 0, attempt);
    t.channel.nack(message, false, false);
  }
});

amqplibCheck('a quorum queue drops what was returned too often', async (t) => {
  const queue = await t.queue('quorum', { arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 } });
  await t.publish(queue, 'poison', 'good');
  const received = [];
  await t.channel.prefetch(1);
  await t.channel.consume(queue, (message) => {
    const body = message.content.toString();
    received.push([body, message.properties.headers['x-delivery-count'] ?? 0]);
    if (body === 'good') t.channel.ack(message);
    else t.channel.nack(message);
  });
  await until(() => received.some(([body]) => body === 'good'), 'the good message');
  assert.deepEqual(received.filter(([body]) => body === 'poison'), [['poison', 0], ['poison', 1], ['poison', 2]]);
});

amqplibCheck('priorities of messages and of consumers', async (t) => {
  const queue = await t.queue('q', { maxPriority: 5 });
  for (const priority of [0, 5, 1]) t.channel.sendToQueue(queue, Buffer.from(String(priority)), { priority });
  await t.channel.waitForConfirms();
  const bodies = [];
  for (let i = 0; i < 3; ++i) bodies.push((await t.get(queue)).content.toString());
  assert.deepEqual(bodies, ['5', '1', '0']);

  const winners = [];
  await t.channel.consume(queue, () => winners.push('low'), { noAck: true, priority: 1 });
  await t.channel.consume(queue, () => winners.push('high'), { noAck: true, priority: 10 });
  await t.publish(queue, ...numbers(10).map(String));
  await until(() => winners.length === 10, '10 messages');
  assert.deepEqual(new Set(winners), new Set(['high']));
});

amqplibCheck('a single active consumer is followed by the next', async (t) => {
  const queue = await t.queue('q', { arguments: { 'x-single-active-consumer': true } });
  const receivers = [];
  const first = await t.channel.consume(queue, () => receivers.push('first'), { noAck: true });
  await t.channel.consume(queue, () => receivers.push('second'), { noAck: true });
  await t.publish(queue, 'a', 'b');
  await until(() => receivers.length === 2, '2 messages');
  await t.channel.cancel(first.consumerTag);
  await t.publish(queue, 'c');
  await until(() => receivers.length === 3, '3 messages');
  assert.deepEqual(receivers, ['first', 'first', 'second']);
});

amqplibCheck('exclusive queues are for one connection', async (t) => {
  const { queue } = await t.channel.assertQueue('', { exclusive: true });
  const other = await amqplib.connect(url);
  const channel = await other.createChannel();
  assert.equal((await closing(channel, channel.checkQueue(queue))).code, 405);
  await t.connection.close();
  await until(async () => {
    const next = await other.createChannel();
    next.on('error', () => {});
    return next.checkQueue(queue).then(() => false, (error) => error.code === 404);
  }, 'the end of the exclusive queue');
  await other.close();
});

amqplibCheck('auto-delete queues and exchanges end with their last use', async (t) => {
  const exchange = `${t.prefix}.auto`;
  await t.channel.assertExchange(exchange, 'fanout', { autoDelete: true });
  const { queue } = await t.channel.assertQueue(`${t.prefix}.auto`, { autoDelete: true });
  await t.channel.bindQueue(queue, exchange, '');
  const { consumerTag } = await t.channel.consume(queue, () => {});
  await t.channel.checkExchange(exchange);
  await t.channel.cancel(consumerTag);
  assert.equal((await closing(t.channel, t.channel.checkQueue(queue))).code, 404);
  const channel = await t.connection.createChannel();
  assert.equal((await closing(channel, channel.checkExchange(exchange))).code, 404);
});

amqplibCheck('a consumer is told when its queue is deleted', async (t) => {
  const queue = await t.queue();
  const cancelled = new Promise((resolve) => {
    t.channel.consume(queue, (message) => message === null && resolve()).then(async () => {
      const other = await t.connection.createChannel();
      await other.deleteQueue(queue);
    });
  });
  await within(cancelled, 'the cancel');
  await t.channel.assertQueue(queue);
});

amqplibCheck('goes on after a channel was closed with 404, 406 or 403', async (t) => {
  const queue = await t.queue();
  const codes = [];
  for (const action of [
    (channel) => channel.checkQueue(`${t.prefix}.missing`),
    (channel) => channel.assertQueue(queue, { durable: false }),
    (channel) => channel.assertExchange('amq.mine', 'direct'),
    (channel) => channel.consume(`${t.prefix}.missing`, () => {}),
  ]) {
    const channel = await t.connection.createChannel();
    codes.push((await closing(channel, action(channel))).code);
  }
  assert.deepEqual(codes, [404, 406, 403, 404]);
  const confirming = await t.connection.createConfirmChannel();
  const closed = within(once(confirming, 'error'), 'the close of the channel');
  confirming.publish(`${t.prefix}.missing`, '', Buffer.from('lost'));
  assert.equal((await closed)[0].code, 404);
  await t.publish(queue, 'after');
  assert.equal((await t.get(queue)).content.toString(), 'after');
});

amqplibCheck('recovers a lost connection by itself', async (t) => {
  const queue = await t.queue();
  const received = [];
  let model;
  const recovering = await amqplib.connect(url, {
    recovery: {
      initialDelay: 10,
      setup: async (connected) => {
        model = connected;
        const channel = await connected.createChannel();
        await channel.consume(queue, (message) => received.push(message.content.toString()), { noAck: true });
      },
    },
  });
  recovering.on('error', () => {});
  try {
    await t.publish(queue, 'before');
    await until(() => received.length === 1, 'the first message');
    const again = new Promise((resolve) => { recovering.once('connect', resolve); });
    model.connection.stream.destroy(new Error('cut'));
    await within(again, 'the next connection');
    await t.publish(queue, 'after');
    await until(() => received.length === 2, 'the second message');
    assert.deepEqual(received, ['before', 'after']);
  } finally {
    await recovering.close();
  }
});

amqplibCheck('a wrong password is refused', async () => {
  const wrong = new URL(url);
  wrong.password = 'wrong';
  await assert.rejects(amqplib.connect(wrong.href), /403|ACCESS.REFUSED/);
});

amqplibCheck('direct reply-to', async (t) => {
  const queue = await t.queue();
  const answered = new Promise((resolve) => {
    t.channel.consume('amq.rabbitmq.reply-to', (message) => resolve(message.content.toString()), { noAck: true });
  });
  const server = await t.connection.createChannel();
  await server.consume(queue, (message) => {
    server.sendToQueue(message.properties.replyTo, Buffer.from(`re: ${message.content}`));
    server.ack(message);
  });
  t.channel.sendToQueue(queue, Buffer.from('question'), { replyTo: 'amq.rabbitmq.reply-to' });
  assert.equal(await within(answered, 'the answer'), 're: question');
});

amqplibCheck('a body of 5 MiB, in frames of 4 KiB', async (t) => {
  const queue = await t.queue();
  const body = randomBytes(5 * 1024 * 1024);
  t.channel.sendToQueue(queue, body, persistent);
  await within(t.channel.waitForConfirms(), 'the confirm');
  assert.ok((await t.get(queue)).content.equals(body));
}, '?frameMax=4096');

amqplibCheck('heartbeats keep an idle connection', async (t) => {
  await pause(10000);
  const queue = await t.queue();
  await t.publish(queue, 'still here');
  assert.equal((await t.get(queue)).content.toString(), 'still here');
}, '?heartbeat=3');

amqplibCheck('200 channels publish at once', async (t) => {
  const queue = await t.queue();
  const channels = await Promise.all(numbers(200).map(() => t.connection.createConfirmChannel()));
  await within(Promise.all(channels.map((channel, i) => {
    channel.sendToQueue(queue, Buffer.from(String(i)), persistent);
    return channel.waitForConfirms();
  })), 'all confirms');
  assert.equal((await t.channel.checkQueue(queue)).messageCount, 200);
  await Promise.all(channels.map((channel) => channel.close()));
});
