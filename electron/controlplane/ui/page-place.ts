// Tells the home where Flotilla's page is: on the Node of the machine whose control plane leads, from which its agent
// tells the name (agent/names). With the leader it moves. Runs where the member leads, as
// `system:serviceaccount:kube-system:home-page`.
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { Controller } from '#kube/client/controller.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { homePageAnnotation } from '#kube/machinery/home-page.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { HomePage } from './home-page.ts';

export interface PagePlaceDeps {
  readonly client: Pick<RestClient, 'patch'>;
  readonly informers: InformerFactory;
  /** Of this machine. */
  readonly nodeName: string;
  /** Undefined: no other device reaches this machine. */
  readonly page: Pick<HomePage, 'port' | 'whenOpen'> | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Resolves when `signal` aborts. */
export async function runPagePlace(deps: PagePlaceDeps, signal: AbortSignal): Promise<void> {
  const { client, informers, nodeName, page, clock, logger } = deps;
  const all = informers.informer(nodes);
  const controller = new Controller({ name: 'home-page', clock, logger, reconcile });
  controller.watch(all, ({ metadata }) => [metadata.name]);
  void page?.whenOpen.then(() => controller.enqueue(nodeName));

  async function reconcile(name: string): Promise<void> {
    const node = all.lister.get('', name);
    if (node === undefined) return;
    const wanted = name === nodeName ? page?.port : undefined;
    if (textOf(node) !== wanted?.toString()) await tell(name, wanted);
  }

  async function tell(name: string, wanted: number | undefined): Promise<void> {
    const annotations = { [homePageAnnotation]: wanted?.toString() ?? null };
    try {
      await client.patch(nodes, { name }, { metadata: { annotations } });
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
    }
  }

  informers.start(signal);
  await controller.run(signal);
}

function textOf({ metadata }: Node): string | undefined {
  return metadata.annotations?.[homePageAnnotation];
}
