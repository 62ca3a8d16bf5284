import { X509Certificate } from 'node:crypto';
import { createServer, connect, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { goodFromKey, lapsedGroup } from '#kube/machinery/lapsed-nodes.ts';
import { issueCertificate, makeKey, type CertificateSpec } from '#platform/certificate.ts';
import { lapsedNode } from './lapsed-node.ts';

const day = 86_400_000;
const nowMs = Date.parse('2026-11-29T12:00:00Z');
const random = seededRandom(5);
const ca = issueCertificate(
  {
    commonName: 'ca',
    usages: ['ca'],
    notBeforeMs: nowMs - 900 * day,
    notAfterMs: nowMs + 900 * day,
  },
  undefined,
  random,
);
const good: CertificateSpec = {
  commonName: 'system:node:pi',
  organizations: ['system:nodes'],
  usages: ['client'],
  notBeforeMs: nowMs - 425 * day,
  notAfterMs: nowMs - 60 * day,
};

function userOf(more: Partial<CertificateSpec> = {}, issuer = ca) {
  const { certPem } = issueCertificate({ ...good, ...more }, issuer, random);
  return lapsedNode(new X509Certificate(certPem), new X509Certificate(ca.certPem), nowMs);
}

it("a node's certificate that has only ended tells of a node that may ask for the next one", () => {
  expect(userOf()).toEqual({
    name: 'system:node:pi',
    groups: [lapsedGroup],
    extra: { [goodFromKey]: [String(good.notBeforeMs)] },
  });
});

it.each<[string, Partial<CertificateSpec>]>([
  ['that is good still', { notAfterMs: nowMs + day }],
  ['that is not good yet', { notBeforeMs: nowMs + day, notAfterMs: nowMs + 2 * day }],
  ['of no node', { commonName: 'kubernetes-admin' }],
  ['of a node without a name', { commonName: 'system:node:' }],
  ['of a master', { organizations: ['system:masters'] }],
  ['of a node that is a master, too', { organizations: ['system:masters', 'system:nodes'] }],
  ['for servers', { usages: ['server'] }],
  ['of an authority', { usages: ['ca'] }],
])('one %s tells of nobody', (_name, more) => expect(userOf(more)).toBeUndefined());

it('nor does one that another key signed in the name of our authority, or another authority', () => {
  expect(userOf({}, { ...ca, keyPem: makeKey() })).toBeUndefined();
  const stranger = { ...good, commonName: 'ca', usages: ['ca'] as const, notAfterMs: nowMs + day };
  expect(userOf({}, issueCertificate(stranger, undefined, random))).toBeUndefined();
});

it('TLS takes such a certificate from who has its key, and says that it is not good', async () => {
  const pair = issueCertificate(good, ca, random);
  const server = createServer({
    cert: ca.certPem,
    key: ca.keyPem,
    ca: ca.certPem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const shown = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const client = connect({
    port,
    host: '127.0.0.1',
    cert: pair.certPem,
    key: pair.keyPem,
    rejectUnauthorized: false,
  });
  const [socket] = await shown;
  expect(socket.authorized).toBe(false);
  const seen = socket.getPeerX509Certificate()!;
  expect(lapsedNode(seen, new X509Certificate(ca.certPem), nowMs)?.name).toBe('system:node:pi');
  client.destroy();
  socket.destroy();
  server.close();
});
