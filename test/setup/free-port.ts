// Ports for programs that must be told theirs. Below those that Linux gives to whoever asks for any
// (32768 and up), and those of NodePorts (30000 and up): between being found and being listened on, a
// port of theirs may go to any connection of another suite.
import { createServer } from 'node:net';

const [lowest, count] = [12_000, 16_000];
/** Suites at the same time, which are processes of their own, begin apart. */
let next = (process.pid * 97) % count;

/** Nobody listens on it, and it is not given twice by this process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < count; tries++) {
    const port = lowest + next;
    next = (next + 1) % count;
    if (await isFree(port)) return port;
  }
  throw new Error(`no port is free from ${lowest} to ${lowest + count - 1}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
