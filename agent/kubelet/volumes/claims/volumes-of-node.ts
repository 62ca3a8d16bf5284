// All that this machine does with directories that serve as volumes: makes and removes them, hands their content to the
// machine that is to have a copy, and makes copies of others'.
import { join } from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { nodes, persistentVolumes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { HttpsPeerClient, type PeerIdentity } from '../../images/peer-client.ts';
import { systemDiskSpace } from '../../pressure/pressure-keeper.ts';
import { VolumeCopier } from '../copies/volume-copier.ts';
import { VolumeShare } from '../copies/volume-share.ts';
import { readMachine } from '../disks/machine-disks.ts';
import { systemMounter } from '../disks/mounter.ts';
import { LocalVolumes } from './local-volumes.ts';

export interface NodeVolumesDeps {
  readonly client: RestClient;
  readonly nodeName: string;
  readonly dataDirectory: string;
  /** Told as an annotation of the node, so that volumes for this machine get a path. */
  readonly folder: string;
  /** As whom other machines are asked; undefined: they are not. */
  readonly identity: (() => PeerIdentity) | undefined;
  readonly isUsed: (volumeName: string) => boolean;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeVolumes {
  readonly share: VolumeShare;
  readonly local: LocalVolumes;
}

/** `signal`: when copies end. */
export function volumesOfNode(
  deps: NodeVolumesDeps,
  informers: InformerFactory,
  signal: AbortSignal,
): NodeVolumes {
  const { client, nodeName, identity, isUsed, clock, logger, folder, events } = deps;
  const labelSelector = `${localPath.nodeLabel}=${nodeName}`;
  const volumes = informers.informer(persistentVolumes, { labelSelector });
  const notes = join(deps.dataDirectory, 'volume-copies');
  const share = new VolumeShare({
    volume: (name) => volumes.lister.get('', name),
    isUsed,
    nodeName,
    folder: join(notes, 'shared'),
    clock,
  });
  const copier = new VolumeCopier({
    client,
    peers: identity && new HttpsPeerClient(identity),
    nodeOf: async (name) =>
      (await client.list(nodes, { resourceVersion: '0' })).items.find(
        ({ metadata }) => metadata.name === name,
      ),
    freeBytes: async (directory) => (await systemDiskSpace(directory)).availableBytes,
    folder: notes,
    clock,
    logger,
    signal,
  });
  const machine = () => readMachine(nodeName, systemMounter);
  const shared = { client, volumes, folder, machine, copier, share, isUsed, events, clock, logger };
  return { share, local: new LocalVolumes(shared) };
}
