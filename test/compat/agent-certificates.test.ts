// An agent whose certificates end while it runs: it has others by then, in the same process, at the same port.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { certificateSigningRequests, nodes } from '#kube/client/resources.ts';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate } from '#platform/certificate.ts';
import { readKubeconfig, writeAgentKubeconfig } from '#platform/kubeconfig.ts';
import { AgentProcess } from '../setup/agent-process.ts';
import { Cluster, eventually } from '../setup/cluster.ts';

let cluster: Cluster;
let agent: AgentProcess;
let file: (name: string) => string;
beforeAll(async () => {
  cluster = await new Cluster(['--no-agent'], undefined, { usesDocker: true }).start();
  file = (name) => path.join(cluster.dataDirectory, 'agent', name);
  agent = new AgentProcess(cluster);
});
afterAll(async () => {
  await agent.stop();
  await cluster.destroy();
});

/** A minute long, of which 60 % are over: they are renewed in 6 to 18 seconds. */
async function writeShortCertificates(): Promise<void> {
  const pem = (name: string) => readFileSync(path.join(cluster.dataDirectory, 'pki', name), 'utf8');
  const ca = { certPem: pem('ca.crt'), keyPem: pem('ca.key') };
  const times = { notBeforeMs: Date.now() - 36_000, notAfterMs: Date.now() + 24_000 };
  const user = `system:node:${agent.nodeName}`;
  const subject = { commonName: user, organizations: ['system:nodes'], ...times };
  const client = issueCertificate({ ...subject, usages: ['client'] }, ca, systemRandom);
  const names = { dnsNames: [agent.nodeName], usages: ['server'] } as const;
  const serving = issueCertificate({ ...subject, ...names }, ca, systemRandom);
  mkdirSync(path.dirname(file('x')), { recursive: true });
  writeFileSync(file('serving.key'), serving.keyPem);
  writeFileSync(file('serving.crt'), serving.certPem);
  const config = { server: cluster.apiUrl, caPem: ca.certPem, ...client };
  await writeAgentKubeconfig(file('kubeconfig'), config, { cluster: 'flotilla', user });
}

/** When the certificate that the agent shows ends. */
function servedUntil(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(Date.parse(socket.getPeerX509Certificate()?.validTo ?? ''));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

it('an agent has new certificates before its own end, and goes on', async () => {
  await writeShortCertificates();
  agent.start('--runtime', 'fake');
  const { pid } = agent;
  const client = await cluster.client();
  const { nodeName: name } = agent;
  const port = async (): Promise<number> =>
    (await client.get(nodes, { name })).status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
  await eventually(async () => (await port().catch(() => 0)) > 0, 'the node is there');
  const at = await port();
  const monthMs = 30 * 86_400_000;
  await eventually(
    async () => (await servedUntil(at)) > Date.now() + monthMs,
    'the agent shows another certificate',
  );
  const log = readFileSync(path.join(cluster.dataDirectory, 'logs/agent.log'), 'utf8');
  expect(log).toContain('"Certificates renewed"');
  const { certPem } = await readKubeconfig(file('kubeconfig'));
  expect(certPem).toBeDefined();
  const asked = (await client.list(certificateSigningRequests)).items.map(({ spec }) => spec);
  expect(asked.map(({ signerName, username }) => `${signerName} ${username}`).toSorted()).toEqual([
    `kubernetes.io/kube-apiserver-client-kubelet system:node:${name}`,
    `kubernetes.io/kubelet-serving system:node:${name}`,
  ]);
  // By its own connection, as whom it is now.
  await cluster.kubectlOk('run', 'web', '--image=web');
  await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/web', '--timeout=30s');
  expect([await port(), agent.pid]).toEqual([at, pid]);
  process.kill(pid, 0);
});
