import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { ManualClock, type Clock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { parseCertificateRequest } from '#platform/certificate-request.ts';
import { certifyKey, issueCertificate } from '#platform/certificate.ts';
import { readKubeconfig, writeKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import {
  ensureCredentials,
  keepCredentials,
  type Credentials,
  type CredentialsDeps,
} from './credentials.ts';

const day = 86_400_000;
const random = seededRandom(3);
let folder = '';
let clock: ManualClock;
let lifetimeMs = 365 * day;
let refusal: string | undefined;
/** Nobody answers. */
let isAway = false;
/** Who asked for what. */
let asked: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-credentials-'));
  clock = new ManualClock();
  [lifetimeMs, refusal, isAway, asked] = [365 * day, undefined, false, []];
});
afterEach(() => rmSync(folder, { recursive: true }));

const ca = issueCertificate(
  { commonName: 'ca', usages: ['ca'], notBeforeMs: 0, notAfterMs: 4e12 },
  undefined,
  random,
);

/** Signs at once what it is asked for. */
function answer(request: CertificateSigningRequest): CertificateSigningRequest {
  const metadata = { name: 'csr-1' };
  if (refusal !== undefined) {
    const denied = { type: 'Denied', status: 'True', message: refusal };
    return { ...request, metadata, status: { conditions: [denied] } };
  }
  const info = parseCertificateRequest(atob(request.spec.request));
  if (info === undefined) throw new Error('not readable');
  const notBeforeMs = clock.now() - Math.min(day, lifetimeMs / 100);
  const times = { notBeforeMs, notAfterMs: clock.now() + lifetimeMs };
  const pem = certifyKey({ ...info, ...times, usages: ['client'] }, ca, random);
  return { ...request, metadata, status: { certificate: btoa(pem) } };
}

function deps(bootstrap: boolean): CredentialsDeps {
  const file = (name: string) => path.join(folder, name);
  return {
    nodeName: 'pi',
    dataDirectory: folder,
    kubeconfig: file('kubeconfig'),
    bootstrapKubeconfig: bootstrap ? file('bootstrap') : undefined,
    async withClient(config, use) {
      let kept: CertificateSigningRequest | undefined;
      const client = {
        create(_: unknown, object: CertificateSigningRequest) {
          if (isAway) return Promise.reject(new Error('nobody is there'));
          const { commonName, organizations, dnsNames } =
            parseCertificateRequest(atob(object.spec.request)) ?? {};
          const { signerName, usages = [] } = object.spec;
          const names = [commonName, organizations, dnsNames, ...usages].join(' ');
          asked.push(`${who(config)}: ${signerName} for ${names}`);
          kept = answer(object);
          return Promise.resolve(kept);
        },
        get: () => Promise.resolve(kept),
      };
      return use(client as unknown as Parameters<typeof use>[0]);
    },
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    signal: new AbortController().signal,
  };
}

function who({ token, certPem, server, serverName }: ClientConfig): string {
  return `${token ?? (certPem === undefined ? 'nobody' : 'the node')} at ${server} ${serverName}`;
}

async function invite(): Promise<void> {
  const names = { cluster: 'c', user: 'u' };
  const config = { server: 'https://10.77.0.1:7443', caPem: ca.certPem, token: 'abc.def' };
  await writeKubeconfig(
    path.join(folder, 'bootstrap'),
    { ...config, serverName: 'kubernetes' },
    names,
  );
}

const at = 'at https://10.77.0.1:7443 kubernetes';
const client = 'kubernetes.io/kube-apiserver-client-kubelet for system:node:pi system:nodes';
const serving = 'kubernetes.io/kubelet-serving for system:node:pi system:nodes pi';

