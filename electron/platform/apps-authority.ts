// Whom browsers and phones of a home trust for its apps' names: a root of its own, which nothing in the cluster
// believes. The root can vouch for private names only, and its key is forgotten as soon as it has signed the
// issuer, which has the same bounds: some clients don't look at what a root they trust may not do (Java's,
// Android's), but all look at an issuer below it.
// The issuer's key is made of the cluster CA's, so every member of the control plane has it and it lies nowhere;
// the certificates are public, and kept by whoever asks (`chain`) and in a file. They bear a seal, or whoever may write
// where they are published could put in a root of theirs.
// Source: RFC 5280 §4.2.1.10, RFC 5869.
import {
  createECDH,
  createHash,
  createHmac,
  createPrivateKey,
  hkdfSync,
  X509Certificate,
} from 'node:crypto';
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { neverDomains } from '#kube/machinery/app-names.ts';
import { readFileIfExists, writeFileAtomic } from './atomic-file.ts';
import type { CertificateRequestInfo } from './certificate-request.ts';
import {
  certifyKey,
  issueCertificate,
  makeKey,
  nameConstraints,
  publicKeyDer,
  type CertificateSpec,
} from './certificate.ts';
import {
  contentOf,
  readAll,
  readObjectIdentifier,
  readOne,
  tags,
  type DerValue,
} from './der-reader.ts';

export interface AppsAuthorityDeps {
  /** Where the certificates are kept, for when the cluster loses them. */
  readonly file: string;
  /** What the issuer's key is made of. */
  readonly secretPem: string;
  readonly clock: Clock;
  readonly random: Random;
}

const sealedBy = '# Sealed by the cluster: ';
const dayMs = 86_400_000;
const rootLifetimeMs = 3650 * dayMs;
/** Apple's devices take none above 398 days. */
const leafLifetimeMs = 365 * dayMs;
/** People have to be asked to trust another, so it comes while the old one is still good. */
const replaceRootBeforeMs = 400 * dayMs;

export class AppsAuthority {
  readonly #deps: AppsAuthorityDeps;
  readonly #keyPem: string;

  constructor(deps: AppsAuthorityDeps) {
    this.#deps = deps;
    this.#keyPem = derivedKey(deps.secretPem);
  }

  /**
   * The issuer's certificate and the root's, for names below `domains`: the published ones if they are ours and fit,
   * else those of the file, else new ones, which people have to trust anew.
   */
  async chain(published: string | undefined, domains: readonly string[]): Promise<string> {
    const { file } = this.#deps;
    const kept = await readFileIfExists(file);
    const found = [published, kept].find((one) => one !== undefined && this.#fits(one, domains));
    const chain = found ?? this.#make(domains);
    if (chain !== kept) await writeFileAtomic(file, chain, { mode: 0o644 });
    return chain;
  }

  /** The leaf and `chain`. Throws when that is not of ours. */
  certify(
    { publicKey, dnsNames }: Pick<CertificateRequestInfo, 'publicKey' | 'dnsNames'>,
    chain: string,
  ): string {
    const [issuer] = certificatesIn(chain);
    if (issuer === undefined || !issuer.checkPrivateKey(createPrivateKey(this.#keyPem)))
      throw new Error('the certificates of the apps’ authority are not its own');
    const now = this.#deps.clock.now();
    const spec = {
      publicKey,
      dnsNames,
      commonName: 'Flotilla app',
      usages: ['server'],
      notBeforeMs: now - dayMs,
      notAfterMs: Math.min(now + leafLifetimeMs, Date.parse(issuer.validTo)),
    } as const;
    const signer = { certPem: issuer.toString(), keyPem: this.#keyPem };
    return certifyKey(spec, signer, this.#deps.random) + certificatesIn(chain).join('');
  }

  #fits(chain: string, domains: readonly string[]): boolean {
    const certificates = chain.slice(0, chain.indexOf(sealedBy));
    if (chain !== this.#sealed(certificates)) return false;
    const root = certificatesIn(certificates).at(-1);
    const bounds = Buffer.from(nameConstraints(boundsOf(domains)));
    return (
      root?.raw.includes(bounds) === true &&
      Date.parse(root.validTo) - this.#deps.clock.now() > replaceRootBeforeMs
    );
  }

  #sealed(certificates: string): string {
    const seal = createHmac('sha256', this.#keyPem).update(certificates).digest('base64');
    return `${certificates}${sealedBy}${seal}\n`;
  }

  #make(domains: readonly string[]): string {
    const { clock, random } = this.#deps;
    const rootKey = makeKey();
    const mark = createHash('sha256').update(publicKeyDer(rootKey)).digest('hex').slice(0, 6);
    const common = {
      // As nothing but servers, too.
      usages: ['ca', 'server'],
      names: boundsOf(domains),
      notBeforeMs: clock.now() - dayMs,
      notAfterMs: clock.now() + rootLifetimeMs,
    } satisfies Partial<CertificateSpec>;
    const name = `Flotilla apps ${mark}`;
    const root = issueCertificate(
      { ...common, commonName: name, pathLength: 1, keyPem: rootKey },
      undefined,
      random,
    );
    const issuer = issueCertificate(
      { ...common, commonName: `${name} issuer`, pathLength: 0, keyPem: this.#keyPem },
      root,
      random,
    );
    // For people who compare it with what a page of the ingress shows them.
    const print = new X509Certificate(root.certPem).fingerprint256;
    return this.#sealed(`${issuer.certPem}# The root, SHA-256: ${print}\n${root.certPem}`);
  }
}

function boundsOf(domains: readonly string[]) {
  return { permitted: domains, excluded: neverDomains };
}

/** Of a PEM file. Throws when one can't be read. */
export function certificatesIn(text: string): X509Certificate[] {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((pem) => new X509Certificate(pem));
}

/** The domains that a certificate may vouch for; none: it says nothing of that. Throws when it can't be read. */
export function permittedDomains({ raw }: X509Certificate): string[] {
  const inside = (value: DerValue | undefined, tag = tags.sequence): DerValue[] =>
    readAll(contentOf(value, tag));
  const [toBeSigned] = inside(readOne(raw));
  const found = inside(inside(inside(toBeSigned).at(-1), 0xa3)[0])
    .map((one) => inside(one))
    .find(([id]) => readObjectIdentifier(contentOf(id, tags.objectIdentifier)) === '2.5.29.30');
  if (found === undefined) return [];
  const [permitted] = inside(readOne(found.at(-1)?.content ?? new Uint8Array()));
  return inside(permitted, 0xa0).map((subtree) =>
    new TextDecoder().decode(contentOf(inside(subtree)[0], 0x82)),
  );
}

/** A key of P-256, the same for the same secret. */
function derivedKey(secretPem: string): string {
  const secret = createPrivateKey(secretPem).export({ type: 'pkcs8', format: 'der' });
  const curve = createECDH('prime256v1');
  for (let attempt = 0; ; attempt++) {
    const bytes = hkdfSync('sha256', secret, '', `flotilla: issuer of apps ${attempt}`, 32);
    try {
      curve.setPrivateKey(Buffer.from(bytes));
    } catch {
      // One number in four thousand million is none of the curve's.
      continue;
    }
    const point = curve.getPublicKey();
    const text = (part: Buffer): string => part.toString('base64url');
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      d: text(Buffer.from(bytes)),
      x: text(point.subarray(1, 33)),
      y: text(point.subarray(33)),
    };
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  }
}
