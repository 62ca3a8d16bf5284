import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../test/setup/certificate-request.ts';
import { parseCertificateRequest } from './certificate-request.ts';
import { decideSigning } from './certificate-signing.ts';
import { makeKey, publicKeyDer } from './certificate.ts';

describe('a certificate request', () => {
  it('tells for whom it is, of which key and names', () => {
    const { requestPem, keyPem } = makeCertificateRequest({
      commonName: 'carol',
      organizations: ['devs', 'ops'],
      dnsNames: ['a.example', 'b.example'],
      ipAddresses: ['10.0.0.1', 'fd00::1'],
    });
    expect(parseCertificateRequest(requestPem)).toEqual({
      commonName: 'carol',
      organizations: ['devs', 'ops'],
      publicKey: publicKeyDer(keyPem),
      dnsNames: ['a.example', 'b.example'],
      ipAddresses: ['10.0.0.1', 'fd00:0:0:0:0:0:0:1'],
      hasOtherNames: false,
    });
  });

  it('of openssl with an RSA key is read, too', () => {
    expect(parseCertificateRequest(opensslRequest)).toMatchObject({
      commonName: 'carol',
      organizations: ['devs'],
    });
  });

  it('is none when another key signed it', () => {
    const { requestPem } = makeCertificateRequest({ commonName: 'carol', signedBy: makeKey() });
    expect(parseCertificateRequest(requestPem)).toBeUndefined();
  });

  it('is none once a byte of it is another, and never an exception', () => {
    const { requestPem } = makeCertificateRequest({ commonName: 'c', dnsNames: ['a.example'] });
    const base64 = requestPem.split('\n').slice(1, -2).join('');
    const bytes = Buffer.from(base64, 'base64');
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ flip;
        const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${changed.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
        expect(parseCertificateRequest(pem)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });
});

describe('the signers', () => {
  const client = 'kubernetes.io/kube-apiserver-client';
  const kubelet = `${client}-kubelet`;
  const serving = 'kubernetes.io/kubelet-serving';
  const node = { commonName: 'system:node:pi', organizations: ['system:nodes'] };
  const forServer = ['digital signature', 'server auth'];
  const forClient = ['client auth', 'digital signature', 'key encipherment'];
  const cases = [
    ['a person', client, { commonName: 'carol', organizations: ['devs'] }, forClient, 'client'],
    ['a person of no name', client, { organizations: ['devs'] }, forClient, /name is missing/],
    ['a person as server', client, { commonName: 'carol' }, forServer, /usages/],
    [
      'a master',
      client,
      { commonName: 'x', organizations: ['system:masters'] },
      forClient,
      /masters/,
    ],
    ['usages beside', client, { commonName: 'carol' }, [...forClient, 'any'], /usages/],
    ['a node', kubelet, node, forClient, 'client'],
    ['a node that signs nothing', kubelet, node, ['client auth'], /usages/],
    ['a node with names', kubelet, { ...node, dnsNames: ['pi'] }, forClient, /not allowed/],
    [
      'a node of more groups',
      kubelet,
      { ...node, organizations: ['a', 'b'] },
      forClient,
      /organization/,
    ],
    ['no node', kubelet, { ...node, commonName: 'pi' }, forClient, /does not begin/],
    [
      'a nameless node',
      kubelet,
      { ...node, commonName: 'system:node:' },
      forClient,
      /does not begin/,
    ],
    ['a serving node', serving, { ...node, ipAddresses: ['10.0.0.2'] }, forServer, 'server'],
    ['an API server', serving, { ...node, dnsNames: ['Kubernetes'] }, forServer, /another/],
    [
      'an API server as pods name it',
      serving,
      { ...node, dnsNames: ['pi', 'kubernetes.default.svc'] },
      forServer,
      /another/,
    ],
    ['a serving node without names', serving, node, forServer, /required/],
    [
      'a serving node with mail',
      serving,
      { ...node, dnsNames: ['pi'], emails: ['a@b'] },
      forServer,
      /emails/,
    ],
  ] as const;
  it.each(cases)('%s', (_, signerName, subject, usages, want) => {
    const { requestPem } = makeCertificateRequest(subject);
    const decision = decideSigning({ requestPem, signerName, usages });
    if (typeof want === 'string') expect(decision).toMatchObject({ usages: [want] });
    else expect(decision).toEqual({ refused: expect.stringMatching(want) as string });
  });
  it('sign nothing that can not be read', () => {
    const asked = { requestPem: 'hello', signerName: client, usages: ['client auth'] };
    expect(decideSigning(asked)).toEqual({
      refused: expect.stringContaining('can not be read') as string,
    });
  });
});

/** `openssl req -new -newkey rsa:2048 -subj /O=devs/CN=carol`. */
const opensslRequest = `-----BEGIN CERTIFICATE REQUEST-----
MIICZDCCAUwCAQAwHzENMAsGA1UECgwEZGV2czEOMAwGA1UEAwwFY2Fyb2wwggEi
MA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCtyYBajeZKmkgdHPM3IJXyOzIi
ZZkcOOXjPq/xkNS+SfHDed6Srcv4cR1cStIJx59aQmiVSTJUy8Vi1UKKMN5ryAIJ
NXinJSPosJ/2uTjO2AQNT4bVCkWZGKPcwh4JUIk7pW/2IBi2h/h7w2R/DQmFbWjv
JEr3WHWhS6irMtZ5Csv2unF61ut/oABMFZ3+0d7MWRQbzQP3XR2PoF5PvRUt7eZR
1RE00VBW8gHSlK6wqwNh3RahdAh9qhyPvllNkgT+RyPsvmq88ITxEZw4Ltw6N/Kk
fZQ9jNJuEx5HDwdPuI5DaQcexoT0AJfL2F8b9+QaNS5DMvawRkxn8/umG3sJAgMB
AAGgADANBgkqhkiG9w0BAQsFAAOCAQEAER1rCNhjoBYZyw8NJevGGUxpVbD9C5IO
AyzhsVv0wzYaRdeaY+baH9HgLwS2j3S/gWUI2hEJNP3IqhJdk48IUku/+SA0L6Zf
7u2LVktAr9KKC+Nw8ey7skJTzTon/0f+N22xtlWc5yB3fHLHd5SCVwZWHrOwkukt
HQHgHJQk9t1irvlE3gHiBPRkfKOHaCSJL4+y0a4BdHVTONc7KjXaPs1a5jCz54j6
dYw1vHTkohejx0ZREx/o/E4AEzoOJ94/9F59igunv4MguocKUmSxDHF45hqn7Nzx
ObjsiQDAJjpNNzUIMsoYIHIoJYRa8tVwTHyVw4A80iOrZQ5Y8Iyr1w==
-----END CERTIFICATE REQUEST-----`;
