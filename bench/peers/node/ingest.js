// What serve does with a callback, as a Node.js service would: checks it, publishes it as one
// persistent message to a quorum queue, and answers 202 once the broker has confirmed that.
//
//   AMQP_URL=... PORT=... QUEUE=... [WORKERS=1] NODE_PATH=.../node_modules node ingest.js
'use strict';

const cluster = require('cluster');

const kMostCallbackBytes = 1 << 20;
const workers = Number(process.env.WORKERS || 1);

const kBody = {
  type: 'object',
  required: ['object_ids'],
  properties: {
    object_ids: {
      type: 'array',
      maxItems: 10000,
      items: {
        type: 'integer',
        // What JSON.parse keeps exactly.
        minimum: Number.MIN_SAFE_INTEGER,
        maximum: Number.MAX_SAFE_INTEGER,
      },
    },
  },
};

const kAnswer = {
  type: 'object',
  properties: { accepted: { type: 'integer' } },
};

async function openPublisher(queue) {
  const connection = await require('amqplib').connect(process.env.AMQP_URL, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  for (const emitter of [connection, channel]) {
    emitter.on('error', fail);
    emitter.on('close', () => fail(new Error('the broker closed')));
  }
  // A message that no queue takes is confirmed too, after it was returned.
  const returned = new Set();
  channel.on('return', (message) => returned.add(message.properties.messageId));
  let sent = 0;
  return (body) =>
    new Promise((resolve, reject) => {
      const messageId = String(++sent);
      channel.publish('', queue, body, { persistent: true, mandatory: true, messageId }, (error) => {
        if (error) reject(error);
        else if (returned.delete(messageId)) reject(new Error('returned'));
        else resolve();
      });
    });
}

async function serve() {
  const publish = await openPublisher(process.env.QUEUE);
  const server = require('fastify')({
    logger: false,
    bodyLimit: kMostCallbackBytes,
    ajv: { customOptions: { coerceTypes: false } },
  });
  server.post(
    '/callback',
    { schema: { body: kBody, response: { 202: kAnswer } } },
    async (request, reply) => {
      const ids = request.body.object_ids;
      const line = { received_at: Date.now(), object_ids: ids };
      try {
        await publish(Buffer.from(JSON.stringify(line)));
      } catch (error) {
        reply.code(503).header('retry-after', '1');
        return { error: error.message };
      }
      reply.code(202);
      return { accepted: ids.length };
    },
  );
  await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 });
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

if (workers > 1 && cluster.isPrimary) {
  for (let i = 0; i < workers; ++i) cluster.fork();
  cluster.on('exit', () => fail(new Error('a worker has ended')));
} else {
  serve().catch(fail);
}
