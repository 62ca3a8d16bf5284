// Brings the control planes on machines to this release, by the plan: names on one Node at a time what it is to run. The
// machine does the rest itself (agent/control-plane).
import { Controller } from '#kube/client/controller.ts';
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  controlPlaneTargetAnnotation,
  packageSourceAnnotation,
} from '#kube/machinery/control-planes.ts';
import type { Group } from '../replicas/group.ts';
import { nextControlPlane } from './control-plane-plan.ts';
import { isReleaseSource } from './release-source.ts';

export interface ControlPlaneUpgradesDeps {
  readonly client: Pick<RestClient, 'patch'>;
  readonly nodes: Informer<Node>;
  readonly group: Group;
  /** Names of members that were placed as packages. */
  readonly placed: () => Promise<ReadonlySet<string>>;
  /** Of the control plane that this release has. Throws in words. */
  readonly version: () => Promise<string>;
  readonly address: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is to be asked for when something other than a Node changed. */
export const upgradesKey = 'control planes';
const key = upgradesKey;
/** While one is at it: members' health is no object. */
const lookMs = 5_000;

export function createControlPlaneUpgrades(deps: ControlPlaneUpgradesDeps): Controller {
  const { client, group, clock, logger } = deps;
  let told = '';
  const controller = new Controller({ name: 'control-plane-upgrades', clock, logger, reconcile });
  controller.watch(deps.nodes, () => [key]);

  async function reconcile(): Promise<{ requeueAfterMs?: number }> {
    const address = deps.address();
    const placed = await deps.placed();
    const report = group.report();
    if (address === undefined || placed.size === 0 || !isReleaseSource(report, placed)) return {};
    const step = nextControlPlane(deps.nodes.lister.list(), report, placed, await deps.version());
    const text = JSON.stringify(step);
    if (text !== told) logger.info('Control planes on machines', { ...step });
    told = text;
    if (step.type === 'done' || step.type === 'stop') return {};
    if (step.type === 'tell') {
      const annotations = {
        [controlPlaneTargetAnnotation]: step.version,
        [packageSourceAnnotation]: address,
      };
      await client.patch(nodes, { name: step.nodeName }, { metadata: { annotations } });
    }
    return { requeueAfterMs: lookMs };
  }
  return controller;
}
