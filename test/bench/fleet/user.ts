// A program: somebody who uses an app and writes to the API through each of its servers, each ten times a second, and says in lines what
// came of it. Arguments: kubeconfig, the app's URL, those of API servers. Ends with its input.
import { systemClock } from '#kube/base/clock.ts';
import { configMaps } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig } from '#platform/kubeconfig.ts';

const everyMs = 100;
const patienceMs = 1_000;
const [kubeconfig = '', app = '', ...servers] = process.argv.slice(2);
const config = await readKubeconfig(kubeconfig);

function say(what: string, isGood: boolean): void {
  process.stdout.write(`${JSON.stringify({ what, isGood, atMs: Date.now() })}\n`);
}

/** Goes on while the one before has no answer yet, but not without end. */
function often(what: string, does: () => Promise<unknown>): void {
  let underWay = 0;
  setInterval(() => {
    if (underWay >= 20) return;
    underWay++;
    does()
      .then(
        () => say(what, true),
        () => say(what, false),
      )
      .finally(() => underWay--);
  }, everyMs);
}

often('app', async () => {
  const { ok } = await fetch(app, { signal: AbortSignal.timeout(patienceMs) });
  if (!ok) throw new Error('no');
});
for (const [i, server] of servers.entries()) {
  const to = { ...config, server, serverName: 'kubernetes' };
  const transport = new HttpsTransport(to, systemClock);
  const client = new RestClient({ transport, userAgent: 'bench' });
  let count = 0;
  often('write', () =>
    client.create(configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: 'default', name: `write-${process.pid}-${i}-${count++}` },
    }),
  );
}
process.stdin.resume().on('end', () => process.exit(0));
