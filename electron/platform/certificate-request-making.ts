// Makes a certificate signing request for a key of P-256. Source: RFC 2986.
import { sign } from 'node:crypto';
import { publicKeyDer } from './certificate.ts';
import * as der from './der.ts';

export interface RequestSubject {
  readonly commonName: string;
  readonly organization?: string;
  /** ASCII. */
  readonly dnsNames: readonly string[];
}

/** PEM, signed with the key that it is for. */
export function makeSigningRequest(subject: RequestSubject, keyPem: string): string {
  const info = der.sequence(
    der.integer(Uint8Array.of(0)),
    der.sequence(
      ...(subject.organization === undefined ? [] : [attribute('2.5.4.10', subject.organization)]),
      attribute('2.5.4.3', subject.commonName),
    ),
    publicKeyDer(keyPem),
    der.explicit(0, ...namesOf(subject.dnsNames)),
  );
  const ecdsaWithSha256 = der.sequence(der.objectIdentifier('1.2.840.10045.4.3.2'));
  const signature = new Uint8Array(sign('sha256', info, keyPem));
  const request = der.sequence(info, ecdsaWithSha256, der.bitString(signature));
  return der.pem('CERTIFICATE REQUEST', request);
}

function attribute(id: string, text: string): der.Der {
  return der.set(der.sequence(der.objectIdentifier(id), der.utf8String(text)));
}

/** The attribute extensionRequest with a subjectAltName. */
function namesOf(dnsNames: readonly string[]): der.Der[] {
  if (dnsNames.length === 0) return [];
  const names = dnsNames.map((name) => der.implicit(2, new TextEncoder().encode(name)));
  const extension = der.sequence(
    der.objectIdentifier('2.5.29.17'),
    der.octetString(der.sequence(...names)),
  );
  return [
    der.sequence(der.objectIdentifier('1.2.840.113549.1.9.14'), der.set(der.sequence(extension))),
  ];
}
