// Whether a node can run containers, read from its Ready condition and annotations alone.
// The names are the agent's: agent/engine sets the reasons, the annotation asks it to install.
import type { Node } from '#kube/api/core.ts';

export const installEngineAnnotation = 'flotilla.dev/install-engine';
export const proxyModeAnnotation = 'flotilla.dev/proxy-mode';
export const proxyReasonAnnotation = 'flotilla.dev/proxy-reason';

export type EngineState =
  | { readonly kind: 'ready' }
  /** The agent installs it when asked. */
  | { readonly kind: 'missing'; readonly original: string }
  /** The agent may not or can not install it: the original says why. */
  | { readonly kind: 'by-hand'; readonly original: string }
  | { readonly kind: 'failed'; readonly original: string }
  | { readonly kind: 'installing'; readonly original: string }
  | { readonly kind: 'stopped'; readonly original: string }
  | { readonly kind: 'forbidden'; readonly original: string }
  | { readonly kind: 'unready'; readonly original: string }
  | { readonly kind: 'silent'; readonly original: string };

type Trouble = Exclude<EngineState['kind'], 'ready' | 'unready' | 'silent'>;
/** By the reason of the Ready condition. */
const kinds: Readonly<Record<string, Trouble | undefined>> = {
  ContainerEngineMissing: 'missing',
  ContainerEngineNotInstallable: 'by-hand',
  ContainerEngineInstalling: 'installing',
  ContainerEngineInstallFailed: 'failed',
  ContainerEngineStopped: 'stopped',
  ContainerEngineForbidden: 'forbidden',
};

export function engineState(node: Node): EngineState {
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'True') return { kind: 'ready' };
  const original = ready?.message ?? '';
  const requested = node.metadata.annotations?.[installEngineAnnotation] !== undefined;
  if (requested) return { kind: 'installing', original };
  if (ready === undefined) return { kind: 'unready', original };
  const kind = kinds[ready.reason ?? ''];
  if (kind !== undefined) return { kind, original };
  return { kind: ready.status === 'Unknown' ? 'silent' : 'unready', original };
}
