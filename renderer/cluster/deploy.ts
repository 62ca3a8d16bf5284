// A deployment in the making: form and YAML of the same thing, checked by the server's dry run as one
// types, created in order. A failure halfway takes back what this attempt had created.
import { type ComputedRef, type Ref, computed, onScopeDispose, ref, watch } from 'vue';
import type { KubeObject } from '#kube/api/object.ts';
import type { Resource } from '#kube/client/resources.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { type DeployForm, emptyForm, formOf, objectsOf } from '../state/deploy-form.ts';
import { type FormErrors, formErrorsOf, mergeErrors, noErrors } from '../state/field-errors.ts';
import { sameObjects } from '../state/same-objects.ts';
import { fromYaml, toYaml } from '../state/yaml.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { resourceOf } from './discovery.ts';

export interface Deploy {
  readonly form: Ref<DeployForm>;
  readonly yaml: ComputedRef<string>;
  /** What is wrong with the YAML as typed; '' when nothing. */
  readonly yamlProblem: Ref<string>;
  /** The YAML says more than the form can show: the form then only looks on. */
  readonly isBeyondForm: Ref<boolean>;
  readonly errors: Ref<FormErrors>;
  /** 0…1 while deploying. */
  readonly progress: Ref<number | undefined>;
  readonly canDeploy: ComputedRef<boolean>;
  editYaml(text: string): void;
  backToForm(): void;
  /** Answers the app's Deployment when everything was created. */
  deploy(): Promise<KubeObject | undefined>;
}

const settleMs = 450;

export function useDeploy(): Deploy {
  const { client } = useCluster();
  const form = ref<DeployForm>(emptyForm());
  const typed = ref<string>();
  const yamlProblem = ref('');
  const isBeyondForm = ref(false);
  const errors = ref<FormErrors>(noErrors);
  const progress = ref<number>();
  const formObjects = computed(() => objectsOf(form.value));
  const yaml = computed(() => typed.value ?? toYaml(formObjects.value));
  const canDeploy = computed(
    () =>
      yamlProblem.value === '' &&
      (isBeyondForm.value || (form.value.name !== '' && form.value.image !== '')),
  );
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

  async function deploy(): Promise<KubeObject | undefined> {
    clearTimeout(timer);
    progress.value = 0.1;
    try {
      if (!(await tryOut())) return undefined;
      const objects = currentObjects();
      await createAll(objects, (share) => (progress.value = share));
      return objects.find(({ kind }) => kind === 'Deployment') ?? objects[0];
    } catch (error) {
      errors.value =
        error instanceof StatusError
          ? formErrorsOf(error.status, form.value)
          : { fields: {}, other: [failureText(error)] };
      return undefined;
    } finally {
      progress.value = undefined;
    }
  }

  async function createAll(
    objects: readonly KubeObject[],
    report: (share: number) => void,
  ): Promise<void> {
    const created: { resource: Resource; object: KubeObject }[] = [];
    try {
      for (const object of objects) {
        const resource = await resourceOf(client, object);
        const made = await client.create(resource, object, { fieldManager: 'flotilla' });
        created.push({ resource, object: made });
        report(0.1 + (0.9 * created.length) / objects.length);
      }
    } catch (error) {
      for (const { resource, object } of created.toReversed())
        await client.delete(resource, object.metadata).catch(ignoreMissing);
      throw error;
    }
  }

  watch(
    [form, typed],
    () => {
      clearTimeout(timer);
      if (canDeploy.value) timer = setTimeout(() => void tryOut(), settleMs);
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
    progress,
    canDeploy,
    editYaml,
    backToForm,
    deploy,
  };
}

function problemText({ message, line }: { message: string; line: number | undefined }): string {
  return line === undefined ? message : `Line ${line}: ${message}`;
}

function ignoreMissing(error: unknown): void {
  if (!hasReason(error, 'NotFound')) throw error;
}
