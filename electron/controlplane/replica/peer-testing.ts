// For tests: members of a cluster on loopback with real TLS, a recorder of what reaches them, and
// the two ends of the protocol done by hand, to misbehave with.
import {
  connect,
  createServer,
  type ConnectionOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger, type Logger } from '#kube/base/logger.ts';
import { seededRandom, systemRandom } from '#kube/base/random.ts';
import {
  issueCertificate,
  makeKey,
  memberIdOf,
  peersOrganization,
  publicKeyDer,
  type CertificateSpec,
  type KeyPairPem,
} from '#platform/certificate.ts';
import type { AppendRequest, Heartbeat, Member, MemberId, SnapshotMark } from '../raft/types.ts';
import type { Acknowledged, DiskClaim } from './announcements.ts';
import type { PeerCredentials } from './peer-dial.ts';
import { encodeAnswer, GreetingReader, type Greeting, type Lane } from './peer-handshake.ts';
import type { LinkLimits } from './peer-link.ts';
import { TlsPeerTransport } from './peer-transport.ts';
import type { PeerHandlers } from './types.ts';

const hourMs = 3_600_000;
export const clusterId = 'test-cluster';

export function certify(ca: KeyPairPem | undefined, spec: Partial<CertificateSpec>): KeyPairPem {
  const now = systemClock.now();
  const validity = { notBeforeMs: now - hourMs, notAfterMs: now + hourMs };
  const full = { commonName: 'test', usages: [], ...validity, ...spec };
  return issueCertificate(full, ca, systemRandom);
}

export const testCa = certify(undefined, { commonName: 'test-ca', usages: ['ca'] });

export interface Identity {
  readonly id: MemberId;
  readonly credentials: PeerCredentials;
}

export function identify(ca: KeyPairPem = testCa, keyPem: string = makeKey()): Identity {
  const pair = certify(ca, {
    usages: ['server', 'client'],
    organizations: [peersOrganization],
    keyPem,
  });
  return { id: memberIdOf(publicKeyDer(keyPem)), credentials: { ...pair, caPem: ca.certPem } };
}

/** One thing that reached a member's driver. */
export type Event =
  | { readonly type: 'message'; readonly message: Parameters<PeerHandlers['onMessage']>[0] }
  | { readonly type: 'unreachable' | 'removed' | 'lost-data'; readonly peer: MemberId };

export class Recorder implements PeerHandlers {
  readonly events: Event[] = [];
  readonly sentences: string[] = [];
  readonly waiting = new Set<() => void>();
  acknowledgedBy: PeerHandlers['acknowledged'] = () => undefined;
  takeSnapshot: PeerHandlers['onSnapshot'] = () => Promise.reject(new Error('no snapshots here'));

  onMessage(message: Parameters<PeerHandlers['onMessage']>[0]): void {
    this.add({ type: 'message', message });
  }
  onUnreachable(peer: MemberId): void {
    this.add({ type: 'unreachable', peer });
  }
  onRemoved(peer: MemberId): void {
    this.add({ type: 'removed', peer });
  }
  onLostData(peer: MemberId, sentence: string): void {
    this.sentences.push(sentence);
    this.add({ type: 'lost-data', peer });
  }
  acknowledged(peer: MemberId): Acknowledged | undefined {
    return this.acknowledgedBy(peer);
  }
  onSnapshot(...parameters: Parameters<PeerHandlers['onSnapshot']>): Promise<void> {
    return this.takeSnapshot(...parameters);
  }

  get messages(): Parameters<PeerHandlers['onMessage']>[0][] {
    return this.events.flatMap((event) => (event.type === 'message' ? [event.message] : []));
  }

  count(type: Event['type']): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Resolves as soon as `isSo` holds, which is asked at each event. */
  async until(isSo: () => boolean): Promise<void> {
    if (isSo()) return;
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (!isSo()) return;
        this.waiting.delete(check);
        resolve();
      };
      this.waiting.add(check);
    });
  }

  private add(event: Event): void {
    this.events.push(event);
    for (const check of this.waiting) check();
  }
}

export interface TestPeer extends Identity {
  readonly transport: TlsPeerTransport;
  readonly recorder: Recorder;
  readonly clock: ManualClock;
  readonly member: Member;
}

