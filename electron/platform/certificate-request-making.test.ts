import { expect, it } from 'vitest';
import { makeKey, publicKeyDer } from './certificate.ts';
import { makeSigningRequest } from './certificate-request-making.ts';
import { parseCertificateRequest } from './certificate-request.ts';

it.each([[[]], [['pi', 'pi.local']]])('is read back with the names %j', (dnsNames) => {
  const keyPem = makeKey();
  const subject = { commonName: 'system:node:pi', organization: 'system:nodes', dnsNames };
  expect(parseCertificateRequest(makeSigningRequest(subject, keyPem))).toEqual({
    commonName: 'system:node:pi',
    organizations: ['system:nodes'],
    publicKey: publicKeyDer(keyPem),
    dnsNames,
    ipAddresses: [],
    hasOtherNames: false,
  });
});
