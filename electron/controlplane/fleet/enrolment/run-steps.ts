// Does a plan, step by step: looked at first, done if it is not so, looked at again. What it says of that is for a person.
import type { EnrolmentStep } from '#kube/api/fleet.ts';
import type { Step } from './plan.ts';
import type { StepWork } from './steps.ts';

export interface StepRun {
  readonly steps: readonly Step[];
  readonly workOf: (step: Step) => StepWork;
  /** Resolves when the machine has started anew and somebody is logged in again. */
  readonly reboot: () => Promise<void>;
  readonly report: (steps: readonly EnrolmentStep[], isRebooting: boolean) => void;
  readonly signal: AbortSignal;
}

/** Resolves with why it failed; undefined: all is done. */
export async function runSteps(run: StepRun): Promise<string | undefined> {
  const { steps, workOf, report, signal } = run;
  const told = steps.map(waiting);
  const tell = (index: number, change: Partial<EnrolmentStep>, isRebooting = false): void => {
    const { message: _message, percent: _percent, ...kept } = told[index] ?? waiting(steps[index]!);
    told[index] = { ...kept, ...change };
    report([...told], isRebooting);
  };
  for (const [index, step] of steps.entries()) {
    tell(index, { state: 'Running' });
    try {
      const work = workOf(step);
      if (await work.isDone()) {
        tell(index, { state: 'Skipped', message: 'It was so already' });
        continue;
      }
      const onPercent = (percent: number): void => tell(index, { state: 'Running', percent });
      const outcome = await work.apply(throttled(onPercent));
      if (outcome === 'reboot') {
        tell(index, { state: 'Running', message: 'The machine starts anew' }, true);
        await run.reboot();
      }
      if (!(await work.isDone())) {
        const why = (await work.whyNot?.()) ?? 'it was done, and yet it is not so';
        throw new Error(why);
      }
      tell(index, { state: 'Done' });
    } catch (error) {
      const why = signal.aborted
        ? 'it was given up'
        : error instanceof Error
          ? error.message
          : String(error);
      tell(index, { state: 'Failed', message: why });
      return `${step.title}: ${why}`;
    }
  }
  return undefined;
}

export function waiting({ name, title, needsReboot }: Step): EnrolmentStep {
  return { name, title, ...(needsReboot && { needsReboot }), state: 'Waiting' };
}

/** Only what is news. */
function throttled(onPercent: (percent: number) => void): (percent: number) => void {
  let last = -1;
  return (percent) => {
    const whole = Math.min(100, percent);
    if (whole > last) onPercent((last = whole));
  };
}
