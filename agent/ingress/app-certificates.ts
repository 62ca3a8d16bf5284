// The certificates of apps' names that the cluster makes: asked for, kept with their keys in files only the agent
// can read, renewed by the calendar. What is there serves on while nobody answers.
import { createHash, createPrivateKey } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { appSigner } from '#kube/machinery/app-names.ts';
import { certificatesIn } from '#platform/apps-authority.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { makeSigningRequest } from '#platform/certificate-request-making.ts';
import { makeKey, privateKeysIn } from '#platform/certificate.ts';
import { requestCertificate } from '../credentials/signing-request.ts';
import { messageOf } from '../error-message.ts';

export interface AppCertificatesDeps {
  readonly folder: string;
  readonly nodeName: string;
  readonly client: Pick<RestClient, 'create' | 'get'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Another certificate is there. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

interface Kept {
  readonly host: string;
  readonly context: SecureContext;
  readonly rootPem: string;
  readonly rootFromMs: number;
  readonly endMs: number;
}

const renewBeforeMs = 60 * 86_400_000;
/** The calendar may jump: a Raspberry Pi learns the time late, a laptop sleeps. */
const lookAgainMs = 86_400_000;
const retryMs = { first: 2_000, max: 3_600_000 };

export class AppCertificates {
  readonly #deps: AppCertificatesDeps;
  readonly #kept = new Map<string, Kept>();
  #wanted: readonly string[] = [];
  #isRunning = false;
  #timer: Timer | undefined;
  #waitMs = retryMs.first;

  constructor(deps: AppCertificatesDeps) {
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true });
  }

  /** What an earlier run has left. What can't be read is made again. */
  async load(): Promise<void> {
    const { folder } = this.#deps;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const file of await readdir(folder)) {
      // What a crash left half written.
      if (!file.endsWith('.pem')) continue;
      const kept = readKept(await readFile(path.join(folder, file), 'utf8'));
      if (kept !== undefined) this.#kept.set(kept.host, kept);
    }
  }

  find(host: string): SecureContext | undefined {
    const label = host.indexOf('.');
    return (this.#kept.get(host) ?? this.#kept.get(`*${host.slice(label)}`))?.context;
  }

  get hasAny(): boolean {
    return this.#kept.size > 0;
  }

  /** Whom to trust: the newest root. */
  get rootPem(): string | undefined {
    return this.#newest?.rootPem;
  }

  get #newest(): Kept | undefined {
    return [...this.#kept.values()].toSorted((a, b) => b.rootFromMs - a.rootFromMs)[0];
  }

  /** Of other hosts nothing is kept. */
  async want(hosts: readonly string[]): Promise<void> {
    const hasMore = hosts.some((host) => !this.#wanted.includes(host));
    this.#wanted = hosts;
    for (const host of this.#kept.keys())
      if (!hosts.includes(host)) {
        this.#kept.delete(host);
        await rm(this.#fileOf(host), { force: true });
      }
    if (hasMore) {
      this.#waitMs = retryMs.first;
      void this.#run();
    }
  }

  #isDue(host: string): boolean {
    const kept = this.#kept.get(host);
    if (kept === undefined || kept.rootPem !== this.rootPem) return true;
    return kept.endMs - this.#deps.clock.now() < renewBeforeMs;
  }

  /** One after the other, until none is due but those that can't be had now. */
  async #run(): Promise<void> {
    const { clock, logger, signal } = this.#deps;
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#timer?.cancel();
    const failed = new Set<string>();
    const next = (): string | undefined =>
      this.#wanted.find((host) => !failed.has(host) && this.#isDue(host));
    for (let host = next(); host !== undefined && !signal.aborted; host = next())
      try {
        await this.#obtain(host);
      } catch (error) {
        failed.add(host);
        if (!signal.aborted)
          logger.warn('No certificate for an app', { host, error: messageOf(error) });
      }
    this.#isRunning = false;
    const nextMs = failed.size > 0 ? this.#waitMs : lookAgainMs;
    this.#waitMs = failed.size > 0 ? Math.min(this.#waitMs * 2, retryMs.max) : retryMs.first;
    if (!signal.aborted) this.#timer = clock.timer(nextMs, () => void this.#run());
  }

  async #obtain(host: string): Promise<void> {
    const { client, clock, logger, nodeName, onChange, signal } = this.#deps;
    const keyPem = makeKey();
    const requestPem = makeSigningRequest({ commonName: 'app', dnsNames: [host] }, keyPem);
    const wanted = { requestPem, signerName: appSigner, purpose: 'server auth', nodeName };
    const text = keyPem + (await requestCertificate({ client, clock, signal }, wanted));
    const kept = readKept(text);
    if (kept?.host !== host) throw new Error(`what was signed for ${host} can't be used`);
    await writeFileAtomic(this.#fileOf(host), text).catch((error: unknown) =>
      // It serves all the same, until the next start.
      logger.warn('Could not keep a certificate', { host, error: messageOf(error) }),
    );
    if (!this.#wanted.includes(host)) return rm(this.#fileOf(host), { force: true });
    this.#kept.set(host, kept);
    onChange();
  }

  #fileOf(host: string): string {
    const name = createHash('sha256').update(host).digest('hex').slice(0, 32);
    return path.join(this.#deps.folder, `${name}.pem`);
  }
}

/** A key, its certificate, the issuer's and the root's. Undefined: not that. */
function readKept(text: string): Kept | undefined {
  try {
    const [key = ''] = privateKeysIn(text);
    const [leaf, issuer, root] = certificatesIn(text);
    if (leaf === undefined || issuer === undefined || root === undefined) return undefined;
    const [, host] = /^DNS:(.+)$/.exec(leaf.subjectAltName ?? '') ?? [];
    if (host === undefined || !leaf.checkPrivateKey(createPrivateKey(key))) return undefined;
    return {
      host,
      context: createSecureContext({ key, cert: `${leaf.toString()}${issuer.toString()}` }),
      rootPem: root.toString(),
      rootFromMs: Date.parse(root.validFrom),
      endMs: Date.parse(leaf.validTo),
    };
  } catch {
    // Cut off, or written by somebody else.
    return undefined;
  }
}
