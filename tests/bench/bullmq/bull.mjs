// BullMQ as it comes, with undici: one job a message, and one worker process that posts them.
//
//   node bull.mjs enqueue <redis port> <count> <body without its last brace>
//   node bull.mjs work    <redis port> <count> <in flight> <url to post to> <token>
//
// Prints `ready`, and works once a line comes in; it ends when its standard input closes. A worker then prints one JSON
// object: when the last job was done with in Redis too (monotonic, ns), and the processor seconds it took from `ready`.
// Jobs are removed when they complete; nothing else is set that changes what BullMQ does.

import { Queue, Worker } from "bullmq";
import { Pool } from "undici";

const QUEUE = "messages";
const JOBS_A_CALL = 500;

const say = (line) => process.stdout.write(`${line}\n`);

const told = new Promise((resolve) => {
  process.stdin.once("data", resolve);
  process.stdin.on("end", () => process.exit(1));
});

async function enqueue(connection, count, body) {
  const queue = new Queue(QUEUE, { connection });
  await queue.waitUntilReady();
  for (let from = 0; from < count; from += JOBS_A_CALL) {
    const jobs = [];
    for (let place = from; place < Math.min(count, from + JOBS_A_CALL); place += 1) {
      const posted = `${body},"biz_opaque_callback_data":"d1:1:bull-${place}"}`;
      jobs.push({ name: "post", data: { posted }, opts: { removeOnComplete: true } });
    }
    await queue.addBulk(jobs);
  }
  await queue.close();
  say("queued");
}

function post(pool, path, headers) {
  return async (job) => {
    const answer = await pool.request({ method: "POST", path, headers, body: job.data.posted });
    const said = await answer.body.json();
    if (answer.statusCode !== 200) throw new Error(`answered ${answer.statusCode}`);
    return said.messages[0].id;
  };
}

async function work(connection, count, inFlight, target, token) {
  const url = new URL(target);
  const pool = new Pool(url.origin, { connections: inFlight, headersTimeout: 15_000, bodyTimeout: 15_000 });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const options = { connection, concurrency: inFlight, autorun: false };
  const worker = new Worker(QUEUE, post(pool, url.pathname, headers), options);
  await worker.waitUntilReady();
  say("ready");
  await told;
  const before = process.cpuUsage();
  let left = count;
  worker.on("completed", () => {
    left -= 1;
    if (left) return;
    const used = process.cpuUsage(before);
    say(JSON.stringify({ ended_ns: Number(process.hrtime.bigint()), cpu_s: (used.user + used.system) / 1e6 }));
  });
  const fail = (error) => {
    console.error(error);
    process.exit(1);
  };
  worker.on("failed", (job, error) => fail(error));
  worker.on("error", fail);
  worker.run().catch(fail);
}

const [what, port, count, ...rest] = process.argv.slice(2);
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
if (what === "enqueue") {
  await enqueue(connection, Number(count), rest[0]);
  process.exit(0);
}
await work(connection, Number(count), Number(rest[0]), rest[1], rest[2]);
