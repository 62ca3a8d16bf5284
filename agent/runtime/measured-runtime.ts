// A Runtime whose calls are timed, under the names that the kubelet gives to its runtime's operations.
import type { Clock } from '#kube/base/clock.ts';
import type { Runtime } from './runtime.ts';

/** What streams (logs, events, processes) has no duration worth telling. */
const operations: Readonly<Record<string, string>> = {
  version: 'version',
  listPods: 'list_podsandbox',
  getPod: 'podsandbox_status',
  runSandbox: 'run_podsandbox',
  stopSandbox: 'stop_podsandbox',
  removeSandbox: 'remove_podsandbox',
  createContainer: 'create_container',
  startContainer: 'start_container',
  stopContainer: 'stop_container',
  removeContainer: 'remove_container',
  updateLimits: 'update_container_resources',
  exec: 'exec_sync',
  imageStatus: 'image_status',
  pullImage: 'pull_image',
  listImages: 'list_images',
  removeImage: 'remove_image',
};

export function measuredRuntime(
  runtime: Runtime,
  clock: Pick<Clock, 'monotonicMs'>,
  onOperation: (type: string, seconds: number, isError: boolean) => void,
): Runtime {
  function timed(call: (...args: unknown[]) => Promise<unknown>, type: string) {
    return async (...args: unknown[]): Promise<unknown> => {
      const startMs = clock.monotonicMs();
      let isError = true;
      try {
        const result = await call.apply(runtime, args);
        isError = false;
        return result;
      } finally {
        onOperation(type, (clock.monotonicMs() - startMs) / 1000, isError);
      }
    };
  }
  const known = new Map<PropertyKey, unknown>();
  return new Proxy(runtime, {
    get(target, name) {
      if (known.has(name)) return known.get(name);
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const type = operations[String(name)];
      const call = value as (...args: unknown[]) => Promise<unknown>;
      const made = type === undefined ? call.bind(target) : timed(call, type);
      known.set(name, made);
      return made;
    },
  });
}
