// Going on from this machine when a majority is gone for good: asked about first, then confirmed. It works
// while no object can be read or written.
import { type Ref, ref, shallowRef } from 'vue';
import type { RecoveryReport } from '#kube/api/flotilla.ts';
import { describeRecovery, type RecoveryWords } from '../state/recovery.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';

export interface Recovery {
  /** Undefined: the dialog is closed, or the answer is not there yet. */
  readonly words: Ref<RecoveryWords | undefined>;
  readonly isOpen: Ref<boolean>;
  readonly isBusy: Ref<boolean>;
  readonly isDone: Ref<boolean>;
  readonly failure: Ref<string>;
  open(): Promise<void>;
  run(): Promise<void>;
}

const path = '/flotilla/recovery';

export function useRecovery(): Recovery {
  const { client } = useCluster();
  const words = shallowRef<RecoveryWords>();
  const isOpen = ref(false);
  const isBusy = ref(false);
  const isDone = ref(false);
  const failure = ref('');
  let clusterId = '';

  async function attempt(work: () => Promise<void>): Promise<void> {
    failure.value = '';
    isBusy.value = true;
    try {
      await work();
    } catch (error) {
      failure.value = failureText(error);
    } finally {
      isBusy.value = false;
    }
  }

  return {
    words,
    isOpen,
    isBusy,
    isDone,
    failure,
    async open() {
      isOpen.value = true;
      isDone.value = false;
      words.value = undefined;
      await attempt(async () => {
        const report = await client.json<RecoveryReport>({ method: 'GET', path });
        clusterId = report.clusterId;
        words.value = describeRecovery(report);
      });
    },
    async run() {
      await attempt(async () => {
        await client.raw({ method: 'POST', path, body: JSON.stringify({ confirm: clusterId }) });
        isDone.value = true;
      });
    },
  };
}
