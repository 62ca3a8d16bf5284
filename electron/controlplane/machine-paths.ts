// What of the control plane the paths for machines need (fleet/package): its address, its key, its authority.
import { createHash, X509Certificate } from 'node:crypto';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { tokenIdOf, tokenProblem, tokenRef } from '#kube/machinery/machine-tokens.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { ClusterPki } from '#platform/pki.ts';
import type { Options } from '../options.ts';
import type { ApiHandler } from './apiserver/http.ts';
import { addressForOthers, servingNames } from './bind-address.ts';
import { MachinePackages } from './fleet/package/machine-packages.ts';
import { createPackagePaths } from './fleet/package/package-paths.ts';
import type { ReplicaPathsDeps } from './fleet/replicas/replica-paths.ts';
import { issueToken } from './fleet/tokens.ts';

export interface MachinePathsDeps {
  readonly options: Options;
  readonly packages: MachinePackages;
  readonly pki: ClusterPki;
  readonly port: number;
  /** Of the Service `kubernetes`. */
  readonly serviceIp: string;
  readonly client: () => RestClient;
  readonly replicas: ReplicaPathsDeps;
  readonly clock: Clock;
  readonly random: Random;
}

/** `pages`: folder of the built renderer, beside which the agent lies. */
export function packagesOf({
  version,
  pages,
  options,
}: {
  readonly version: string;
  readonly pages: string;
  readonly options: Options;
}): MachinePackages {
  return new MachinePackages({
    version,
    built: path.join(pages, '..'),
    ownFile: options.package,
    agent: path.join(pages, '../agent'),
    // Of a checkout, or of a package.
    modules: [path.join(pages, '../../node_modules'), path.join(pages, '../node_modules')],
    cache: path.join(options.dataDirectory, 'packages'),
  });
}

export function createMachinePaths(deps: MachinePathsDeps): ApiHandler {
  const { options, packages, pki, port, serviceIp } = deps;
  const { bindAddress } = options;
  return createPackagePaths({
    packageFor: packages.of,
    controlPlane: packages.controlPlane,
    replicas: deps.replicas,
    server() {
      const address = addressForOthers(bindAddress);
      if (address === undefined) return undefined;
      return {
        server: `https://${address}:${port}`,
        caPem: pki.caPem,
        serverName: 'kubernetes',
      };
    },
    pin: async () => pinOf((await pki.apiServer(servingNames(bindAddress, serviceIp))).certPem),
    isDiscovering: options.discovery !== 'off',
    async tokenProblem(userName) {
      const id = tokenIdOf(userName);
      if (id === undefined) return undefined;
      const secret = await deps.client().get(secrets, tokenRef(id)).catch(ignoreMissing);
      return tokenProblem(secret, id);
    },
    issueToken: (nodeName) => issueToken({ ...deps, client: deps.client() }, nodeName),
  });
}

/** As curl's --pinnedpubkey takes it: a hash of the public key. */
export function pinOf(certificatePem: string): string {
  const key = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256//${createHash('sha256').update(key).digest('base64')}`;
}

function ignoreMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}

/** After a start, which has enough to do. */
const packAheadMs = 15_000;

/** So that the first machine that is added need not wait for its package. Resolves when it is there, or none will be asked for. */
export async function packAhead(
  { packages, options, clock }: Pick<MachinePathsDeps, 'packages' | 'options' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  const mayBeAsked = options.discovery !== 'off' && !options.bindAddress.startsWith('127.');
  if (!mayBeAsked) return;
  await delay(clock, packAheadMs, signal);
  if (!signal.aborted) await packages.makeAhead(process.arch);
}
