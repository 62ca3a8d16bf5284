// postStart and preStop. Source: kubernetes pkg/kubelet/lifecycle/handlers.go,
// pkg/kubelet/kuberuntime/kuberuntime_container.go.
import type { Container, LifecycleHandler, ObjectReference, Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { containerReference } from './event-target.ts';
import type { ProbeRunner } from './probe.ts';

export interface HooksDeps {
  readonly runner: ProbeRunner;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

export interface HookTarget {
  readonly pod: Pod;
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
}

/** A postStart hook has no deadline of its own in Kubernetes; this bounds a hang. */
const postStartTimeoutMs = 600_000;

export class Hooks {
  readonly #deps: HooksDeps;

  constructor(deps: HooksDeps) {
    this.#deps = deps;
  }

  /** What went wrong; undefined when all is well or there is no hook. */
  async postStart(target: HookTarget): Promise<string | undefined> {
    const hook = target.container.lifecycle?.postStart;
    if (hook === undefined) return undefined;
    const output = await this.#run(hook, target, postStartTimeoutMs);
    if (output !== undefined)
      this.#deps.events.event(
        about(target),
        'Warning',
        'FailedPostStartHook',
        'PostStartHook failed',
      );
    return output;
  }

  /** Resolves with the milliseconds it took; a failure does not keep the container alive. */
  async preStop(target: HookTarget, graceMs: number): Promise<number> {
    const hook = target.container.lifecycle?.preStop;
    if (hook === undefined || graceMs <= 0) return 0;
    const { clock, events } = this.#deps;
    const beganMs = clock.monotonicMs();
    const output = await this.#run(hook, target, graceMs);
    if (output !== undefined)
      events.event(about(target), 'Warning', 'FailedPreStopHook', 'PreStopHook failed');
    return clock.monotonicMs() - beganMs;
  }

  async #run(
    hook: LifecycleHandler,
    target: HookTarget,
    timeoutMs: number,
  ): Promise<string | undefined> {
    if (hook.sleep !== undefined) {
      await delay(this.#deps.clock, Math.min(hook.sleep.seconds * 1000, timeoutMs));
      return undefined;
    }
    const outcome = await this.#deps.runner.run(hook, target, timeoutMs);
    return outcome.isSuccess ? undefined : outcome.output;
  }
}

function about({ pod, container }: HookTarget): ObjectReference {
  return containerReference(pod, container.name);
}
