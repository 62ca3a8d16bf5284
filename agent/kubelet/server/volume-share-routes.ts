// What the one machine that is to have a copy of a volume may ask this one: what is in it, and the files themselves.
// Differs: Kubernetes' kubelet has no such paths.
import { contentPath, listPath } from '../volumes/copies/volume-copier.ts';
import { ShareRefusal, type VolumeShare } from '../volumes/copies/volume-share.ts';
import { text, type KubeletRequest, type KubeletResponse } from './routes.ts';

/** Who reads no more holds an app that stands still. */
const stalledMaxMs = 120_000;

export function isVolumePath(method: string, pathname: string): boolean {
  return (
    (method === 'GET' && pathname === listPath) || (method === 'POST' && pathname === contentPath)
  );
}

/** `request.node`: who asks, by its certificate. */
export async function shareVolume(
  share: VolumeShare,
  { method, url, signal, body, node }: KubeletRequest,
): Promise<KubeletResponse> {
  const volume = url.searchParams.get('volume') ?? '';
  const pass = url.searchParams.get('pass') === 'final' ? 'final' : 'live';
  if (node === undefined) return text(403, 'this is between machines of the cluster\n');
  const request = { volume, pass, peer: node, signal } as const;
  try {
    const bytes =
      method === 'GET'
        ? await share.list(request)
        : await share.content(request, body as AsyncIterable<Uint8Array>);
    const contentType = method === 'GET' ? 'application/jsonl' : 'application/x-tar';
    return { status: 200, contentType, body: bytes, stalledMaxMs };
  } catch (error) {
    if (!(error instanceof ShareRefusal)) throw error;
    return text(error.status, error.message);
  }
}
