// Logs in by SSH: first the host key, then whatever the person gave, and in words why it did not come to pass. A machine
// whose key is not the expected one gets no name and no password.
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { AuthenticationType, Client, ConnectConfig } from 'ssh2';
import type { Clock } from '#kube/base/clock.ts';
import type { Credentials, HostKey, Login, OpenRemote, Target } from './remote.ts';
import { SshRemote } from './ssh-remote.ts';

const connectMs = 5000;
const handshakeMs = 20_000;
const keepaliveMs = 5000;

export interface SshDeps {
  readonly clock: Clock;
  /** Of the SSH agent of whoever runs the control plane. */
  readonly agentSocket: string | undefined;
}

export function sshRemotes({ clock, agentSocket }: SshDeps): OpenRemote {
  return async (target, credentials, { hostKey, signal }) => {
    const { Client, utils } = (await import('ssh2')).default;
    const reached = await reach(target, clock, signal);
    if ('message' in reached) return { type: 'unreachable', message: reached.message };
    const { socket } = reached;
    const methods = methodsOf(credentials, agentSocket, utils);
    return logIn(new Client(), { socket, credentials, methods, hostKey, clock, signal });
  };
}

async function reach(
  { addresses, port }: Target,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ readonly socket: Socket } | { readonly message: string }> {
  let why = 'no address of it is known';
  for (const address of addresses) {
    const outcome = await dial(address, port, clock, signal);
    if (typeof outcome !== 'string') return { socket: outcome };
    why = outcome;
  }
  return { message: why };
}

function dial(
  host: string,
  port: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true });
    const fail = (why: string): void => {
      settle();
      socket.destroy();
      resolve(`No SSH at port ${port} of ${host}: ${why}`);
    };
    const timer = clock.timer(connectMs, () => fail('no answer'));
    const abort = (): void => fail('given up');
    const refuse = ({ code, message }: NodeJS.ErrnoException): void =>
      fail(code === 'ECONNREFUSED' ? 'nothing listens there' : message);
    const settle = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', abort);
      socket.removeListener('error', refuse);
    };
    signal.addEventListener('abort', abort);
    socket.once('error', refuse);
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    if (signal.aborted) abort();
  });
}

interface Methods {
  readonly offered: readonly AuthenticationType[];
  readonly config: Pick<ConnectConfig, 'agent' | 'privateKey' | 'passphrase' | 'password'>;
  /** Why what was given can't even be tried. */
  readonly problem: string | undefined;
}

function methodsOf(
  { password, privateKey, passphrase, useAgent }: Credentials,
  agentSocket: string | undefined,
  { parseKey }: Pick<typeof import('ssh2').utils, 'parseKey'>,
): Methods {
  const offered: AuthenticationType[] = [];
  let problem: string | undefined;
  if (useAgent === true) {
    if (agentSocket === undefined)
      problem = 'No SSH agent runs beside the control plane (SSH_AUTH_SOCK is not set)';
    else offered.push('agent');
  }
  if (privateKey !== undefined) {
    const parsed = parseKey(privateKey, passphrase);
    if (parsed instanceof Error) problem = keyProblem(parsed.message);
    else if (!parsed.isPrivateKey())
      problem = 'That is the public half of a key: the private one is needed';
    else offered.push('publickey');
  }
  if (password !== undefined) offered.push('password', 'keyboard-interactive');
  if (offered.length === 0 && problem === undefined)
    problem = 'Neither a password nor a key was given';
  return {
    offered,
    problem,
    config: {
      ...(useAgent === true && agentSocket !== undefined && { agent: agentSocket }),
      ...(offered.includes('publickey') && { privateKey, passphrase }),
      ...(password !== undefined && { password }),
    },
  };
}

function keyProblem(message: string): string {
  if (/no passphrase/i.test(message)) return 'The private key needs its passphrase';
  if (/bad passphrase|bad decrypt|integrity/i.test(message))
    return 'That is not the passphrase of the private key';
  return 'The private key can not be read: it has to be as ssh-keygen or PuTTY write it';
}

