// The traffic of service-network.ts, as a process in a namespace: what pods serve and what clients ask.
// `node service-traffic.ts MODE …`; results are one line of JSON.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const [mode = '', ...given] = process.argv.slice(2);
const timeoutMs = 700;

const modes: Readonly<Record<string, (...args: string[]) => Promise<void>>> = {
  serve,
  ask,
  hammer,
  compare,
  chat,
  chatUdp,
  answerAll,
  follow,
};
await modes[mode]?.(...given);

function say(value: unknown): void {
  process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
}

/** 8080 answers each piece with the server's name and the client; 8081 swallows; UDP 5353 answers. */
async function serve(name: string): Promise<void> {
  const speaker = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write(`${name} ${socket.remoteAddress}\n`));
  });
  const sink = createServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
  });
  const udp = createSocket('udp4');
  udp.on('message', (_message, from) => {
    udp.send(`${name} ${from.address}`, from.port, from.address);
  });
  await new Promise<void>((resolve) => speaker.listen(8080, '0.0.0.0', 1024, resolve));
  await new Promise<void>((resolve) => sink.listen(8081, '0.0.0.0', resolve));
  await new Promise<void>((resolve) => udp.bind(5353, '0.0.0.0', resolve));
  say('ready');
}

/** Asks what its input says, a line of arguments of `ask` at a time: starting a process takes longer. */
async function answerAll(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [protocol = '', host = '', port = '', count = ''] = line.split(' ');
    await ask(protocol, host, port, count);
  }
}

/** `count` exchanges, one after another: how often which answer, or error, came. */
async function ask(protocol: string, host: string, port: string, count: string): Promise<void> {
  const seen: Record<string, number> = {};
  for (let i = 0; i < Number(count); i++) {
    const answer = await (protocol === 'udp' ? askUdp : askTcp)(host, Number(port));
    seen[answer] = (seen[answer] ?? 0) + 1;
  }
  say(seen);
}

function askTcp(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true });
    const end = (what: string): void => {
      socket.destroy();
      resolve(what);
    };
    socket.setTimeout(timeoutMs, () => end('timeout'));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
    socket.on('connect', () => socket.write('x'));
    socket.on('data', (data) => end(String(data).trim()));
  });
}

function askUdp(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const end = (what: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(what);
    };
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    socket.on('message', (message) => end(String(message)));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
    socket.connect(port, host, () => socket.send('x'));
  });
}

/** So many at a time until its input ends; says when the first has an answer, then all at the end. */
async function hammer(host: string, port: string, clients: string): Promise<void> {
  const seen: Record<string, number> = {};
  const over = new AbortController();
  process.stdin.resume().on('end', () => over.abort());
  let isTold = false;
  const work = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const answer = await askTcp(host, Number(port));
      const [who = ''] = answer.split(' ');
      seen[who] = (seen[who] ?? 0) + 1;
      if (!isTold) say('going');
      isTold = true;
    }
  };
  await Promise.all(Array.from({ length: Number(clients) }, work));
  say(seen);
}

/**
 * `pump` or `rate` by several ways in turn, in one process and in short slices, as the machine's speed
 * drifts: a list of figures for each `host:port`. Who comes first changes with each round.
 */
async function compare(
  kind: string,
  seconds: string,
  rounds: string,
  ...ways: string[]
): Promise<void> {
  const measure = kind === 'pump' ? pump : rate;
  const figures: number[][] = ways.map(() => []);
  for (let round = 0; round < Number(rounds); round++)
    for (let turn = 0; turn < ways.length; turn++) {
      const at = (round + turn) % ways.length;
      const [host = '', port = ''] = (ways[at] ?? '').split(':');
      figures[at]?.push(await measure(host, Number(port), Number(seconds) * 1000));
    }
  say(figures);
}

/** Gbit/s into a sink. */
async function pump(host: string, port: number, forMs: number): Promise<number> {
  const piece = Buffer.alloc(256 * 1024);
  const socket = connect({ host, port });
  await once(socket, 'connect');
  const startMs = performance.now();
  let bytes = 0;
  while (performance.now() < startMs + forMs) {
    await written(socket, piece);
    bytes += piece.length;
  }
  const tookMs = performance.now() - startMs;
  socket.destroy();
  return (bytes * 8) / tookMs / 1e6;
}

function written(socket: Socket, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(piece, (error) => (error ? reject(error) : resolve()));
  });
}

/** New connections a second, one after another: connect, a byte each way, close. */
async function rate(host: string, port: number, forMs: number): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  while (performance.now() < startMs + forMs) {
    const answer = await askTcp(host, port);
    if (!answer.startsWith('pod-')) throw new Error(`an answer of ${host}: ${answer}`);
    count++;
  }
  return (count * 1000) / (performance.now() - startMs);
}

/** Connects again and again; says who answers, and since when, whenever that changes. */
async function follow(host: string, port: string): Promise<void> {
  for (let before = ''; ;) {
    const [who = ''] = (await askTcp(host, Number(port))).split(' ');
    if (who !== before) say(`${who} ${Date.now()}`);
    before = who;
  }
}

/** One connection that stays: an answer at once, and one for each piece of input. */
async function chat(host: string, port: string): Promise<void> {
  const socket = connect({ host, port: Number(port) }, () => socket.write('x'));
  socket.on('data', (data) => say(String(data).trim()));
  socket.on('error', (error) => say(error.message));
  process.stdin.on('data', () => socket.write('x')).on('end', () => socket.destroy());
}

/** One socket that stays: a packet for each piece of input, and what comes back. */
async function chatUdp(host: string, port: string): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (message) => say(String(message)));
  socket.on('error', (error: NodeJS.ErrnoException) => say(error.code ?? 'error'));
  socket.connect(Number(port), host, () => socket.send('x'));
  process.stdin.on('data', () => socket.send('x')).on('end', () => socket.close());
}
