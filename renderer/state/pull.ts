// What a pod's agent says of an image it fetches (`Pulling image "nginx:1": 62 of 180 MB`), in words
// for a person. Pure. Written by agent/kubelet/images/pull-words.ts.
import type { Pod } from '#kube/api/core.ts';
import { stateView, type StateView } from './vocabulary.ts';

export interface Pull {
  readonly image: string;
  /** `62 of 180 MB`, or `62 MB` while the whole is not known; `… on machine pi2`, from which it comes then. */
  readonly amount: string;
  readonly isUnpacking: boolean;
  /** 0…1; undefined: not known. */
  readonly share: number | undefined;
}

const sentence =
  /^(Pulling|Unpacking) image "(.+)": (([\d.]+)(?: of ([\d.]+))? MB)( on machine \S+)?$/;

export function pullOf({ status, metadata }: Pod): Pull | undefined {
  if (metadata.deletionTimestamp !== undefined) return undefined;
  const containers = [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
  ];
  for (const { state } of containers) {
    const match = sentence.exec(state?.waiting?.message ?? '');
    if (match === null) continue;
    const [, verb, image = '', size, done, total, where = ''] = match;
    const amount = `${size}${where}`;
    const share =
      total === undefined || Number(total) === 0 ? undefined : Number(done) / Number(total);
    return { image, amount, isUnpacking: verb === 'Unpacking', share };
  }
  return undefined;
}

/** Of several copies, the one that is furthest. */
export function furthestPull(pods: readonly Pod[]): Pull | undefined {
  return pods
    .map(pullOf)
    .filter((pull) => pull !== undefined)
    .toSorted((a, b) => rank(b) - rank(a))[0];
}

function rank({ isUnpacking, share = 0 }: Pull): number {
  return (isUnpacking ? 1 : 0) + share;
}

/** As the state of an app or a copy; the image's name would only hide the numbers. */
export function pullState({ amount, isUnpacking, share }: Pull): StateView {
  const reason = `${isUnpacking ? 'unpacking' : 'fetching'} its image: ${amount}`;
  return stateView('Starting', reason, { share });
}