interface Attempt {
  readonly socket: Socket;
  readonly credentials: Credentials;
  readonly methods: Methods;
  readonly hostKey: string | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

function logIn(client: Client, attempt: Attempt): Promise<Login> {
  const { socket, credentials, methods, hostKey: expected, clock, signal } = attempt;
  const { user, password } = credentials;
  let shown: HostKey | undefined;
  let accepted: readonly string[] = [];
  let isExpired = false;
  const left = [...methods.offered];
  return new Promise((resolve) => {
    const settle = (login: Login): void => {
      signal.removeEventListener('abort', abort);
      if (login.type !== 'in') client.destroy();
      resolve(login);
    };
    const failed = (why: string): void => {
      if (shown !== undefined && shown.fingerprint !== expected)
        settle({ type: 'other-host-key', hostKey: shown });
      else if (shown === undefined) settle({ type: 'unreachable', message: why });
      else settle({ type: 'refused', hostKey: shown, message: methods.problem ?? why });
    };
    const abort = (): void => failed('given up');
    signal.addEventListener('abort', abort);
    client.on('error', (error: Error & { level?: string }) => {
      // It goes on with the next method.
      if (error.level === 'agent') return;
      const isRefusal = error.level === 'client-authentication';
      if (isExpired) failed(`The password of ${user} has ended: log in there once and change it`);
      else if (isRefusal) failed(refusal(user, methods.offered, accepted));
      else failed(`The SSH server hung up: ${error.message}`);
    });
    client.on('close', () => failed('The SSH server hung up'));
    client.on('keyboard-interactive', (_name, _text, _language, prompts, finish) =>
      finish(prompts.map(() => password ?? '')),
    );
    client.on('change password', () => {
      isExpired = true;
      client.destroy();
    });
    client.on('ready', () => {
      if (shown === undefined) return failed('no host key was shown');
      settle({ type: 'in', remote: new SshRemote(client, socket, clock), hostKey: shown });
    });
    client.connect({
      ...methods.config,
      sock: socket,
      username: user,
      tryKeyboard: true,
      readyTimeout: handshakeMs,
      keepaliveInterval: keepaliveMs,
      keepaliveCountMax: 3,
      hostVerifier: (key: Buffer) => {
        shown = hostKeyOf(key);
        // With nothing to offer it is known already how it ends.
        return shown.fingerprint === expected && methods.problem === undefined;
      },
      authHandler: (methodsLeft: AuthenticationType[] | null) => {
        // What it accepts is learned by asking for nothing.
        if (methodsLeft === null) return 'none';
        if (accepted.length === 0) accepted = methodsLeft;
        for (;;) {
          const next = left.shift();
          if (next === undefined) return false as unknown as AuthenticationType;
          // The same question twice would be two wrong passwords.
          if (next === 'keyboard-interactive' && accepted.includes('password')) continue;
          if (methodsLeft.includes(next === 'agent' ? 'publickey' : next)) return next;
        }
      },
    });
    if (signal.aborted) abort();
  });
}

function hostKeyOf(key: Buffer): HostKey {
  const digest = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
  const type = key.subarray(4, 4 + key.readUInt32BE(0)).toString('latin1');
  return { type, fingerprint: `SHA256:${digest}` };
}

/** What was given and what it takes. */
function refusal(user: string, offered: readonly string[], accepted: readonly string[]): string {
  const takes = {
    password: accepted.includes('password') || accepted.includes('keyboard-interactive'),
    key: accepted.includes('publickey'),
  };
  const gave = {
    password: offered.includes('password'),
    key: offered.includes('publickey') || offered.includes('agent'),
  };
  if (gave.password && !gave.key && !takes.password)
    return `The machine takes no password for ${user}: give a key that it knows`;
  if (gave.key && !gave.password && !takes.key)
    return `The machine takes no key for ${user}: give the password`;
  if (gave.password && gave.key)
    return `The machine accepts neither the password nor the key for ${user}`;
  return gave.key
    ? `The machine does not know the key for ${user}: its public half belongs in ~/.ssh/authorized_keys there`
    : `The machine does not accept this password for ${user}`;
}
