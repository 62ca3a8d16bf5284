// Reads a certificate signing request: for whom, which key, which names; and whether whoever made it
// has the key. Source: RFC 2986, RFC 5280 §4.2.1.6, RFC 5758.
import { createPublicKey, verify } from 'node:crypto';
import {
  contentOf,
  readAll,
  readObjectIdentifier,
  readOne,
  tags,
  type DerValue,
} from './der-reader.ts';

export interface CertificateRequestInfo {
  readonly commonName: string;
  readonly organizations: readonly string[];
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  /** Mail addresses, URIs and what else a name can be. */
  readonly hasOtherNames: boolean;
}

const oid = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
};
/** Signature algorithms: what node:crypto calls their digest. Null: the key's own (Ed25519). */
const digests: Readonly<Record<string, string | null>> = {
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.3.101.112': null,
};

/** Undefined: not such a request, or not signed with the key that it is for. */
export function parseCertificateRequest(pem: string): CertificateRequestInfo | undefined {
  const [, base64 = ''] =
    /-----BEGIN CERTIFICATE REQUEST-----([^-]+)-----END CERTIFICATE REQUEST-----/.exec(pem) ?? [];
  try {
    return read(new Uint8Array(Buffer.from(base64, 'base64')));
  } catch {
    // Cut off, garbled, or a key that node:crypto does not know.
    return undefined;
  }
}

function read(bytes: Uint8Array): CertificateRequestInfo | undefined {
  const [info, algorithm, signature, ...rest] = sequenceOf(readOne(bytes));
  if (info === undefined || rest.length > 0) return undefined;
  const [, subject, key, attributes] = sequenceOf(info);
  if (key === undefined) return undefined;
  const digest = digests[identifierOf(sequenceOf(algorithm)[0])];
  if (digest === undefined) return undefined;
  const publicKey = createPublicKey({ key: Buffer.from(key.whole), format: 'der', type: 'spki' });
  const [unusedBits, ...signed] = contentOf(signature, tags.bitString);
  if (unusedBits !== 0 || !verify(digest, info.whole, publicKey, Uint8Array.from(signed)))
    return undefined;
  const names = readNames(subject);
  return {
    commonName: names.find(({ id }) => id === oid.commonName)?.text ?? '',
    organizations: names.filter(({ id }) => id === oid.organization).map(({ text }) => text),
    publicKey: new Uint8Array(key.whole),
    ...alternativeNames(attributes),
  };
}

function sequenceOf(value: DerValue | undefined): DerValue[] {
  return readAll(contentOf(value, tags.sequence));
}

function identifierOf(value: DerValue | undefined): string {
  return readObjectIdentifier(contentOf(value, tags.objectIdentifier));
}

/** A sequence of sets of attributes. */
function readNames(
  subject: DerValue | undefined,
): { readonly id: string; readonly text: string }[] {
  return sequenceOf(subject).flatMap((set) =>
    readAll(contentOf(set, tags.set)).map((attribute) => {
      const [id, value] = sequenceOf(attribute);
      return { id: identifierOf(id), text: new TextDecoder().decode(value?.content) };
    }),
  );
}

type Names = Pick<CertificateRequestInfo, 'dnsNames' | 'ipAddresses' | 'hasOtherNames'>;

function alternativeNames(attributes: DerValue | undefined): Names {
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  let hasOtherNames = false;
  for (const name of generalNames(attributes))
    if (name.tag === 0x82) dnsNames.push(new TextDecoder().decode(name.content));
    else if (name.tag === 0x87) ipAddresses.push(addressText(name.content));
    else hasOtherNames = true;
  return { dnsNames, ipAddresses, hasOtherNames };
}

function generalNames(attributes: DerValue | undefined): DerValue[] {
  const found: DerValue[] = [];
  for (const attribute of attributes === undefined ? [] : readAll(attributes.content)) {
    const [id, values] = sequenceOf(attribute);
    if (identifierOf(id) !== oid.extensionRequest) continue;
    for (const extension of sequenceOf(readOne(contentOf(values, tags.set)))) {
      const parts = sequenceOf(extension);
      const value = parts.at(-1);
      if (identifierOf(parts[0]) !== oid.subjectAltName || value === undefined) continue;
      found.push(...sequenceOf(readOne(value.content)));
    }
  }
  return found;
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  return groups.join(':');
}
