// Against an SSH server in this process, on loopback: ssh2's own. A real sshd: test/e2e/enrolment.test.ts.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import type { Credentials, Login, Remote } from './remote.ts';
import { sshRemotes } from './ssh-login.ts';

const { Server, utils } = ssh2;
const hostKey = utils.generateKeyPairSync('ed25519');
const own = utils.generateKeyPairSync('ed25519');
const locked = utils.generateKeyPairSync('ed25519', {
  passphrase: 'open',
  cipher: 'aes256-cbc',
  rounds: 4,
});
const stranger = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
}).privateKey;

let server: InstanceType<typeof Server>;
let port: number;
let fingerprint: string;
let folder: string;
/** What the server accepts, and what has been tried. */
let accepts: readonly string[];
let tried: string[];
/** How a program behaves. */
let program: (command: string, channel: ServerChannel) => void;
let connections: Connection[];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-ssh-'));
  server = new Server({ hostKeys: [hostKey.private] }, (connection) => serve(connection));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  const shown = await open({ user: 'pi', password: 'raspberry' }, undefined);
  if (shown.type !== 'other-host-key') throw new Error(shown.type);
  fingerprint = shown.hostKey.fingerprint;
});
afterAll(async () => {
  for (const one of connections) one.end();
  await new Promise<void>((resolve) => void server.close(() => resolve()));
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  accepts = ['password', 'publickey'];
  tried = [];
  connections = [];
  program = (_command, channel) => end(channel, 0);
});

function serve(connection: Connection): void {
  (connections ??= []).push(connection);
  connection.on('error', () => undefined);
  connection.on('authentication', (context) => {
    const { method } = context;
    if (method !== 'none') (tried ??= []).push(method);
    const known = [own.public, locked.public].map((key) => {
      const parsed = utils.parseKey(key);
      if (parsed instanceof Error) throw parsed;
      return parsed.getPublicSSH();
    });
    if (method === 'password' && context.password === 'raspberry') context.accept();
    else if (method === 'publickey' && known.some((key) => key.equals(context.key.data)))
      context.accept();
    else if (method === 'keyboard-interactive' && accepts.includes(method))
      context.prompt([{ prompt: 'Password: ', echo: false }], (answers) =>
        answers[0] === 'raspberry' ? context.accept() : context.reject([...accepts] as never),
      );
    else context.reject([...(accepts ?? [])] as never);
  });
  connection.on('session', (accept) => {
    accept().on('exec', (take, _refuse, { command }) => program(command, take()));
  });
  connection.on('tcpip', (accept, refuse, { destPort }) => {
    if (destPort === 1) return refuse();
    accept().end();
  });
}

function end(channel: ServerChannel, code: number): void {
  channel.exit(code);
  channel.end();
}

function open(
  credentials: Credentials,
  expected: string | undefined = fingerprint,
  clock = systemClock,
): Promise<Login> {
  const target = { addresses: ['127.0.0.1'], port };
  const { signal } = new AbortController();
  return sshRemotes({ clock, agentSocket: undefined })(target, credentials, {
    hostKey: expected,
    signal,
  });
}

async function remote(clock = systemClock): Promise<Remote> {
  const login = await open({ user: 'pi', password: 'raspberry' }, fingerprint, clock);
  if (login.type !== 'in') throw new Error(login.type);
  return login.remote;
}

describe('logging in', () => {
  it('shows the host key before anything is sent', async () => {
    const login = await open({ user: 'pi', password: 'raspberry' }, `SHA256:${'x'.repeat(43)}`);
    expect(login).toEqual({
      type: 'other-host-key',
      hostKey: { type: 'ssh-ed25519', fingerprint },
    });
    expect(tried).toEqual([]);
  });

  const cases: readonly (readonly [string, Credentials, readonly string[], string, string[]])[] = [
    ['a password', { user: 'pi', password: 'raspberry' }, [], 'in', ['password']],
    [
      'a wrong password, once',
      { user: 'pi', password: 'no' },
      ['password', 'keyboard-interactive'],
      'The machine does not accept this password for pi',
      ['password'],
    ],
    [
      'where only questions are asked',
      { user: 'pi', password: 'raspberry' },
      ['keyboard-interactive'],
      'in',
      ['keyboard-interactive'],
    ],
    [
      'a password where there are only keys',
      { user: 'pi', password: 'no' },
      ['publickey'],
      'The machine takes no password for pi: give a key that it knows',
      [],
    ],
    ['a key', { user: 'pi', privateKey: own.private }, [], 'in', ['publickey', 'publickey']],
    [
      'a locked key',
      { user: 'pi', privateKey: locked.private, passphrase: 'open' },
      [],
      'in',
      ['publickey', 'publickey'],
    ],
    [
      'a locked key without its passphrase',
      { user: 'pi', privateKey: locked.private },
      [],
      'The private key needs its passphrase',
      [],
    ],
    [
      'a locked key with another',
      { user: 'pi', privateKey: locked.private, passphrase: 'shut' },
      [],
      'That is not the passphrase of the private key',
      [],
    ],
    [
      'the public half',
      { user: 'pi', privateKey: own.public },
      [],
      'That is the public half of a key: the private one is needed',
      [],
    ],
    [
      'no key at all',
      { user: 'pi', privateKey: 'hello' },
      [],
      'The private key can not be read: it has to be as ssh-keygen or PuTTY write it',
      [],
    ],
    [
      'a key that it does not know',
      { user: 'pi', privateKey: stranger },
      ['publickey'],
      'The machine does not know the key for pi: its public half belongs in ~/.ssh/authorized_keys there',
      ['publickey'],
    ],
    ['nothing', { user: 'pi' }, [], 'Neither a password nor a key was given', []],
    [
      'an agent that is not there',
      { user: 'pi', useAgent: true },
      [],
      'No SSH agent runs beside the control plane (SSH_AUTH_SOCK is not set)',
      [],
    ],
  ];
  it.each(cases)('%s', async (_name, credentials, accepted, want, attempts) => {
    if (accepted.length > 0) accepts = accepted;
    const login = await open(credentials);
    if (login.type === 'in') login.remote.close();
    expect([login.type === 'refused' ? login.message : login.type, tried]).toEqual([
      want,
      attempts,
    ]);
  });

  it('says what is not there, or no SSH server', async () => {
    const mute: TcpServer = createServer((socket) =>
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port: other } = mute.address() as AddressInfo;
    const at = (one: number) =>
      sshRemotes({ clock: systemClock, agentSocket: undefined })(
        { addresses: ['127.0.0.1'], port: one },
        { user: 'pi' },
        { hostKey: undefined, signal: new AbortController().signal },
      );
    expect(await at(other)).toMatchObject({
      type: 'unreachable',
      message: expect.stringMatching(/hung up/),
    });
    mute.close();
    expect(await at(1)).toEqual({
      type: 'unreachable',
      message: 'No SSH at port 1 of 127.0.0.1: nothing listens there',
    });
  });
});

