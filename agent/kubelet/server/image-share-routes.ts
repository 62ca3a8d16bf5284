// What other machines of the cluster may ask this one: whether it has an image for them, and the image.
// Differs: Kubernetes' kubelet has no such paths, and lets no node in.
import type { ImageShare } from '../images/image-share.ts';
import { answerText } from '../images/turns/answer.ts';
import { text, type KubeletRequest, type KubeletResponse } from './routes.ts';

export const offerPath = '/images/offer';
export const contentPath = '/images/content';

/** Who reads no more holds a place that others wait for. */
const stalledMaxMs = 120_000;

/** All that a node may have of another. */
export function isForNodes(pathname: string): boolean {
  return pathname === offerPath || pathname === contentPath;
}

export async function offerImage(share: ImageShare, name: string): Promise<KubeletResponse> {
  const answer = answerText(await share.answer(name));
  if (answer === undefined) return text(404, 'no such image for others here\n');
  return { ...answer, contentType: 'application/json' };
}

export async function sendImage(
  share: ImageShare,
  { url, signal }: Pick<KubeletRequest, 'url' | 'signal'>,
): Promise<KubeletResponse> {
  const archive = await share.open(url.searchParams.get('id') ?? '', signal);
  if (archive === undefined) return text(404, 'no such image for others here\n');
  if (archive === 'busy') return text(503, 'two images are being handed over already\n');
  return { status: 200, contentType: 'application/x-tar', body: archive, stalledMaxMs };
}
