// The cluster's certificates on disk: one CA, and leaf certificates that are made when missing and
// again when they would soon expire, their names changed, or their files don't fit together.
// The CA is never replaced silently: everything in the cluster trusts it. Certificates are valid
// from a day ago, since a Raspberry Pi boots without knowing the time.
// Source of names and groups: kubernetes kubeadm, "PKI certificates and requirements".
import { createPrivateKey, hkdfSync, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { kubeletClientIdentity } from '#kube/machinery/api-servers.ts';
import { apiServerNames } from './certificate-signing.ts';
import { AppsAuthority } from './apps-authority.ts';
import { readFileIfExists, writeFileAtomic } from './atomic-file.ts';
import type { CertificateRequestInfo } from './certificate-request.ts';
import {
  certifyKey,
  issueCertificate,
  makeKey,
  memberIdOf,
  peersOrganization,
  privateKeysIn,
  publicKeyDer,
  subjectIdentity,
  type CertificateSpec,
  type KeyPairPem,
} from './certificate.ts';
import { canonicalIpAddress } from './ip-address.ts';
import { keyBytes } from './sealing-keys.ts';

export type { KeyPairPem };

const dayMs = 86_400_000;
const caLifetimeMs = 3650 * dayMs;
const leafLifetimeMs = 365 * dayMs;
/** A leaf with less left than this is made again: before an agent on this machine asks for it (70 % of its life). */
const renewBeforeMs = 120 * dayMs;

/** Clocks of clients differ a little. */
const backdatedMs = 5 * 60_000;
/** In the cluster's folder of keys. Every member has the same. */
export const tokenKeyName = 'sa.key';
/** As kubeadm names it. */
export const frontProxyName = 'front-proxy-client';
export const secretKeysName = 'secrets.key';

export interface PkiDeps {
  /** Holds `ca.crt` and `ca.key`; created with mode 0700. */
  readonly directory: string;
  /** What a CA that is made is called. */
  readonly caName?: string;
  readonly clock: Clock;
  readonly random: Random;
}

export interface CertificateRequest {
  /** Where to keep it: `<path>.crt` and `<path>.key`. */
  readonly path: string;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly usages: readonly ('server' | 'client')[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** The key that is certified, whatever is at `path`; a new one when left out. */
  readonly keyPem?: string;
  /** Of a certificate that is good but for its names the key goes on: people may have written down its hash. */
  readonly keepsKey?: boolean;
}

/** A control-plane member as its peers know it. */
export interface PeerIdentity extends KeyPairPem {
  /** Of the key: see memberIdOf. */
  readonly memberId: number;
}

/** The certificates on disk can't be used and must not be replaced: a person has to look. */
export class PkiError extends Error {
  override readonly name = 'PkiError';
}

export class ClusterPki {
  readonly #deps: PkiDeps;
  readonly #ca: KeyPairPem;
  readonly #caCertificate: X509Certificate;

  /** Loads the CA of `directory`, or makes one. Throws PkiError when its files don't fit together. */
  static async open(deps: PkiDeps): Promise<ClusterPki> {
    return new ClusterPki(deps, (await loadCa(deps)) ?? (await createCa(deps)));
  }

  private constructor(deps: PkiDeps, ca: KeyPairPem) {
    this.#deps = deps;
    this.#ca = ca;
    this.#caCertificate = new X509Certificate(ca.certPem);
  }

  get caPem(): string {
    return this.#ca.certPem;
  }

  /** With its key, for another member of the control plane. */
  get ca(): KeyPairPem {
    return this.#ca;
  }

  /** The certificate kept at `request.path`, made (again) if need be. */
  async ensure(request: CertificateRequest): Promise<KeyPairPem> {
    const kept = await this.#keptPair(request.path);
    if (kept !== undefined && this.#isUsable(request, kept)) return kept;
    const keyPem = request.keyPem ?? (request.keepsKey === true ? kept?.keyPem : undefined);
    const spec = this.#spec({ ...request, ...(keyPem !== undefined && { keyPem }) });
    const made = issueCertificate(spec, this.#ca, this.#deps.random);
    // A crash between the two leaves a pair that doesn't match: made again at the next start.
    await writeFileAtomic(`${request.path}.key`, made.keyPem);
    await writeFileAtomic(`${request.path}.crt`, made.certPem);
    return made;
  }

  /** What the API server shows to clients. Names and addresses are how clients may call it. */
  apiServer(names: {
    readonly dnsNames: readonly string[];
    readonly ipAddresses: readonly string[];
  }): Promise<KeyPairPem> {
    return this.ensure({
      path: join(this.#deps.directory, 'apiserver'),
      commonName: 'kube-apiserver',
      usages: ['server'],
      dnsNames: [...new Set(['localhost', ...apiServerNames, ...names.dnsNames])],
      ipAddresses: [...new Set(['127.0.0.1', '::1', ...names.ipAddresses])],
      // By its hash machines know it that are added by a line.
      keepsKey: true,
    });
  }

  /** The API server as a client of kubelets. */
  kubeletClient(): Promise<KeyPairPem> {
    return this.ensure({
      path: join(this.#deps.directory, 'apiserver-kubelet-client'),
      commonName: kubeletClientIdentity.name,
      organizations: [kubeletClientIdentity.group],
      usages: ['client'],
    });
  }

  /** The person who owns the cluster, as written to the kubeconfig. */
  admin(): Promise<KeyPairPem> {
    return this.ensure({
      path: join(this.#deps.directory, 'admin'),
      commonName: 'kubernetes-admin',
      organizations: ['system:masters'],
      usages: ['client'],
    });
  }

  /** The API server as the one whom servers behind it believe who asks. */
  frontProxyClient(): Promise<KeyPairPem> {
    return this.ensure({
      path: join(this.#deps.directory, 'client'),
      commonName: frontProxyName,
      usages: ['client'],
    });
  }

  /** A node as a client of the API server: `<path>.crt`, `<path>.key`. */
  nodeClient(path: string, nodeName: string): Promise<KeyPairPem> {
    return this.ensure({
      path,
      commonName: `system:node:${nodeName}`,
      organizations: ['system:nodes'],
      usages: ['client'],
    });
  }

  /** A node's kubelet as a server. Callers check the node's name, so addresses may change. */
  nodeServing(
    path: string,
    nodeName: string,
    ipAddresses: readonly string[] = [],
  ): Promise<KeyPairPem> {
    return this.ensure({
      path,
      commonName: `system:node:${nodeName}`,
      organizations: ['system:nodes'],
      usages: ['server'],
      dnsNames: [nodeName],
      ipAddresses: [...new Set(['127.0.0.1', ...ipAddresses])],
    });
  }

  /**
   * A control-plane member: `peer.crt` and `peer.key` in `folder`. The key is made once and never
   * replaced, since the member is known by it; its certificate is renewed like any other. Throws
   * PkiError when the key can't be read.
   */
  async peer(folder: string): Promise<PeerIdentity> {
    const path = join(folder, 'peer');
    const { keyPem, memberId } = await loadPeerKey(`${path}.key`);
    const pair = await this.ensure({ path, ...peerSubject(memberId), keyPem });
    return { ...pair, memberId };
  }

  /** One that is yet to begin, with a new key. Kept nowhere. */
  newPeer(): PeerIdentity {
    const keyPem = makeKey();
    const memberId = memberIdOf(publicKeyDer(keyPem));
    const spec = this.#spec({ path: '', ...peerSubject(memberId), keyPem });
    return { ...issueCertificate(spec, this.#ca, this.#deps.random), memberId };
  }

  /**
   * What signs the tokens of service accounts, PKCS #8; made when there is none. Of several keys in the file the
   * first signs, and tokens of all are good.
   */
  async tokenKey(): Promise<string> {
    const file = join(this.#deps.directory, tokenKeyName);
    const kept = await readFileIfExists(file);
    if (kept !== undefined) return readableKeys(kept, file);
    const made = makeKey();
    await writeFileAtomic(file, made);
    return made;
  }

  /**
   * The keys by which Secrets lie encrypted in the store, as SealingKeys reads them. Made when there
   * are none, of the CA's key: so members of one cluster that begin to encrypt agree, and a lost
   * file comes back as it was, if it was never changed.
   */
  async secretKeys(): Promise<{ readonly text: string; readonly file: string }> {
    const file = join(this.#deps.directory, secretKeysName);
    const kept = await readFileIfExists(file);
    if (kept !== undefined) return { text: kept, file };
    const der = createPrivateKey(this.#ca.keyPem).export({ type: 'pkcs8', format: 'der' });
    const made = hkdfSync('sha256', der, '', 'flotilla: secrets at rest', keyBytes);
    const text = `${Buffer.from(made).toString('base64')}\n`;
    await writeFileAtomic(file, text);
    return { text, file };
  }

  /** Signs the sessions of the home's devices: of the CA's key, so that each member takes the others' for its own. */
  pageKey(): Uint8Array {
    const der = createPrivateKey(this.#ca.keyPem).export({ type: 'pkcs8', format: 'der' });
    return new Uint8Array(hkdfSync('sha256', der, '', 'flotilla: sessions of the page', keyBytes));
  }

  /** What signs for names of apps, of the CA's key: each member has the same. */
  apps(): AppsAuthority {
    const { directory, clock, random } = this.#deps;
    const file = join(directory, 'apps-ca.crt');
    return new AppsAuthority({ file, secretPem: this.#ca.keyPem, clock, random });
  }

  /** A certificate for somebody else's key, for `seconds` or a year. */
  certify(
    request: CertificateRequestInfo,
    usages: CertificateSpec['usages'],
    seconds?: number,
  ): string {
    const now = this.#deps.clock.now();
    const lifetimeMs = seconds === undefined ? leafLifetimeMs : seconds * 1000;
    const notAfterMs = Math.min(now + lifetimeMs, Date.parse(this.#caCertificate.validTo));
    const times = { notBeforeMs: now - backdatedMs, notAfterMs };
    return certifyKey({ ...request, usages, ...times }, this.#ca, this.#deps.random);
  }

  #spec(request: CertificateRequest): CertificateSpec {
    const now = this.#deps.clock.now();
    const caEndMs = Date.parse(this.#caCertificate.validTo);
    return {
      ...request,
      notBeforeMs: now - dayMs,
      notAfterMs: Math.min(now + leafLifetimeMs, caEndMs),
    };
  }

  #isUsable(request: CertificateRequest, { certPem, keyPem }: KeyPairPem): boolean {
    const certificate = new X509Certificate(certPem);
    return (
      keyPem === (request.keyPem ?? keyPem) && describe(certificate) === describeRequest(request)
    );
  }

  /** The pair at `path`, if it is whole, of this CA, and will be good for a while. */
  async #keptPair(path: string): Promise<KeyPairPem | undefined> {
    const [certPem, keyPem] = await Promise.all([
      readFileIfExists(`${path}.crt`),
      readFileIfExists(`${path}.key`),
    ]);
    if (certPem === undefined || keyPem === undefined) return undefined;
    const certificate = parsePair(certPem, keyPem);
    if (certificate === undefined) return undefined;
    const now = this.#deps.clock.now();
    const isGood =
      Date.parse(certificate.validFrom) <= now &&
      Date.parse(certificate.validTo) - now > renewBeforeMs &&
      certificate.checkIssued(this.#caCertificate) &&
      certificate.verify(this.#caCertificate.publicKey);
    return isGood ? { certPem, keyPem } : undefined;
  }
}

function peerSubject(
  memberId: number,
): Pick<CertificateRequest, 'commonName' | 'organizations' | 'usages'> {
  return {
    commonName: `flotilla:member:${memberId}`,
    organizations: [peersOrganization],
    usages: ['server', 'client'],
  };
}

/**
 * A secret kept in a file of its own, made when missing: `lengthBytes` random bytes.
 * Used for what must survive a restart without being a certificate (the UI's session key).
 */
export async function ensureSecret(
  path: string,
  lengthBytes: number,
  random: Random,
): Promise<Uint8Array> {
  const kept = Buffer.from((await readFileIfExists(path)) ?? '', 'base64');
  if (kept.length === lengthBytes) return kept;
  const made = Buffer.from(random.bytes(lengthBytes));
  await writeFileAtomic(path, made.toString('base64'));
  return made;
}

/** Makes the key when there is none. */
async function loadPeerKey(file: string): Promise<{ keyPem: string; memberId: number }> {
  const kept = await readFileIfExists(file);
  const keyPem = kept ?? makeKey();
  try {
    const memberId = memberIdOf(publicKeyDer(keyPem));
    if (kept === undefined) await writeFileAtomic(file, keyPem);
    return { keyPem, memberId };
  } catch (error) {
    if (kept === undefined) throw error;
    throw new PkiError(
      `${file} is damaged: put it back from a backup, or take this machine's control plane out of the cluster and let it join again with an empty data directory`,
      { cause: error },
    );
  }
}

function readableKeys(text: string, file: string): string {
  try {
    const keys = privateKeysIn(text);
    if (keys.length === 0) throw new Error('there is no private key in it');
    for (const pem of keys) createPrivateKey(pem);
    return text;
  } catch (error) {
    throw new PkiError(
      `${file} is damaged: put it back from a backup or from another member, or remove it to make a new one (all tokens of service accounts end then)`,
      { cause: error },
    );
  }
}

async function loadCa({ directory, clock }: PkiDeps): Promise<KeyPairPem | undefined> {
  const certPath = join(directory, 'ca.crt');
  const keyPath = join(directory, 'ca.key');
  const [certPem, keyPem] = await Promise.all([
    readFileIfExists(certPath),
    readFileIfExists(keyPath),
  ]);
  // The key is written first: alone, it has signed nothing yet.
  if (certPem === undefined) return undefined;
  if (keyPem === undefined)
    throw new PkiError(
      `${keyPath} is missing: put it back from a backup, or remove ${directory} to make a new certificate authority (all machines have to be added again)`,
    );
  const certificate = parsePair(certPem, keyPem);
  if (certificate === undefined)
    throw new PkiError(
      `${certPath} and ${keyPath} are damaged or don't belong together: put both back from a backup, or remove ${directory} to make a new certificate authority (all machines have to be added again)`,
    );
  if (Date.parse(certificate.validTo) <= clock.now())
    throw new PkiError(
      `the certificate authority in ${certPath} expired on ${certificate.validTo}: check this machine's clock, or remove ${directory} to make a new one (all machines have to be added again)`,
    );
  return { certPem, keyPem };
}

async function createCa({ directory, caName, clock, random }: PkiDeps): Promise<KeyPairPem> {
  const spec: CertificateSpec = {
    commonName: caName ?? 'flotilla-ca',
    usages: ['ca'],
    notBeforeMs: clock.now() - dayMs,
    notAfterMs: clock.now() + caLifetimeMs,
  };
  const ca = issueCertificate(spec, undefined, random);
  await writeFileAtomic(join(directory, 'ca.key'), ca.keyPem);
  await writeFileAtomic(join(directory, 'ca.crt'), ca.certPem);
  return ca;
}

/** Undefined when either can't be read or they don't belong together. */
function parsePair(certPem: string, keyPem: string): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(certPem);
    return certificate.checkPrivateKey(createPrivateKey(keyPem)) ? certificate : undefined;
  } catch {
    // Truncated or garbled PEM: as good as none.
    return undefined;
  }
}

/** Everything a request asks for, in one comparable text. */
function describe(certificate: X509Certificate): string {
  const identity = subjectIdentity(certificate);
  const names = (certificate.subjectAltName ?? '').split(', ').filter((name) => name !== '');
  return JSON.stringify([
    identity?.commonName,
    [...(identity?.organizations ?? [])].sort(),
    [...(certificate.keyUsage ?? [])].sort(),
    names.map(canonicalName).sort(),
  ]);
}

function describeRequest(request: CertificateRequest): string {
  const usages = request.usages.map((usage) => extendedUsage[usage]);
  const names = [
    ...(request.dnsNames ?? []).map((name) => `DNS:${name}`),
    ...(request.ipAddresses ?? []).map((address) => `IP Address:${address}`),
  ];
  return JSON.stringify([
    request.commonName,
    [...(request.organizations ?? [])].sort(),
    usages.sort(),
    names.map(canonicalName).sort(),
  ]);
}

const extendedUsage = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };

/** node:crypto prints IPv6 addresses in a form of its own. */
function canonicalName(name: string): string {
  const prefix = 'IP Address:';
  return name.startsWith(prefix)
    ? `${prefix}${canonicalIpAddress(name.slice(prefix.length))}`
    : name;
}
