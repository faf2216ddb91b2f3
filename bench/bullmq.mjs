// BullMQ doing what queue_tasks does: no-op tasks through one queue.
//
//     node bullmq.mjs produce|consume COUNT CONCURRENCY
//
// PORT and REDISCLI_AUTH are in the environment. Says "ready" when connected; `produce` begins at a line of
// input and says "pushed" when all is added; `consume` says "done" when all COUNT are.
import { once } from 'node:events';
import { createRequire } from 'node:module';

// Installed by bench/run, in a folder of the build.
const require = createRequire(`${process.env.BULLMQ}/`);
const { Queue, Worker } = require('bullmq');

const [role, countText, concurrencyText] = process.argv.slice(2);
const count = Number(countText);
const concurrency = Number(concurrencyText);
const connection = {
    host: '127.0.0.1',
    port: Number(process.env.PORT),
    password: process.env.REDISCLI_AUTH,
    maxRetriesPerRequest: null,
};
const say = (word) => process.stdout.write(`${word}\n`);

async function produce() {
    const queue = new Queue('task', { connection });
    await queue.waitUntilReady();
    say('ready');
    await once(process.stdin, 'data');
    let next = 0;
    const adder = async () => {
        while (next < count) {
            const id = `task-${next++}`;
            await queue.add('task', { id }, { removeOnComplete: true, removeOnFail: true });
        }
    };
    await Promise.all(Array.from({ length: concurrency }, adder));
    say('pushed');
    await queue.close();
}

async function consume() {
    let done = 0;
    const worker = new Worker('task', async () => {}, {
        connection,
        concurrency,
        removeOnComplete: { count: 0 },
    });
    await worker.waitUntilReady();
    say('ready');
    await new Promise((resolve) => {
        worker.on('completed', () => {
            if (++done === count) {
                resolve();
            }
        });
    });
    say('done');
    await worker.close(true);
}

await (role === 'produce' ? produce() : consume());
process.exit(0);
