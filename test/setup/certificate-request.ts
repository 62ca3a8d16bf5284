// Certificate signing requests as clients make them, for tests: a new key of P-256, signed with it.
import { sign } from 'node:crypto';
import { makeKey, publicKeyDer } from '#platform/certificate.ts';
import * as der from '#platform/der.ts';
import { ipAddressBytes } from '#platform/ip-address.ts';

export interface RequestSubject {
  readonly commonName?: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly emails?: readonly string[];
  /** The key that signs, if not the one that the request is for. */
  readonly signedBy?: string;
}

export interface MadeRequest {
  readonly requestPem: string;
  readonly keyPem: string;
}

export function makeCertificateRequest(subject: RequestSubject): MadeRequest {
  const keyPem = makeKey();
  const info = der.sequence(
    der.integer(Uint8Array.of(0)),
    nameOf(subject),
    publicKeyDer(keyPem),
    der.explicit(0, ...attributesOf(subject)),
  );
  const algorithm = der.sequence(der.objectIdentifier('1.2.840.10045.4.3.2'));
  const signature = new Uint8Array(sign('sha256', info, subject.signedBy ?? keyPem));
  const request = der.sequence(info, algorithm, der.bitString(signature));
  return { requestPem: der.pem('CERTIFICATE REQUEST', request), keyPem };
}

function nameOf({ commonName, organizations = [] }: RequestSubject): der.Der {
  const attributes = organizations.map((text) => ({ id: '2.5.4.10', text }));
  if (commonName !== undefined) attributes.push({ id: '2.5.4.3', text: commonName });
  return der.sequence(
    ...attributes.map(({ id, text }) =>
      der.set(der.sequence(der.objectIdentifier(id), der.utf8String(text))),
    ),
  );
}

function attributesOf({ dnsNames = [], ipAddresses = [], emails = [] }: RequestSubject): der.Der[] {
  const ascii = (text: string) => new TextEncoder().encode(text);
  const names = [
    ...dnsNames.map((name) => der.implicit(2, ascii(name))),
    ...ipAddresses.map((address) => der.implicit(7, ipAddressBytes(address))),
    ...emails.map((email) => der.implicit(1, ascii(email))),
  ];
  if (names.length === 0) return [];
  const extension = der.sequence(
    der.objectIdentifier('2.5.29.17'),
    der.octetString(der.sequence(...names)),
  );
  return [
    der.sequence(der.objectIdentifier('1.2.840.113549.1.9.14'), der.set(der.sequence(extension))),
  ];
}
