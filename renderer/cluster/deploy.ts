// A deployment in the making: form and YAML of the same thing, checked by the server's dry run as one
// types, created in order. Lives as long as the page, so that closing the sheet loses nothing: neither
// what was entered, nor an attempt that is under way. A failure halfway takes back what it had created.
import {
  type ComputedRef,
  type Ref,
  type ShallowRef,
  computed,
  onScopeDispose,
  ref,
  shallowRef,
  watch,
} from 'vue';
import type { KubeObject } from '#kube/api/object.ts';
import { StatusError } from '#kube/machinery/status.ts';
import {
  type DeployForm,
  emptyForm,
  formOf,
  objectsOf,
  withDataKept,
} from '../state/deploy-form.ts';
import {
  type FormErrors,
  type FormField,
  formErrorsOf,
  mergeErrors,
  noErrors,
  touchedErrors,
} from '../state/field-errors.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { sameObjects } from '../state/same-objects.ts';
import { fromYaml, toYaml } from '../state/yaml.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { type Created, createAll, LeftoverError, takeBack } from './deploy-objects.ts';
import { resourceOf } from './discovery.ts';

export interface Deploy {
  readonly form: Ref<DeployForm>;
  readonly yaml: ComputedRef<string>;
  /** What is wrong with the YAML as typed; '' when nothing. */
  readonly yamlProblem: Ref<string>;
  /** The YAML says more than the form can show: the form then only looks on. */
  readonly isBeyondForm: Ref<boolean>;
  readonly errors: Ref<FormErrors>;
  /** Those of fields that somebody left, or tried to deploy with. */
  readonly shownErrors: ComputedRef<FormErrors>;
  /** 0…1 while objects are being created. */
  readonly creating: Ref<number | undefined>;
  /** What the last attempt created: from then on the sheet follows it. */
  readonly made: ShallowRef<readonly Created[]>;
  readonly isTakingBack: Ref<boolean>;
  /** Something was entered. */
  readonly isTouched: ComputedRef<boolean>;
  readonly canDeploy: ComputedRef<boolean>;
  editYaml(text: string): void;
  backToForm(): void;
  deploy(): Promise<void>;
  /** Deletes what the attempt created, but no data, and goes back to what was entered. */
  changeAndTryAgain(): Promise<void>;
  /** An empty form. */
  startOver(): void;
  /** Somebody is done with this field for now. */
  leave(field: FormField): void;
}

const settleMs = 450;

