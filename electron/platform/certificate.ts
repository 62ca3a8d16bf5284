// X.509 certificates of the cluster: ECDSA P-256, signed by a CA of our own (or by themselves).
// Makes them and reads what we ask of them; keeping them on disk is pki.ts's business.
// Differs from most: written by hand (der.ts) with node:crypto's signatures, so that a start with
// existing certificates loads no ASN.1 library at all. Source: RFC 5280, RFC 5758 §3.2.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Random } from '#kube/base/random.ts';
import * as der from './der.ts';
import { ipAddressBytes } from './ip-address.ts';

export interface KeyPairPem {
  readonly certPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

export interface CertificateSpec {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  /** `ca` signs others; `server` and `client` are extended key usages. */
  readonly usages: readonly ('ca' | 'server' | 'client')[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** Of a CA: the only names that it, and what it signs, can vouch for. */
  readonly names?: NameConstraints;
  /** Of a CA: how many more CAs may follow. */
  readonly pathLength?: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The key that is certified, PKCS #8; a new one when left out. */
  readonly keyPem?: string;
}

/** Domains, each with all below it. No address is ever permitted. */
export interface NameConstraints {
  readonly permitted: readonly string[];
  readonly excluded: readonly string[];
}

const oid = {
  ecPublicKeyWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

/** A new private key, PKCS #8. */
export function makeKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/**
 * Makes a certificate, and the key that it is for unless `spec` names one. Self-signed when
 * `issuer` is left out.
 */
export function issueCertificate(
  spec: CertificateSpec,
  issuer: KeyPairPem | undefined,
  random: Random,
): KeyPairPem {
  const keyPem = spec.keyPem ?? makeKey();
  const signingKeyPem = issuer?.keyPem ?? keyPem;
  const certPem = certify(
    { ...spec, publicKey: publicKeyDer(keyPem) },
    { issuer, signingKeyPem },
    random,
  );
  return { certPem, keyPem };
}

/** For a key that only its owner has: of a certificate signing request. */
export function certifyKey(
  spec: Omit<CertificateSpec, 'keyPem'> & { readonly publicKey: Uint8Array },
  issuer: KeyPairPem,
  random: Random,
): string {
  return certify(spec, { issuer, signingKeyPem: issuer.keyPem }, random);
}

function certify(
  spec: CertificateSpec & { readonly publicKey: Uint8Array },
  {
    issuer,
    signingKeyPem,
  }: { readonly issuer: KeyPairPem | undefined; readonly signingKeyPem: string },
  random: Random,
): string {
  const { publicKey } = spec;
  const issuerCertificate = issuer === undefined ? undefined : new X509Certificate(issuer.certPem);
  const subject = distinguishedName(spec.commonName, spec.organizations ?? []);
  const algorithm = der.sequence(der.objectIdentifier(oid.ecPublicKeyWithSha256));
  const toBeSigned = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))),
    der.integer(serialNumber(random)),
    algorithm,
    issuerCertificate === undefined ? subject : subjectOf(issuerCertificate),
    der.sequence(der.time(spec.notBeforeMs), der.time(spec.notAfterMs)),
    subject,
    publicKey,
    der.explicit(3, der.sequence(...extensions(spec, publicKey, issuerCertificate))),
  );
  const signingKey = createPrivateKey(signingKeyPem);
  const signature = new Uint8Array(sign('sha256', toBeSigned, signingKey));
  const certificate = der.sequence(toBeSigned, algorithm, der.bitString(signature));
  return der.pem('CERTIFICATE', certificate);
}

/** SubjectPublicKeyInfo of a private key. Throws when it can't be read. */
export function publicKeyDer(keyPem: string): Uint8Array {
  return new Uint8Array(createPublicKey(keyPem).export({ type: 'spki', format: 'der' }));
}

/**
 * The number of whoever holds the key: 48 bits of the SHA-256 of its SubjectPublicKeyInfo, never 0.
 * Two of a handful of members have the same with a chance of about one in 10^13.
 */
export function memberIdOf(publicKey: Uint8Array): number {
  const digest = createHash('sha256').update(publicKey).digest();
  return Math.max(1, digest.readUIntBE(0, 6));
}

/** A certificate that says so in its organization is a control-plane member's, nobody else's. */
export const peersOrganization = 'flotilla:peers';

/**
 * Whose certificate it is, by its key; undefined when it is not a member's. Who signed it is for
 * the caller (TLS) to check.
 */
export function peerMemberId(certificate: X509Certificate): number | undefined {
  const organizations = subjectIdentity(certificate)?.organizations ?? [];
  if (!organizations.includes(peersOrganization)) return undefined;
  const publicKey = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return memberIdOf(new Uint8Array(publicKey));
}

/** Undefined: it can't be read. */
export function certificateExpiryMs(pem: string): number | undefined {
  try {
    return Date.parse(new X509Certificate(pem).validTo);
  } catch {
    // What others made may be anything.
    return undefined;
  }
}

/** Why a server can't show itself with these, as `… holds no certificate and key in PEM form`; undefined: it can. */
export function pairProblem(certPem: string, keyPem: string): string | undefined {
  try {
    if (!new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem)))
      return 'has a key that is not its certificate’s';
    createSecureContext({ cert: certPem, key: keyPem });
    return undefined;
  } catch {
    // What others made may be anything.
    return 'holds no certificate and key in PEM form';
  }
}

