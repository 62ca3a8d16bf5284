// etcd for the system tests: our own front over mutual TLS, a real server on loopback, and the real
// etcdctl for either. Each has a temporary folder of its own, which `stop` removes.
import { execFile, spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate, subjectIdentity, type KeyPairPem } from '#platform/certificate.ts';
import type { ClusterInfo } from '../../electron/controlplane/etcd/cluster-info.ts';
import { GrpcClient } from '../../electron/controlplane/etcd/grpc-client.ts';
import { statusResponse } from '../../electron/controlplane/etcd/protocol-admin.ts';
import { emptyMessage } from '../../electron/controlplane/etcd/protocol.ts';
import { createEtcdServer } from '../../electron/controlplane/etcd/server.ts';
import type { Kv } from '../../electron/controlplane/store/commands.ts';
import { openMemoryKv } from '../../electron/controlplane/store/memory-store.ts';
import type { ToolResult } from './cluster.ts';
import { freePort } from './free-port.ts';

const dayMs = 86_400_000;
const patienceMs = 20_000;

export interface CertificateFiles {
  readonly ca: KeyPairPem;
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** An etcd that can be asked: real or ours. */
export interface EtcdEndpoint {
  readonly url: string;
  readonly folder: string;
  readonly files?: CertificateFiles['files'];
  stop(): Promise<void>;
}

function certificate(
  issuer: KeyPairPem | undefined,
  commonName: string,
  organizations: readonly string[] = [],
): KeyPairPem {
  const spec = {
    commonName,
    organizations,
    usages: issuer === undefined ? (['ca'] as const) : (['server', 'client'] as const),
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBeforeMs: Date.now() - dayMs,
    notAfterMs: Date.now() + dayMs,
  };
  return issueCertificate(spec, issuer, systemRandom);
}

/** A CA, and a client's certificate in files: of the cluster's administrators unless told otherwise. */
export function writeCertificates(
  folder: string,
  organization = 'system:masters',
): CertificateFiles {
  const ca = certificate(undefined, 'test-ca');
  const client = certificate(ca, 'admin', [organization]);
  return { ca, files: writeClient(folder, ca, client) };
}

function writeClient(
  folder: string,
  ca: KeyPairPem,
  client: KeyPairPem,
): CertificateFiles['files'] {
  const files = { ca: 'ca.crt', cert: 'client.crt', key: 'client.key' };
  const contents = { ca: ca.certPem, cert: client.certPem, key: client.keyPem };
  for (const name of ['ca', 'cert', 'key'] as const) {
    files[name] = path.join(folder, files[name]);
    writeFileSync(files[name], contents[name]);
  }
  return files;
}

export const frontCluster: ClusterInfo = {
  clusterId: 0xabcdef012345,
  memberId: 0x123456789abc,
  members: () => [
    {
      id: 0x123456789abc,
      name: 'node-1',
      peerUrls: ['https://10.0.0.1:2380'],
      clientUrls: ['https://127.0.0.1:2379'],
      isLearner: false,
    },
  ],
  position: () => ({ term: 3, leader: 0x123456789abc, committedIndex: 9, appliedIndex: 9 }),
  alarms: () => [],
};

/** Our front over a state in memory. `other`: files of a client who is no administrator. */
export async function startFront(): Promise<
  EtcdEndpoint & { readonly kv: Kv; readonly other: CertificateFiles['files'] }
> {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-etcd-'));
  const { ca, files } = writeCertificates(folder);
  const server = certificate(ca, 'etcd');
  const otherFolder = mkdtempSync(path.join(folder, 'other-'));
  const other = writeClient(otherFolder, ca, certificate(ca, 'node', ['system:nodes']));
  const kv = openMemoryKv();
  const front = createEtcdServer({
    kv,
    cluster: frontCluster,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    temporaryFolder: folder,
    tls: {
      key: server.keyPem,
      cert: server.certPem,
      ca: ca.certPem,
      authorize: (client) =>
        client !== undefined &&
        (subjectIdentity(client)?.organizations.includes('system:masters') ?? false),
    },
  });
  const port = await front.listen(0, '127.0.0.1');
  return {
    url: `https://127.0.0.1:${port}`,
    folder,
    files,
    other,
    kv,
    async stop() {
      await front.close();
      await kv.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface RealEtcd extends EtcdEndpoint {
  /** `kill -9`, and the same etcd again on what it had. */
  restart(): Promise<void>;
}

export interface EtcdOptions {
  /** Speaks TLS, and only to clients with a certificate of this authority. */
  readonly certificates?: CertificateFiles;
}

/** A real etcd. Its data is in memory's speed: nothing is synced to disk. */
export async function startEtcd(
  flags: readonly string[] = [],
  { certificates }: EtcdOptions = {},
): Promise<RealEtcd> {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-etcd-'));
  const [client, peer] = [await freePort(), await freePort()];
  const url = `${certificates === undefined ? 'http' : 'https'}://127.0.0.1:${client}`;
  const own = [
    `--data-dir=${path.join(folder, 'data')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    '--log-level=error',
    '--logger=zap',
    '--max-request-bytes=8388608',
    '--unsafe-no-fsync',
    ...(certificates === undefined ? [] : serverFlags(folder, certificates)),
    ...flags,
  ];
  const begin = async (): Promise<RunningEtcd> => {
    const child = spawn('etcd', own, { stdio: 'ignore' });
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    await answers(url, certificates);
    return { child, exited };
  };
  let running = await begin();
  const kill = async (): Promise<void> => {
    running.child.kill('SIGKILL');
    await running.exited;
  };
  return {
    url,
    folder,
    ...(certificates === undefined ? {} : { files: certificates.files }),
    async restart() {
      await kill();
      running = await begin();
    },
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Several that keep one state. */
export async function startEtcds(count: number, options: EtcdOptions): Promise<RealEtcd[]> {
  const peers: string[] = [];
  while (peers.length < count) peers.push(`http://127.0.0.1:${await freePort()}`);
  const cluster = peers.map((peer, i) => `m${i}=${peer}`).join(',');
  const started = peers.map((peer, i) => {
    const urls = [`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`];
    const soon = ['--heartbeat-interval=50', '--election-timeout=500'];
    return startEtcd([`--name=m${i}`, `--initial-cluster=${cluster}`, ...urls, ...soon], options);
  });
  return await Promise.all(started);
}

interface RunningEtcd {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
}

function serverFlags(folder: string, { ca, files }: CertificateFiles): string[] {
  const server = certificate(ca, 'etcd');
  const [cert, key] = [path.join(folder, 'server.crt'), path.join(folder, 'server.key')];
  writeFileSync(cert, server.certPem);
  writeFileSync(key, server.keyPem);
  const trusted = `--trusted-ca-file=${files.ca}`;
  return [`--cert-file=${cert}`, `--key-file=${key}`, trusted, '--client-cert-auth'];
}

async function answers(url: string, certificates: CertificateFiles | undefined): Promise<void> {
  const tls = certificates === undefined ? {} : { tls: readFiles(certificates.files) };
  const client = new GrpcClient({ endpoints: [url], clock: systemClock, ...tls });
  const types = { request: emptyMessage, response: statusResponse };
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const asked = client.unary('/etcdserverpb.Maintenance/Status', types, {}, 1000);
    const status = await asked.catch(() => undefined);
    if (status !== undefined && status.leader !== 0) break;
    if (Date.now() > deadline) throw new Error(`etcd at ${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  client.close();
}

/** As clients take them. */
export function readFiles(files: CertificateFiles['files']): {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
} {
  const read = (file: string): string => readFileSync(file, 'utf8');
  return { ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
}

function commandLine(to: EtcdEndpoint, args: readonly string[]): string[] {
  const { files } = to;
  const tls =
    files === undefined
      ? []
      : [`--cacert=${files.ca}`, `--cert=${files.cert}`, `--key=${files.key}`];
  return [`--endpoints=${to.url}`, ...tls, ...args];
}

const env = { ...process.env, ETCDCTL_API: '3' };

export function etcdctl(
  to: EtcdEndpoint,
  args: readonly string[],
  input = '',
): Promise<ToolResult> {
  return new Promise((resolve) => {
    const options = { env, timeout: patienceMs };
    const child = execFile('etcdctl', commandLine(to, args), options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

/** The output of a command that must succeed. */
export async function etcdctlOk(
  to: EtcdEndpoint,
  args: readonly string[],
  input = '',
): Promise<string> {
  const { code, stdout, stderr } = await etcdctl(to, args, input);
  if (code !== 0) throw new Error(`etcdctl ${args.join(' ')}: exit ${code}: ${stderr}`);
  return stdout;
}

/** An etcdctl that goes on: what it prints, line by line. */
export class RunningEtcdctl {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  readonly exited: Promise<void>;

  constructor(to: EtcdEndpoint, args: readonly string[]) {
    this.#child = spawn('etcdctl', commandLine(to, args), { env, stdio: 'pipe' });
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
    this.exited = new Promise((resolve) => this.#child.once('exit', () => resolve()));
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  async lines(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) {
      const next = await this.#lines.next();
      if (next.done === true) throw new Error(`etcdctl ended after ${lines.join(' | ')}`);
      lines.push(next.value);
    }
    return lines;
  }

  /** As ^C does: it gives back what it holds. */
  async stop(): Promise<void> {
    this.#child.kill('SIGINT');
    await this.exited;
  }
}