describe('the credentials of an agent', () => {
  it('are asked for with the token, then as the node itself', async () => {
    await invite();
    await ensureCredentials(deps(true));
    expect(asked).toEqual([
      `abc.def ${at}: ${client}  digital signature client auth`,
      `the node ${at}: ${serving} digital signature server auth`,
    ]);
    const { server, serverName, token } = await readKubeconfig(path.join(folder, 'kubeconfig'));
    expect([server, serverName, token]).toEqual([
      'https://10.77.0.1:7443',
      'kubernetes',
      undefined,
    ]);
    expect(readFileSync(path.join(folder, 'ca.crt'), 'utf8')).toBe(ca.certPem);
  });

  it('are good for a start while they last, whoever is away, and need no token then', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(364 * day);
    isAway = true;
    await ensureCredentials(deps(false));
    expect(asked).toHaveLength(2);
  });

  it('write nothing where all is there: the disk may be full', async () => {
    await invite();
    await ensureCredentials(deps(true));
    const times = () => readdirSync(folder).map((name) => statSync(path.join(folder, name)).ino);
    const before = times();
    await ensureCredentials(deps(false));
    expect(times()).toEqual(before);
  });

  it('that ended while the machine was off for 14 months are renewed by themselves, with no invitation', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(425 * day);
    asked = [];
    await ensureCredentials(deps(false));
    expect(asked).toEqual([
      `the node ${at}: ${client}  digital signature client auth`,
      `the node ${at}: ${serving} digital signature server auth`,
    ]);
  });

  it('that ended and that the cluster knows no more need a new invitation, and say so', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(366 * day);
    refusal = 'no node of this cluster has that name any more';
    const refused = ensureCredentials(deps(false));
    await expect(refused).rejects.toThrow(refusal);
    await expect(refused).rejects.toThrow(
      'this machine has to be added to the cluster again (--bootstrap-kubeconfig FILE)',
    );
    asked = [];
    const over = new AbortController();
    const trying = ensureCredentials({ ...deps(true), signal: over.signal });
    while (asked.length < 2) await new Promise((done) => setImmediate(done));
    over.abort();
    await trying;
    expect(asked.map((line) => line.split(' ')[0])).toEqual(['the', 'abc.def']);
  });

  it('that ended stay as they are while nobody answers', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(366 * day);
    [isAway, asked] = [true, []];
    const before = readFileSync(path.join(folder, 'kubeconfig'), 'utf8');
    const over = new AbortController();
    const trying = ensureCredentials({ ...deps(true), signal: over.signal });
    while (clock.nextTimerMs() === undefined) await new Promise((done) => setImmediate(done));
    over.abort();
    expect(await trying).toBeUndefined();
    expect(readFileSync(path.join(folder, 'kubeconfig'), 'utf8')).toBe(before);
  });

  it('that somebody refused are asked for ever more seldom, which is said once', async () => {
    await invite();
    refusal = 'not this one';
    const said: unknown[] = [];
    const over = new AbortController();
    const logger = {
      ...silentLogger,
      error: (_: string, fields?: object) => void said.push(fields),
    };
    const waits: number[] = [];
    const watched: Clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      timer(ms, callback) {
        if (ms >= 1000) waits.push(ms);
        return clock.timer(ms, callback);
      },
    };
    const ways = { ...deps(true), logger, clock: watched, signal: over.signal };
    const waiting = ensureCredentials(ways);
    while (waits.length < 9) {
      clock.advance(waits.at(-1) ?? 0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    over.abort();
    expect(await waiting).toBeUndefined();
    expect(waits.map((ms) => ms / 1000)).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900]);
    expect(said).toMatchObject([{ error: expect.stringContaining('not granted: not this one') }]);
  });
});

