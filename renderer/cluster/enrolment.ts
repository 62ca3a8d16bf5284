// Adding one machine, from the first look to the last step: what was entered (in memory only), what the
// server answered, and what the Machine object tells of the attempt that goes on. Decisions are in
// state/enrolment.ts. Closing the sheet stops nothing that the server has begun.
import { type ComputedRef, type Ref, type ShallowRef, computed, ref, shallowRef, watch } from 'vue';
import type { Enrolment, EnrolmentSpec, EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import { machines as machineResource } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import {
  type HostKey,
  type Login,
  type Stage,
  emptyLogin,
  firstQuestion,
  guessUser,
  lackOf,
  resumable,
  specOf,
  stageOf,
} from '../state/enrolment.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { useResource } from './resources.ts';

export interface EnrolmentRun {
  readonly machine: ComputedRef<Machine | undefined>;
  readonly login: Ref<Login>;
  readonly stage: ComputedRef<Stage>;
  readonly status: ComputedRef<EnrolmentStatus | undefined>;
  /** The key that stands on the page, and that is sent as seen. */
  readonly hostKey: ShallowRef<HostKey | undefined>;
  /** Another key than the one that was sent as seen. */
  readonly isKeyChanged: ComputedRef<boolean>;
  /** Another key than the one that was accepted when the machine was added before. */
  readonly isKeyRefused: ComputedRef<boolean>;
  /** The failure is of this attempt to add it, not of looking at it. */
  readonly hasBegun: ComputedRef<boolean>;
  /** Why the login was refused; '' before one was tried. */
  readonly refusal: ComputedRef<string>;
  /** A request is on its way. */
  readonly isBusy: Ref<boolean>;
  /** Why a request came to nothing. */
  readonly failure: Ref<string>;
  begin(machine: string): void;
  /** Logs in, looks, and plans: changes nothing. */
  inspect(): Promise<void>;
  /** Does what the plan says, its warnings agreed to. */
  apply(): Promise<void>;
  /** After a failure, with what was entered before; what is forgotten is asked for again. */
  tryAgain(): Promise<void>;
  backToLogin(): Promise<void>;
  /** The machine was written anew: its old key counts no more. */
  forgetKey(): Promise<void>;
  /** The sheet is closed. */
  leave(): void;
}

export interface EnrolmentMemory {
  /** Who logged in last; '' if nobody did. */
  readonly lastUser: () => string;
  readonly noteUser: (user: string) => void;
}

export function useEnrolment(memory: EnrolmentMemory): EnrolmentRun {
  const { client } = useCluster();
  const name = ref('');
  const { object: machine } = useResource(machineResource, () => ({ name: name.value }));
  const login = ref<Login>(emptyLogin(''));
  const answer = shallowRef<EnrolmentStatus>();
  /** Of the attempt that is followed: what the object said before it. */
  const before = shallowRef<{ readonly said: EnrolmentStatus | undefined }>();
  const hostKey = shallowRef<HostKey>();
  const sentKey = ref<string>();
  const hasTried = ref(false);
  const isBusy = ref(false);
  const failure = ref('');
  let request: AbortController | undefined;

  const live = computed(() => {
    const said = machine.value?.status?.enrolment;
    const isNews = before.value !== undefined && !deepEqual(said, before.value.said);
    return isNews ? said : undefined;
  });
  const status = computed(() => live.value ?? answer.value);
  const stage = computed(() => stageOf(answer.value, live.value));
  const hasBegun = computed(() => before.value !== undefined);
  const isKeyChanged = computed(
    () => sentKey.value !== undefined && sentKey.value !== hostKey.value?.fingerprint,
  );
  const isKeyRefused = computed(() => {
    const accepted = machine.value?.spec?.hostKey;
    const shown = hostKey.value?.fingerprint;
    return accepted !== undefined && shown !== undefined && accepted !== shown;
  });
  const refusal = computed(() => {
    if (status.value?.phase !== 'LoginRefused' || !(hasTried.value || isKeyRefused.value))
      return '';
    return status.value.message ?? 'The machine did not let this user in';
  });

  function begin(next: string): void {
    if (next !== name.value || stage.value === 'done') forget();
    name.value = next;
    failure.value = '';
    if (login.value.user === '') login.value.user = guessUser(machine.value, memory.lastUser());
    if (stage.value === 'going' || stage.value === 'failed') return;
    if (resumable(machine.value) === undefined) return void knock();
    // Somebody began, here or elsewhere: whatever the object says is of that attempt.
    before.value = { said: undefined };
  }

  async function knock(): Promise<void> {
    hasTried.value = false;
    answer.value = before.value = undefined;
    await ask(firstQuestion(login.value.user));
  }

  async function inspect(): Promise<void> {
    hasTried.value = true;
    // What the attempt before ended with is on the page until there is an answer.
    answer.value = status.value;
    before.value = undefined;
    await ask(specOf('Inspect', login.value, seenKey()));
  }

  async function apply(): Promise<void> {
    const said = machine.value?.status?.enrolment;
    const acceptWarnings = (status.value?.warnings ?? []).length > 0;
    hasTried.value = true;
    const more = { ...seenKey(), ...(acceptWarnings && { acceptWarnings }) };
    const outcome = await ask(specOf('Apply', login.value, more));
    if (outcome === 'overtaken') before.value = { said: undefined };
    if (outcome === 'answered') before.value = hasBegunBy(answer.value) ? { said } : undefined;
  }

  async function tryAgain(): Promise<void> {
    if (lackOf(login.value) !== undefined || hostKey.value === undefined) return knock();
    await (hasBegun.value ? apply() : inspect());
  }

  async function forgetKey(): Promise<void> {
    failure.value = '';
    try {
      await client.patch(machineResource, { name: name.value }, { spec: { hostKey: null } });
      await knock();
    } catch (error) {
      failure.value = failureText(error);
    }
  }

  function seenKey(): { readonly hostKey?: string } {
    return hostKey.value === undefined ? {} : { hostKey: hostKey.value.fingerprint };
  }

  /** `overtaken`: somebody adds it already. */
  async function ask(spec: EnrolmentSpec): Promise<'answered' | 'overtaken' | 'failed'> {
    request?.abort();
    const own = (request = new AbortController());
    isBusy.value = true;
    failure.value = '';
    sentKey.value = spec.hostKey;
    try {
      const answered = await client.createSubresource(
        machineResource,
        { name: name.value },
        'enrolment',
        {
          apiVersion: 'flotilla.dev/v1alpha1',
          kind: 'Enrolment',
          metadata: { name: name.value },
          spec,
        },
        { signal: own.signal },
      );
      if (own.signal.aborted) return 'failed';
      answer.value = (answered as Enrolment).status;
      return 'answered';
    } catch (error) {
      if (own.signal.aborted) return 'failed';
      if (hasReason(error, 'Conflict')) return 'overtaken';
      failure.value = failureText(error);
      return 'failed';
    } finally {
      if (request === own) isBusy.value = false;
    }
  }

  function forget(): void {
    request?.abort();
    answer.value = before.value = hostKey.value = sentKey.value = undefined;
    login.value = emptyLogin('');
    hasTried.value = isBusy.value = false;
    failure.value = '';
  }

  /** What is needed for another try is kept while there may be one. */
  function leave(): void {
    if (stage.value !== 'going' && stage.value !== 'failed') forget();
  }

  watch(
    status,
    (now) => {
      if (now?.hostKey !== undefined) hostKey.value = now.hostKey;
    },
    { flush: 'sync' },
  );
  watch(stage, (now) => {
    if (now === 'plan') memory.noteUser(login.value.user);
    if (now === 'done') login.value = emptyLogin(login.value.user);
  });

  return {
    machine,
    login,
    stage,
    status,
    hostKey,
    isKeyChanged,
    isKeyRefused,
    hasBegun,
    refusal,
    isBusy,
    failure,
    begin,
    inspect,
    apply,
    tryAgain,
    backToLogin: knock,
    forgetKey,
    leave,
  };
}

/** From then on the object tells. */
function hasBegunBy(answer: EnrolmentStatus | undefined): boolean {
  return ['going', 'failed', 'done'].includes(stageOf(answer, undefined));
}