export interface TestPeerOptions {
  readonly identity?: Identity;
  readonly clusterId?: string;
  readonly port?: number;
  readonly limits?: LinkLimits;
  readonly logger?: Logger;
  readonly snapshotBytesPerSecond?: number;
  readonly disk?: DiskClaim;
  /** False: it listens only. */
  readonly isStarted?: boolean;
}

export async function startPeer(options: TestPeerOptions = {}): Promise<TestPeer> {
  const identity = options.identity ?? identify();
  const clock = new ManualClock();
  const recorder = new Recorder();
  const transport = await TlsPeerTransport.open({
    isAlwaysOn: true,
    ...(options.disk === undefined ? {} : { disk: options.disk }),
    ...identity,
    clusterId: options.clusterId ?? clusterId,
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    addresses: (port) => [`127.0.0.1:${port}`],
    clock,
    random: seededRandom(1),
    logger: options.logger ?? silentLogger,
    snapshotBytesPerSecond: options.snapshotBytesPerSecond ?? Number.POSITIVE_INFINITY,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  if (options.isStarted !== false) transport.start(recorder);
  const member = memberAt(identity.id, transport.port);
  return { ...identity, transport, recorder, clock, member };
}

export function memberAt(id: MemberId, ...ports: readonly number[]): Member {
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  return { id, role: 'voter', name: `member-${id}`, addresses };
}

/** A server that welcomes everybody, and then leaves the connections to the test. */
export interface FakePeer {
  readonly member: Member;
  close(): void;
}

export async function startFakePeer(
  { id, credentials }: Identity,
  onConnection: (lane: Lane, socket: TLSSocket, rest: Buffer) => void,
): Promise<FakePeer> {
  const sockets = new Set<TLSSocket>();
  const { caPem: ca, certPem: cert, keyPem: key } = credentials;
  const server: Server = createServer({ ca, cert, key, requestCert: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    const greeting = new GreetingReader();
    const listen = (chunk: Buffer): void => {
      const read = greeting.push(chunk);
      if (read === undefined) return;
      socket.removeListener('data', listen);
      socket.write(encodeAnswer(undefined));
      onConnection((read.greeting.content as { lane: Lane }).lane, socket, read.rest);
    };
    socket.on('data', listen);
  });
  const port = await new Promise<number>((resolve) => {
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  return {
    member: memberAt(id, port),
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A client that says `greeting` and gets the answer; undefined: the connection ended without. */
export async function greetByHand(
  to: TestPeer,
  credentials: Partial<PeerCredentials>,
  greeting: Uint8Array,
): Promise<{ readonly socket: TLSSocket; readonly answer: Greeting | undefined }> {
  const { caPem: ca, certPem: cert, keyPem: key } = credentials;
  const identity = Object.fromEntries(
    Object.entries({ ca, cert, key }).filter(([, value]) => value !== undefined),
  );
  const options: ConnectionOptions = {
    ...identity,
    host: '127.0.0.1',
    port: to.transport.port,
    checkServerIdentity: () => undefined,
  };
  const socket = connect(options, () => socket.write(greeting));
  socket.on('error', () => undefined);
  const reader = new GreetingReader();
  return await new Promise((resolve) => {
    const listen = (chunk: Buffer): void => {
      const read = reader.push(chunk);
      if (read === undefined) return;
      socket.removeListener('data', listen);
      resolve({ socket, answer: read.greeting });
    };
    socket.on('data', listen);
    socket.once('close', () => resolve({ socket, answer: undefined }));
  });
}

export function ended(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) return resolve();
    socket.resume();
    socket.once('close', () => resolve());
  });
}

export function heartbeat(from: MemberId, to: MemberId, commit = 0): Heartbeat {
  return { type: 'heartbeat', from, to, term: 1, commit, readRound: 0 };
}

/** With one entry of `sizeBytes`. */
export function append(
  from: MemberId,
  to: MemberId,
  { index, sizeBytes }: { readonly index: number; readonly sizeBytes: number },
): AppendRequest {
  const data = Buffer.alloc(sizeBytes, index % 251);
  const entries = [{ index, term: 1, kind: 'command' as const, data }];
  const at = { previousIndex: index - 1, previousTerm: 1, commit: 0 };
  return { type: 'append', from, to, term: 1, ...at, entries };
}

export const testMark: SnapshotMark = {
  index: 12,
  term: 3,
  membership: { members: [memberAt(5, 7000)] },
};
