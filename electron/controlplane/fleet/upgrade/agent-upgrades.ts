// Brings the agents of all machines to this release, by the plan: names on one Node at a time what it is to run. The
// machine does the rest itself.
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { Node } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  targetAnnotation,
  targetSinceAnnotation,
  versionAnnotation,
} from '#kube/machinery/agent-versions.ts';
import { packageSourceAnnotation } from '#kube/machinery/control-planes.ts';
import { nextUpgrade, type UpgradeStep } from './plan.ts';

export interface AgentUpgradesDeps {
  readonly client: Pick<RestClient, 'patch'>;
  readonly nodes: Informer<Node>;
  /** Of the agent that this release has for x64 or arm64. Throws in words. */
  readonly versionFor: (architecture: 'x64' | 'arm64') => Promise<string>;
  /** Whether machines get this one's release. */
  readonly isSource: () => Promise<boolean>;
  /** Who has it: `https://…`; undefined: no other machine reaches this one. */
  readonly address: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** As nodes name them, and as packages do. */
const architectures = { amd64: 'x64', arm64: 'arm64' } as const;
/** What is to be asked for when something other than a Node changed. */
export const agentsKey = 'agents';
const key = agentsKey;
const waitMs = 60_000;

export function createAgentUpgrades(deps: AgentUpgradesDeps): Controller {
  const { client, clock, logger } = deps;
  let told = '';
  const controller = new Controller({ name: 'agent-upgrades', clock, logger, reconcile });
  controller.watch(deps.nodes, ({ metadata }) =>
    metadata.annotations?.[versionAnnotation] === undefined ? [] : [key],
  );

  async function reconcile(): Promise<ReconcileResult> {
    if (!(await deps.isSource())) return {};
    const all = deps.nodes.lister.list();
    const step = nextUpgrade(all, await wanted(all), clock.now());
    tell(step);
    // Of one that does not come back nothing is heard: it is looked at by the clock.
    if (step.type === 'wait') return { requeueAfterMs: waitMs };
    if (step.type !== 'tell') return {};
    const { nodeName: name, version } = step;
    const annotations = {
      [targetAnnotation]: version,
      [targetSinceAnnotation]: rfc3339(clock.now()),
      [packageSourceAnnotation]: deps.address() ?? null,
    };
    await client.patch(nodes, { name }, { metadata: { annotations } });
    return {};
  }

  /** Only what there are machines for: a package takes time to make. */
  async function wanted(all: readonly Node[]) {
    const versions = new Map<string, string>();
    for (const [name, architecture] of Object.entries(architectures)) {
      const isThere = all.some(
        ({ metadata, status }) =>
          metadata.annotations?.[versionAnnotation] !== undefined &&
          status?.nodeInfo?.architecture === name,
      );
      if (isThere) versions.set(name, await deps.versionFor(architecture));
    }
    return (name: string) => versions.get(name);
  }

  /** Once. */
  function tell(step: UpgradeStep): void {
    const { type, ...fields } = step;
    const text = JSON.stringify(step);
    if (text === told) return;
    told = text;
    if (type === 'tell') logger.info('A machine gets another agent', fields);
    if (type === 'stop')
      logger.error('No more machines get the new agent: one went back to the old', fields);
  }
  return controller;
}
