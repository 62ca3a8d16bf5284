// Puts together what adds machines (fleet/enrolment): SSH, the packages that are copied to them, and the tokens by which
// they join.
import { createHash } from 'node:crypto';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { formatKubeconfig } from '#platform/kubeconfig.ts';
import type { Options } from '../options.ts';
import type { EnrolMachine } from './apiserver/handlers/enrolment.ts';
import { everywhere } from './bind-address.ts';
import { Enrolments } from './fleet/enrolment/enrolments.ts';
import { sshRemotes } from './fleet/enrolment/ssh-login.ts';
import type { MachinePackages } from './fleet/package/machine-packages.ts';
import { placement } from './fleet/package/placement.ts';
import { issueToken } from './fleet/tokens.ts';

export interface MachineAddingDeps {
  readonly options: Options;
  readonly packages: MachinePackages;
  readonly sshAgentSocket: string | undefined;
  readonly caPem: string;
  /** Of the API server. */
  readonly port: number;
  /** With the rights of `machine-enrolment`; asked for when the API serves. */
  readonly client: () => RestClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface MachineAdding {
  readonly enrol: EnrolMachine;
  /** Resolves when nothing is under way. */
  readonly whenIdle: () => Promise<void>;
}

export function createMachineAdding(deps: MachineAddingDeps): MachineAdding {
  let enrolments: Enrolments | undefined;
  return {
    enrol: (...asked) => (enrolments ??= createEnrolments(deps)).enrol(...asked),
    whenIdle: async () => enrolments?.whenIdle(),
  };
}

function createEnrolments(deps: MachineAddingDeps): Enrolments {
  const { options, packages, caPem, port, clock, random, logger, signal } = deps;
  const { bindAddress, discovery } = options;
  const client = deps.client();
  return new Enrolments({
    client,
    open: sshRemotes({ clock, agentSocket: deps.sshAgentSocket }),
    placement,
    makePackage: packages.of,
    clusterCa: createHash('sha256').update(caPem).digest('hex'),
    server(ownAddress) {
      if (bindAddress.startsWith('127.')) return undefined;
      return { address: bindAddress === everywhere ? ownAddress : bindAddress, port };
    },
    async makeBootstrapKubeconfig(server, nodeName) {
      const { token } = await issueToken({ client, clock, random }, nodeName);
      const names = { cluster: 'flotilla', user: 'joining' };
      return formatKubeconfig({ server, caPem, token, serverName: 'kubernetes' }, names);
    },
    isDiscovering: discovery !== 'off',
    clock,
    logger: logger.with({ component: 'enrolment' }),
    signal,
  });
}