describe('a program there', () => {
  it('gets its arguments in one line, its stdin whole, and answers', async () => {
    const here = await remote();
    const file = path.join(folder, 'large');
    writeFileSync(file, Buffer.alloc(3_000_000, 'x'));
    program = (command, channel) => {
      let bytes = 0;
      channel.on('data', (chunk: Buffer) => (bytes += chunk.length));
      channel.on('end', () => {
        channel.write(`${command} ${bytes}`);
        channel.stderr.write('a word');
        end(channel, 3);
      });
    };
    const sent: number[] = [];
    const result = await here.run('sh', ['-c', "it's"], {
      stdin: ['secret\n', { file }],
      onSent: (bytes) => sent.push(bytes),
    });
    expect(result).toEqual({
      code: 3,
      stdout: String.raw`sh -c 'it'\''s' 3000007`,
      stderr: 'a word',
    });
    expect([sent.at(-1), sent.length > 10]).toEqual([3_000_000, true]);
    here.close();
  });

  it('that does not read its stdin ends all the same', async () => {
    const here = await remote();
    const file = path.join(folder, 'unread');
    writeFileSync(file, Buffer.alloc(8_000_000));
    program = (_command, channel) => end(channel, 1);
    expect((await here.run('false', [], { stdin: [{ file }] })).code).toBe(1);
    here.close();
  });

  it('that talks without end is cut short', async () => {
    const here = await remote();
    program = (_command, channel) => {
      channel.write('a'.repeat(400_000));
      channel.stderr.write(`${'b'.repeat(20_000)}end`);
      end(channel, 0);
    };
    const { stdout, stderr } = await here.run('yes', []);
    expect([stdout.length, stderr.length, stderr.endsWith('end')]).toEqual([262_144, 8192, true]);
    here.close();
  });

  it('that hangs is given up, by the clock', async () => {
    const clock = new ManualClock();
    const here = await remote(clock);
    const started = new Promise<void>((resolve) => (program = () => resolve()));
    const run = here.run('sleep', ['9999'], { timeoutMs: 5000 });
    await started;
    clock.advance(5000);
    await expect(run).rejects.toThrow('it took longer than 5 s');
    here.close();
  });

  it('whose connection is cut is said to be, also the next one', async () => {
    const here = await remote();
    program = () => {
      for (const one of connections) one.end();
    };
    await expect(here.run('true', [])).rejects.toThrow('the connection was cut');
    await expect(here.run('true', [])).rejects.toThrow('the connection was cut');
  });

  it('that a signal ends is told from one that fails', async () => {
    const here = await remote();
    program = (_command, channel) => {
      channel.exit('KILL');
      channel.end();
    };
    await expect(here.run('true', [])).rejects.toThrow('the program was ended there');
    here.close();
  });

  it('a file that is not here is an error of this side', async () => {
    const here = await remote();
    program = () => undefined;
    const stdin = [{ file: path.join(folder, 'none') }];
    await expect(here.run('cat', [], { stdin })).rejects.toThrow(/ENOENT/);
    here.close();
  });

  it('is asked whether it reaches somebody', async () => {
    const here = await remote();
    expect([await here.reaches('10.0.0.1', 7443), await here.reaches('10.0.0.1', 1)]).toEqual([
      true,
      false,
    ]);
    expect(here.ownAddress).toBe('127.0.0.1');
    here.close();
  });
});
