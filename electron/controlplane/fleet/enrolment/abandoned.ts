// Says of a machine that is being added that nobody does it any more: whoever did was stopped. Runs where the control plane
// leads, and sleeps until the first of them would be too old.
import type { Machine } from '#kube/api/fleet.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { machines } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { abandonedAt, isAbandoned, isUnderWay, withEnrolment } from './progress.ts';

export interface AbandonedDeps {
  readonly client: RestClient;
  readonly machines: Informer<Machine>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Until `signal` aborts. */
export function watchAbandoned(deps: AbandonedDeps, signal: AbortSignal): void {
  const { machines: informer, clock } = deps;
  let timer: Timer | undefined;
  const look = (): void => {
    timer?.cancel();
    if (signal.aborted) return;
    const underWay = informer.lister
      .list()
      .filter(({ status }) => status?.enrolment !== undefined && isUnderWay(status.enrolment));
    for (const machine of underWay)
      if (isAbandoned(machine.status!.enrolment!, clock.now())) void end(machine, deps);
    const due = underWay
      .map(({ status }) => abandonedAt(status!.enrolment!) - clock.now())
      .filter((ms) => ms > 0);
    if (due.length > 0) timer = clock.timer(Math.min(...due), look);
  };
  const detach = informer.addHandler({ onAdd: look, onUpdate: look, onDelete: look });
  signal.addEventListener('abort', () => {
    detach();
    timer?.cancel();
  });
}

async function end(machine: Machine, { client, clock, logger }: AbandonedDeps): Promise<void> {
  const { enrolment } = machine.status ?? {};
  if (enrolment === undefined) return;
  const message =
    'The control plane that added it was stopped. What is done stays done: add it again to go on';
  const steps = enrolment.steps?.map((step) =>
    step.state === 'Running' ? { ...step, state: 'Failed' as const } : step,
  );
  const status = { ...enrolment, phase: 'Failed' as const, message, ...(steps && { steps }) };
  try {
    await client.updateStatus(machines, withEnrolment(machine, status, clock.now()));
  } catch (error) {
    // It has moved on, or is gone: the next look sees which.
    if (hasReason(error, 'Conflict') || hasReason(error, 'NotFound')) return;
    logger.warn('Could not say that a machine is not being added any more', { error });
  }
}
