// What an agent serves Ingresses with, alone in a process that was started as an agent is: one host, one pod. Argument: the pod's port.
// Prints its own.
import { systemClock } from '#kube/base/clock.ts';
import { useCompilers } from '../../../agent/compilers.ts';
import { Front } from '../../../agent/ingress/front.ts';
import type { RouteTable } from '../../../agent/ingress/routes.ts';
import { settingsOf } from '#kube/machinery/ingress-settings.ts';
import { ingressHost } from './ingress-plan.ts';

useCompilers();
const front = new Front({
  address: '127.0.0.1',
  httpPort: 0,
  httpsPort: 0,
  certificate: () => undefined,
  awaitsCertificate: () => false,
  trustedRoot: () => undefined,
  clock: systemClock,
});
const route = {
  path: '/',
  isExact: false,
  owner: 'default/app',
  backend: 'default/app:80',
  endpoints: [{ address: '127.0.0.1', port: Number(process.argv[2]) }],
  runsOn: [],
  hasClientAffinity: false,
  settings: settingsOf({}).settings,
};
const hosts: RouteTable['hosts'] = new Map([[ingressHost, [route]]]);
front.use({ hosts, fallback: undefined, tls: [] });
await front.open({ http: true, https: false });
process.stdout.write(`${front.ports.http}\n`);
process.on('disconnect', () => process.exit(0));
