// Apps that go to another machine with their data, each as the write that kubectl would make.
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { volumeMoves } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { App } from '../state/app.ts';
import { claimNames, type Destination } from '../state/volume-move.ts';

const nameMax = 200;

export async function startMove(
  client: RestClient,
  app: App,
  { name: nodeName, isOtherProcessor }: Destination,
  nowMs: number,
): Promise<void> {
  const name = `${app.name.slice(0, nameMax)}-${nowMs.toString(36)}`;
  await client.create(volumeMoves, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    metadata: { namespace: app.namespace, name },
    spec: {
      claims: [...new Set(claimNames(app))],
      nodeName,
      // The person was told.
      ...(isOtherProcessor && { acceptOtherArchitecture: true }),
    },
  });
}

export async function changeMove(
  client: RestClient,
  { metadata: { namespace, name } }: VolumeMove,
  spec: Partial<VolumeMove['spec']>,
): Promise<void> {
  await client.patch(volumeMoves, { namespace, name }, { spec });
}

/** Only what is told of it: no data. */
export async function forgetMove(
  client: RestClient,
  { metadata: { namespace, name } }: VolumeMove,
): Promise<void> {
  try {
    await client.delete(volumeMoves, { namespace, name });
  } catch (error) {
    if (!hasReason(error, 'NotFound')) throw error;
  }
}
