// Reads a certificate signing request: for whom, which key, which names; and whether whoever made it
// has the key. Source: RFC 2986, RFC 5280 §4.2.1.6, RFC 5758.
import { createPublicKey, verify } from 'node:crypto';
import { readAll, readObjectIdentifier, readOne, type DerValue } from './der-reader.ts';

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
  const [info, algorithm, signature] = readAll(readOne(bytes).content);
  if (info === undefined || algorithm === undefined || signature === undefined) return undefined;
  const [, subject, key, attributes] = readAll(info.content);
  if (subject === undefined || key === undefined) return undefined;
  const digest = digests[readObjectIdentifier(readAll(algorithm.content)[0]?.content ?? empty)];
  if (digest === undefined) return undefined;
  const publicKey = createPublicKey({ key: Buffer.from(key.whole), format: 'der', type: 'spki' });
  // The first byte of a bit string counts its unused bits.
  if (!verify(digest, info.whole, publicKey, signature.content.subarray(1))) return undefined;
  const names = readNames(subject);
  return {
    commonName: names.find(({ id }) => id === oid.commonName)?.text ?? '',
    organizations: names.filter(({ id }) => id === oid.organization).map(({ text }) => text),
    publicKey: new Uint8Array(key.whole),
    ...alternativeNames(attributes),
  };
}

const empty = new Uint8Array();

/** Source of the subject: RDNSequence of sets of attributes. */
function readNames(subject: DerValue): { readonly id: string; readonly text: string }[] {
  return readAll(subject.content).flatMap((set) =>
    readAll(set.content).map((attribute) => {
      const [id, value] = readAll(attribute.content);
      return {
        id: readObjectIdentifier(id?.content ?? empty),
        text: new TextDecoder().decode(value?.content),
      };
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
  for (const attribute of readAll(attributes?.content ?? empty)) {
    const [id, values] = readAll(attribute.content);
    if (readObjectIdentifier(id?.content ?? empty) !== oid.extensionRequest) continue;
    const extensions = readAll(readOne(values?.content ?? empty).content);
    for (const extension of extensions) {
      const parts = readAll(extension.content);
      if (readObjectIdentifier(parts[0]?.content ?? empty) !== oid.subjectAltName) continue;
      found.push(...readAll(readOne(parts.at(-1)?.content ?? empty).content));
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
