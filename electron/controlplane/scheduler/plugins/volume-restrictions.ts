// VolumeRestrictions: a claim that is ReadWriteOncePod is used by one pod at a time.
// Source: kubernetes pkg/scheduler/framework/plugins/volumerestrictions.
import { podClaims } from '#kube/machinery/volume-binding.ts';
import { unschedulable, type Plugin } from '../framework.ts';

const name = 'VolumeRestrictions';
const reason =
  'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode';

export const volumeRestrictions: Plugin = {
  name,
  preFilter(state, { pod }, { nodes, volumes }) {
    if ((pod.spec?.volumes ?? []).length === 0) return undefined;
    const { namespace = '' } = pod.metadata;
    const alone = new Set(
      podClaims(pod)
        .filter((used) =>
          volumes?.claim(namespace, used.name)?.spec.accessModes?.includes('ReadWriteOncePod'),
        )
        .map((used) => used.name),
    );
    if (alone.size === 0) return undefined;
    const isUsed = nodes.some((node) =>
      [...node.pods.values()].some(
        ({ pod: other }) =>
          other.metadata.namespace === namespace &&
          podClaims(other).some((used) => alone.has(used.name)),
      ),
    );
    if (isUsed) state.set(name, true);
    return undefined;
  },
  filter: (state) => (state.has(name) ? unschedulable(reason) : undefined),
  queueingHint: (_pod, { type }) => type === 'assigned-pod-removed' || type === 'storage-changed',
};
