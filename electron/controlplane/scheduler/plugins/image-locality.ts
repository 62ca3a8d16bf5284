// ImageLocality: prefers nodes that have the pod's big images already; an image few nodes have
// counts for less, so that pods don't all meet on one node.
// Source: kubernetes pkg/scheduler/framework/plugins/imagelocality.
import { scoreMax, type CycleState, type Plugin } from '../framework.ts';

const megabyte = 1024 * 1024;
const thresholdMin = 23 * megabyte;
const thresholdMaxPerContainer = 1000 * megabyte;

const name = 'ImageLocality';

export const imageLocality: Plugin = {
  name,
  preScore(state, { pod }, _nodes, snapshot) {
    const spec = pod.spec;
    const images = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map((container) =>
      normalizedImageName(container.image ?? ''),
    );
    const shares = new Map<string, number>();
    for (const image of images) {
      const holders = snapshot.nodes.filter((node) => node.images.has(image));
      shares.set(image, holders.length / snapshot.nodes.length);
    }
    state.set(name, { images, shares });
    return undefined;
  },
  score(state, _pod, node) {
    const { images, shares } = wanted(state);
    let sum = 0;
    for (const image of images)
      sum += Math.floor((node.images.get(image) ?? 0) * (shares.get(image) ?? 0));
    const most = thresholdMaxPerContainer * images.length;
    const clamped = Math.min(Math.max(sum, thresholdMin), most);
    return Math.floor((scoreMax * (clamped - thresholdMin)) / (most - thresholdMin));
  },
};

interface WantedImages {
  readonly images: readonly string[];
  /** Image → fraction of all nodes that have it. */
  readonly shares: ReadonlyMap<string, number>;
}

function wanted(state: CycleState): WantedImages {
  return state.get(name) as WantedImages;
}

/** As container runtimes list it: with a tag. */
export function normalizedImageName(image: string): string {
  return image.lastIndexOf(':') <= image.lastIndexOf('/') ? `${image}:latest` : image;
}
