// etcd's own API beside ours (`--etcd-port`), for administrators of this machine.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { subjectIdentity } from '#platform/certificate.ts';
import type { ClusterPki } from '#platform/pki.ts';
import type { Options } from '../options.ts';
import { listenError } from './apiserver/listener/listen-error.ts';
import type { Backing } from './backing.ts';
import { servingNames } from './bind-address.ts';
import { createEtcdServer, type EtcdServer } from './etcd/server.ts';

export interface EtcdServingDeps {
  readonly options: Options;
  /** Of the Service `kubernetes`. */
  readonly serviceIp: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const host = '127.0.0.1';

/** Undefined: it is not wanted, or an etcd keeps the state. Throws a sentence for a person. */
export async function serveEtcd(
  pki: ClusterPki,
  { own }: Pick<Backing, 'own'>,
  { options, serviceIp, clock, random, logger }: EtcdServingDeps,
): Promise<EtcdServer | undefined> {
  const { etcdPort } = options;
  if (etcdPort === undefined || own === undefined) return undefined;
  const { keyPem, certPem } = await pki.apiServer(servingNames(options.bindAddress, serviceIp));
  let port = etcdPort;
  const server = createEtcdServer({
    kv: own.opened.kv,
    cluster: own.members.clusterInfo(() => `https://${host}:${port}`),
    clock,
    random,
    logger: logger.with({ component: 'etcd' }),
    temporaryFolder: options.dataDirectory,
    tls: {
      key: keyPem,
      cert: certPem,
      ca: pki.caPem,
      authorize: (certificate) =>
        certificate !== undefined &&
        (subjectIdentity(certificate)?.organizations.includes('system:masters') ?? false),
    },
  });
  try {
    port = await server.listen(etcdPort, host);
  } catch (error) {
    throw listenError(error as NodeJS.ErrnoException, { host, port }, '--etcd-port');
  }
  logger.info("Serves etcd's API", { port });
  return server;
}
