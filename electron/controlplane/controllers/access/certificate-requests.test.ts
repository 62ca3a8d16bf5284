import { describe, expect, it } from 'vitest';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { recognize, retryDelayMs } from './certificate-approval.ts';
import { removalTimeMs } from './certificate-cleaner.ts';

const hour = 3_600_000;
const clientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
const servingSigner = 'kubernetes.io/kubelet-serving';
const madeMs = Date.parse('2026-01-01T00:00:00Z');
const decidedMs = Date.parse('2026-01-01T05:00:00Z');

function request(status: CertificateSigningRequest['status'] = {}): CertificateSigningRequest {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: 'pi', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { request: '', signerName: clientSigner, username: 'system:node:pi' },
    status,
  };
}

function names(commonName: string, dnsNames: string[] = [], ipAddresses: string[] = []) {
  return { commonName, dnsNames, ipAddresses };
}

function condition(type: string, lastUpdateTime: string | undefined = '2026-01-01T05:00:00Z') {
  return { type, status: 'True', ...(lastUpdateTime === '' ? {} : { lastUpdateTime }) };
}

describe('the rights that would do', () => {
  it.each([
    ['what no agent asks for', clientSigner, undefined, []],
    ['the node itself', clientSigner, names('system:node:pi'), ['selfnodeclient', 'nodeclient']],
    ['somebody for a node', clientSigner, names('system:node:other'), ['nodeclient']],
    ['a server of its name', servingSigner, names('system:node:pi', ['pi']), ['selfnodeserver']],
    ['a server of another name', servingSigner, names('system:node:pi', ['pi', 'nas']), []],
    ['a server of an address', servingSigner, names('system:node:pi', ['pi'], ['10.0.0.1']), []],
    ['a server for another', servingSigner, names('system:node:nas', ['nas']), []],
  ])('%s', (_, signerName, asked, want) => {
    const { spec, ...rest } = request();
    expect(recognize({ ...rest, spec: { ...spec, signerName } }, asked)).toEqual(want);
  });

  it('are looked for again ever more rarely', () => {
    const after = [0, 5000, 10 * hour].map((age) => retryDelayMs(request(), madeMs + age));
    expect(after).toEqual([1000, 5000, 900_000]);
  });
});

describe('a request goes', () => {
  const issued = { certificate: 'x' };
  const cases = [
    ['pending: after a day', {}, undefined, madeMs + 24 * hour],
    ['denied', { conditions: [condition('Denied')] }, undefined, decidedMs + hour],
    [
      'failed, and not when it was approved',
      { conditions: [condition('Approved', ''), condition('Failed')] },
      undefined,
      decidedMs + hour,
    ],
    [
      'issued',
      { ...issued, conditions: [condition('Approved')] },
      decidedMs + 9 * hour,
      decidedMs + hour,
    ],
    [
      'issued and expired',
      { ...issued, conditions: [condition('Approved')] },
      decidedMs + 5,
      decidedMs + 5,
    ],
    [
      'approved and waiting for its signer: never',
      { conditions: [condition('Approved')] },
      undefined,
      undefined,
    ],
    [
      'decided at no known time: never',
      { conditions: [condition('Denied', '')] },
      undefined,
      undefined,
    ],
  ] as const;
  it.each(cases)('%s', (_, status, expiryMs, want) => {
    const given = status as CertificateSigningRequest['status'];
    expect(removalTimeMs(request(given), expiryMs)).toBe(want);
  });
});