describe('while the agent runs', () => {
  let over: AbortController;
  let renewed: Credentials[];
  /** The wall's clock, ahead of the one that timers go by: the machine slept. */
  let sleptMs: number;
  beforeEach(() => {
    over = new AbortController();
    [renewed, sleptMs] = [[], 0];
  });
  afterEach(() => over.abort());

  async function keep(seed = 1, ageMs = 0): Promise<Credentials> {
    await invite();
    const start = await ensureCredentials(deps(true));
    clock.advance(ageMs);
    if (start === undefined) throw new Error('no credentials');
    asked = [];
    const awake = {
      now: () => clock.now() + sleptMs,
      monotonicMs: () => clock.monotonicMs(),
      timer: (ms: number, callback: () => void) => clock.timer(ms, callback),
    };
    const given = { ...deps(false), clock: awake, random: seededRandom(seed), signal: over.signal };
    void keepCredentials(given, start, (now) => renewed.push(now));
    await rest();
    return start;
  }

  /** Until it waits for time again. */
  async function rest(): Promise<void> {
    while (clock.nextTimerMs() === undefined) await new Promise((done) => setImmediate(done));
  }

  async function look(): Promise<void> {
    clock.advance(clock.nextTimerMs() ?? 0);
    await rest();
  }

  const both = [
    `the node ${at}: ${client}  digital signature client auth`,
    `the node ${at}: ${serving} digital signature server auth`,
  ];

  it('they are renewed as the node itself between 70 and 90 % of their life, and used at once', async () => {
    const start = await keep();
    let days = 0;
    for (; renewed.length === 0; days++) {
      clock.advance(day);
      await rest();
    }
    // Of 366 days, one of which was over.
    expect([days > 254, days < 330, asked]).toEqual([true, true, both]);
    const [now] = renewed;
    expect([now?.client.certPem, now?.serving.certPem]).not.toContain(start.client.certPem);
    expect(now?.serving.certPem).not.toBe(start.serving.certPem);
    expect((await readKubeconfig(path.join(folder, 'kubeconfig'))).certPem).toBe(
      now?.client.certPem,
    );
    expect(readFileSync(path.join(folder, 'serving.crt'), 'utf8')).toBe(now?.serving.certPem);
    clock.advance(200 * day);
    await rest();
    expect(renewed).toHaveLength(1);
  });

  it('they are renewed soon after a start that came late in their life', async () => {
    await keep(1, 340 * day);
    clock.advance(250);
    await rest();
    expect([asked, renewed.length]).toEqual([both, 1]);
  });

  it('not all machines ask on the same day', async () => {
    const daysOf = [];
    for (const seed of [1, 2]) {
      [over, renewed] = [new AbortController(), []];
      rmSync(path.join(folder, 'kubeconfig'), { force: true });
      rmSync(path.join(folder, 'serving.crt'), { force: true });
      await keep(seed);
      let days = 0;
      for (; renewed.length === 0; days++) {
        clock.advance(day);
        await rest();
      }
      daysOf.push(days);
      over.abort();
    }
    expect(Math.abs((daysOf[0] ?? 0) - (daysOf[1] ?? 0))).toBeGreaterThan(1);
  });

  it('a machine that slept through it renews within an hour of awakening', async () => {
    await keep();
    sleptMs = 330 * day;
    clock.advance(3_600_000);
    await rest();
    expect([asked, renewed.length]).toEqual([both, 1]);
  });

  it('nobody who answers is asked again, more often as the end comes near, and the old ones serve', async () => {
    lifetimeMs = 10 * 3_600_000;
    await keep();
    isAway = true;
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      waits.push(clock.nextTimerMs() ?? 0);
      await look();
    }
    expect(waits.every((ms) => ms <= 3_600_000)).toBe(true);
    expect(waits.at(-1)).toBeLessThan(1_800_000);
    expect(renewed).toEqual([]);
    isAway = false;
    await look();
    expect(renewed).toHaveLength(1);
  });

  it('what the control plane of this machine wrote is taken up, and nothing asked for', async () => {
    const start = await keep();
    const times = { notBeforeMs: clock.now(), notAfterMs: clock.now() + 365 * day };
    const made = issueCertificate({ commonName: 'x', usages: ['server'], ...times }, ca, random);
    writeFileSync(path.join(folder, 'serving.key'), made.keyPem);
    writeFileSync(path.join(folder, 'serving.crt'), made.certPem);
    clock.advance(3_600_000);
    await rest();
    expect([renewed, asked]).toEqual([[{ client: start.client, serving: made }], []]);
  });
});
