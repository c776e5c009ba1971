'use strict';
// What the tests of both clients share.

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { test } = require('node:test');

const url = process.env.INTEROP_AMQP_URL;
const deadlineMs = 15000;

/** A test with a name for its queues and exchanges, and a deadline. */
function check(client, name, run) {
  test(name, { timeout: 2 * deadlineMs }, () => run(`interop.${client}.${randomBytes(6).toString('hex')}`));
}

/** What the promise resolves to; rejects when that takes longer than the deadline. */
function within(promise, what) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadlineMs} ms for ${what}`)), deadlineMs);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** Asks again until the answer is neither false nor null nor undefined. */
async function until(ask, what) {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== null && answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs} ms for ${what}`);
    await pause(10);
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

module.exports = { assert, check, numbers, pause, until, url, within };