export function useDeploy(): Deploy {
  const { client } = useCluster();
  const form = ref<DeployForm>(emptyForm());
  const typed = ref<string>();
  const yamlProblem = ref('');
  const isBeyondForm = ref(false);
  const errors = ref<FormErrors>(noErrors);
  const touched = ref<ReadonlySet<FormField>>(new Set());
  const shownErrors = computed(() => touchedErrors(errors.value, touched.value));
  const creating = ref<number>();
  const made = shallowRef<readonly Created[]>([]);
  const isTakingBack = ref(false);
  const formObjects = computed(() => objectsOf(form.value));
  const yaml = computed(() => typed.value ?? toYaml(formObjects.value));
  const canDeploy = computed(
    () =>
      yamlProblem.value === '' &&
      (isBeyondForm.value || (form.value.name !== '' && form.value.image !== '')),
  );
  const isTouched = computed(
    () => typed.value !== undefined || !deepEqual(form.value, emptyForm()),
  );
  let leftovers: readonly Created[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let check: AbortController | undefined;

  function currentObjects(): readonly KubeObject[] {
    if (typed.value === undefined) return formObjects.value;
    const parsed = fromYaml(typed.value);
    return parsed.kind === 'objects' ? parsed.objects : [];
  }

  function editYaml(text: string): void {
    typed.value = text;
    const parsed = fromYaml(text);
    yamlProblem.value = parsed.kind === 'error' ? problemText(parsed) : '';
    if (parsed.kind === 'error') return;
    const read = formOf(parsed.objects);
    isBeyondForm.value = read === undefined || !sameObjects(objectsOf(read), parsed.objects);
    if (read !== undefined) form.value = read;
  }

  /** The form speaks again, with what it could read of the YAML. */
  function backToForm(): void {
    typed.value = undefined;
    yamlProblem.value = '';
    isBeyondForm.value = false;
  }

  async function tryOut(): Promise<boolean> {
    check?.abort();
    check = new AbortController();
    const { signal } = check;
    const found = await Promise.all(currentObjects().map((object) => dryRun(object, signal)));
    if (signal.aborted) return false;
    errors.value = mergeErrors(found);
    return errors.value.other.length === 0 && Object.keys(errors.value.fields).length === 0;
  }

  async function dryRun(object: KubeObject, signal: AbortSignal): Promise<FormErrors> {
    try {
      const resource = await resourceOf(client, object);
      await client.create(resource, object, { dryRun: true, fieldValidation: 'Strict', signal });
      return noErrors;
    } catch (error) {
      if (signal.aborted) return noErrors;
      if (error instanceof StatusError) return formErrorsOf(error.status, form.value);
      return { fields: {}, other: [failureText(error)] };
    }
  }

  async function deploy(): Promise<void> {
    clearTimeout(timer);
    creating.value = 0;
    try {
      if (leftovers.length > 0) await takeBackNow(leftovers);
      if (leftovers.length > 0 || !(await tryOut())) return touchAll();
      made.value = await createAll(client, currentObjects(), (share) => (creating.value = share));
    } catch (error) {
      errors.value = deployErrors(error, form.value);
      touchAll();
    } finally {
      creating.value = undefined;
    }
  }

  async function changeAndTryAgain(): Promise<void> {
    isTakingBack.value = true;
    const isClaim = ({ object }: Created) => object.kind === 'PersistentVolumeClaim';
    // What was typed names the claims as new ones: they go, and are made again.
    const kept = typed.value === undefined ? made.value.filter(isClaim) : [];
    await takeBackNow(made.value.filter((one) => !kept.includes(one)));
    form.value = withDataKept(
      form.value,
      kept.map(({ object }) => object.metadata.name),
    );
    made.value = [];
    isTakingBack.value = false;
  }

  /** What could not be taken back is told now, and tried again with the next attempt. */
  async function takeBackNow(created: readonly Created[]): Promise<void> {
    const left = await takeBack(client, created);
    leftovers = left;
    const other = left.map(({ object, why }) => `${object.kind} ${object.metadata.name}: ${why}`);
    errors.value = { fields: {}, other };
  }

  function leave(field: FormField): void {
    touched.value = new Set([...touched.value, field]);
  }

  function touchAll(): void {
    touched.value = new Set([...touched.value, ...Object.keys(errors.value.fields)]);
  }

  function startOver(): void {
    made.value = [];
    errors.value = noErrors;
    touched.value = new Set();
    backToForm();
    form.value = emptyForm();
  }

  // A row that goes takes what was said about it along; those after it have moved.
  for (const list of ['ports', 'variables', 'volumes'] as const)
    watch(
      () => form.value[list].length,
      (now, before) => {
        const kept = [...touched.value].filter((field) => !field.startsWith(list));
        if (now < before) touched.value = new Set(kept);
      },
    );
  watch(
    [form, typed],
    () => {
      clearTimeout(timer);
      if (canDeploy.value && made.value.length === 0)
        timer = setTimeout(() => void tryOut(), settleMs);
    },
    { deep: true },
  );
  onScopeDispose(() => {
    clearTimeout(timer);
    check?.abort();
  });
  return {
    form,
    yaml,
    yamlProblem,
    isBeyondForm,
    errors,
    shownErrors,
    creating,
    made,
    isTakingBack,
    isTouched,
    canDeploy,
    editYaml,
    backToForm,
    deploy,
    changeAndTryAgain,
    startOver,
    leave,
  };
}

function problemText({ message, line }: { message: string; line: number | undefined }): string {
  return line === undefined ? message : `Line ${line}: ${message}`;
}

function deployErrors(error: unknown, form: DeployForm): FormErrors {
  if (error instanceof LeftoverError) {
    const { fields, other } = deployErrors(error.cause, form);
    return { fields, other: [...other, `${error.message}.`] };
  }
  if (error instanceof StatusError) return formErrorsOf(error.status, form);
  return { fields: {}, other: [failureText(error)] };
}
