// Why a container has no image, in Kubernetes' reasons and words.
// Source: kubernetes pkg/kubelet/images/types.go, image_manager.go (evalCRIPullErr).

export type ImageReason =
  | 'ErrImagePull'
  | 'ImagePullBackOff'
  | 'ErrImageNeverPull'
  | 'InvalidImageName'
  | 'ImageInspectError'
  | 'RegistryUnavailable';

/** Goes into the container's waiting state. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly reason: ImageReason;
  /** Milliseconds until trying again makes sense. */
  readonly retryAfterMs: number;

  constructor(reason: ImageReason, message: string, retryAfterMs: number) {
    super(message);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Pure: the registry's own failure is told apart from all others, and from its page of HTML. */
export function failedPull(
  name: string,
  message: string,
): { readonly reason: 'ErrImagePull' | 'RegistryUnavailable'; readonly message: string } {
  const status = /received unexpected HTTP status: (50[234][^<\n]*)/.exec(message)?.[1];
  if (status === undefined) return { reason: 'ErrImagePull', message };
  const text = `image pull failed for ${name} because the registry is unavailable: ${status.trim()}`;
  return { reason: 'RegistryUnavailable', message: text };
}
