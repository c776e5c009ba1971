// The worker as a Node.js service would have it: amqplib, undici, pg. Takes NDJSON messages of callbacks from a queue,
// fetches every object that they name, upserts what comes back in batches, and acknowledges a message when all of it
// is committed. Objects that cannot be fetched end it: it is there to be measured.
//
// Environment: AMQP_URL, QUEUE, DATABASE_URL, OBJECTS_URL, FETCHES (at once), METRICS_PORT (of /healthz and /metrics).
'use strict';

const http = require('node:http');
const amqplib = require('amqplib');
const { Client } = require('pg');
const { Pool } = require('undici');

// Messages have up to 64 KiB: thousands of ids each, so that fetches never wait for one.
const PREFETCH = 8;
const BATCH_ROWS = 1000;
const UPSERT = `
  INSERT INTO objects (id, online, last_seen, checked_at)
  SELECT id, online, to_timestamp(received_at / 1000), to_timestamp(checked_at / 1000)
  FROM unnest($1::bigint[], $2::boolean[], $3::float8[], $4::float8[]) AS update (id, online, received_at, checked_at)
  ON CONFLICT (id) DO UPDATE SET
    last_seen = GREATEST(objects.last_seen, excluded.last_seen),
    online = CASE WHEN excluded.checked_at >= objects.checked_at THEN excluded.online ELSE objects.online END,
    checked_at = GREATEST(objects.checked_at, excluded.checked_at)`;

const { AMQP_URL, QUEUE, DATABASE_URL, OBJECTS_URL, FETCHES, METRICS_PORT } = process.env;
const fetches = Number(FETCHES);
const objects = new URL(OBJECTS_URL);
const pool = new Pool(objects.origin, { connections: fetches, pipelining: 1 });
const database = new Client({ connectionString: DATABASE_URL });

let channel;
let stored = 0;
let inFlight = 0;
let isWriting = false;
const waiting = []; // Messages of which ids are left to be fetched, with an index of the next.
let results = []; // { message, id, online, receivedAt, checkedAt }, to be written.

function fail(error) {
  console.error(error);
  process.exit(1);
}

function take(delivery) {
  const message = { delivery, names: [], next: 0, left: 0 };
  for (const line of delivery.content.toString().split('\n')) {
    if (line === '') continue;
    const { received_at: receivedAt, object_ids: ids } = JSON.parse(line);
    for (const id of ids) message.names.push({ id, receivedAt });
  }
  message.left = message.names.length;
  waiting.push(message);
  fetchMore();
}

function fetchMore() {
  while (inFlight < fetches && waiting.length > 0) {
    const message = waiting[0];
    const name = message.names[message.next++];
    if (message.next === message.names.length) waiting.shift();
    ++inFlight;
    fetchOne(message, name).catch(fail);
  }
}

async function fetchOne(message, { id, receivedAt }) {
  const checkedAt = Date.now();
  const { statusCode, body } = await pool.request({ path: `${objects.pathname}/${id}`, method: 'GET' });
  if (statusCode !== 200) throw new Error(`object ${id}: ${statusCode}`);
  const { online } = await body.json();
  --inFlight;
  results.push({ message, id, online, receivedAt, checkedAt });
  if (!isWriting) write().catch(fail);
  fetchMore();
}

// A batch is what came in while the one before was written.
async function write() {
  isWriting = true;
  while (results.length > 0) {
    const batch = results.splice(0, BATCH_ROWS);
    batch.sort((a, b) => a.id - b.id);
    await database.query({
      name: 'upsert',
      text: UPSERT,
      values: [
        batch.map((row) => row.id),
        batch.map((row) => row.online),
        batch.map((row) => row.receivedAt),
        batch.map((row) => row.checkedAt),
      ],
    });
    stored += batch.length;
    for (const { message } of batch) {
      if (--message.left === 0) channel.ack(message.delivery);
    }
  }
  isWriting = false;
}

function serveMetrics() {
  http
    .createServer((request, response) => {
      response.end(`postoffice_objects_stored_total ${stored}\npostoffice_fetches_in_flight ${inFlight}\n`);
    })
    .listen(Number(METRICS_PORT), '127.0.0.1');
}

async function main() {
  await database.connect();
  const connection = await amqplib.connect(AMQP_URL);
  connection.on('error', fail);
  channel = await connection.createChannel();
  await channel.prefetch(PREFETCH);
  await channel.consume(QUEUE, take);
  serveMetrics();
}

main().catch(fail);