/** Common name and organizations, as an API server reads an identity. Undefined: no common name. */
export function subjectIdentity(
  certificate: X509Certificate,
): { readonly commonName: string; readonly organizations: readonly string[] } | undefined {
  // The legacy form keeps attributes apart; `certificate.subject` is text, open to injection.
  const subject: Record<string, unknown> = { ...certificate.toLegacyObject().subject };
  const [commonName] = texts(subject['CN']);
  if (commonName === undefined || commonName === '') return undefined;
  return { commonName, organizations: texts(subject['O']) };
}

function texts(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((entry) => typeof entry === 'string');
}

/** 127 random bits: unique without a counter to keep. */
function serialNumber(random: Random): Uint8Array {
  const bytes = Uint8Array.from(random.bytes(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

/** Organizations sorted, each its own set, as Go's crypto/x509 expects them to be readable. */
function distinguishedName(commonName: string, organizations: readonly string[]): der.Der {
  const attributes = [
    ...organizations.map((name) => ({ id: oid.organization, name })),
    { id: oid.commonName, name: commonName },
  ];
  return der.sequence(
    ...attributes.map(({ id, name }) =>
      der.set(der.sequence(der.objectIdentifier(id), der.utf8String(name))),
    ),
  );
}

/** Our own CAs carry one common name: re-encoding it gives the very bytes they were made with. */
function subjectOf(certificate: X509Certificate): der.Der {
  const identity = subjectIdentity(certificate);
  return distinguishedName(identity?.commonName ?? '', identity?.organizations ?? []);
}

function extensions(
  spec: CertificateSpec,
  publicKey: Uint8Array,
  issuer: X509Certificate | undefined,
): der.Der[] {
  const isCa = spec.usages.includes('ca');
  const result = [
    extension(oid.basicConstraints, basicConstraints(isCa, spec.pathLength), true),
    // Bit 0 is digitalSignature, bits 5 and 6 are keyCertSign and cRLSign.
    extension(oid.keyUsage, der.bitString(Uint8Array.of(isCa ? 0x86 : 0x80), isCa ? 1 : 7), true),
    extension(oid.subjectKeyId, der.octetString(keyId(publicKey))),
  ];
  if (issuer !== undefined) {
    const issuerKey = issuer.publicKey.export({ type: 'spki', format: 'der' });
    result.push(
      extension(
        oid.authorityKeyId,
        der.sequence(der.implicit(0, keyId(new Uint8Array(issuerKey)))),
      ),
    );
  }
  const purposes = extendedUsages(spec);
  if (purposes.length > 0) result.push(extension(oid.extendedKeyUsage, der.sequence(...purposes)));
  if (spec.names !== undefined) result.push(nameConstraints(spec.names));
  const names = alternativeNames(spec);
  if (names.length > 0) result.push(extension(oid.subjectAltName, der.sequence(...names)));
  return result;
}

function extension(id: string, value: der.Der, critical = false): der.Der {
  const body = der.octetString(value);
  return critical
    ? der.sequence(der.objectIdentifier(id), der.boolean(true), body)
    : der.sequence(der.objectIdentifier(id), body);
}

function basicConstraints(isCa: boolean, pathLength: number | undefined): der.Der {
  if (!isCa) return der.sequence();
  const length = pathLength === undefined ? [] : [der.integer(Uint8Array.of(pathLength))];
  return der.sequence(der.boolean(true), ...length);
}

/** The whole extension, critical. Source: RFC 5280 §4.2.1.10. */
export function nameConstraints({ permitted, excluded }: NameConstraints): der.Der {
  const subtree = (base: der.Der): der.Der => der.sequence(base);
  const domain = (name: string): der.Der =>
    subtree(der.implicit(2, new TextEncoder().encode(name)));
  // An address and a mask of zeros: all of them.
  const addresses = [8, 32].map((size) => subtree(der.implicit(7, new Uint8Array(size))));
  const value = der.sequence(
    der.explicit(0, ...permitted.map(domain)),
    der.explicit(1, ...excluded.map(domain), ...addresses),
  );
  return extension(oid.nameConstraints, value, true);
}

function extendedUsages(spec: CertificateSpec): der.Der[] {
  const purposes: der.Der[] = [];
  if (spec.usages.includes('server')) purposes.push(der.objectIdentifier(oid.serverAuth));
  if (spec.usages.includes('client')) purposes.push(der.objectIdentifier(oid.clientAuth));
  return purposes;
}

function alternativeNames(spec: CertificateSpec): der.Der[] {
  const names = (spec.dnsNames ?? []).map((name) =>
    der.implicit(2, new TextEncoder().encode(name)),
  );
  const addresses = (spec.ipAddresses ?? [])
    .filter((address) => isIP(address) !== 0)
    .map((address) => der.implicit(7, ipAddressBytes(address)));
  return [...names, ...addresses];
}

/** SHA-1 of the public key's encoding: an identifier, not a signature (RFC 5280 §4.2.1.2). */
function keyId(publicKey: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(publicKey).digest());
}

/** The private keys of a file, which may hold several, one after the other. */
export function privateKeysIn(text: string): readonly string[] {
  return text.match(/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]+-----END \1-----/g) ?? [];
}
