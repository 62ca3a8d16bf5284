// Changing one object as YAML: tried by the server's dry run, shown as a difference, then written
// with the version that was read, so that another's change in between is a conflict and not lost.
import { type Ref, ref, shallowRef, type ShallowRef } from 'vue';
import type { KubeObject } from '#kube/api/object.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { fromYaml, toYaml } from '../state/yaml.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { resourceOf } from './discovery.ts';

export interface ObjectEdit {
  /** What is being typed; undefined while nothing is edited. */
  readonly text: Ref<string | undefined>;
  /** Texts before and after, as the server would have it; undefined until it was tried. */
  readonly preview: ShallowRef<{ readonly before: string; readonly after: string } | undefined>;
  readonly problem: Ref<string>;
  readonly isConflict: Ref<boolean>;
  readonly isBusy: Ref<boolean>;
  begin(): void;
  type(text: string): void;
  check(): Promise<void>;
  apply(): Promise<void>;
  /** Keeps the text, on top of what somebody else wrote meanwhile, and shows the difference to that. */
  rebase(): Promise<void>;
  cancel(): void;
}

export function useObjectEdit(live: () => KubeObject | undefined): ObjectEdit {
  const { client } = useCluster();
  const text = ref<string>();
  const preview = shallowRef<{ before: string; after: string }>();
  const problem = ref('');
  const isConflict = ref(false);
  const isBusy = ref(false);
  /** As it was when editing began: what the difference is told against. */
  let base: KubeObject | undefined;

  function begin(): void {
    base = live();
    text.value = base === undefined ? undefined : toYaml([base]);
    forget();
  }

  function forget(): void {
    preview.value = undefined;
    problem.value = '';
    isConflict.value = false;
  }

  function typeText(next: string): void {
    text.value = next;
    forget();
  }

  /** What was typed as the same object, or undefined with the problem told. */
  function edited(): KubeObject | undefined {
    const parsed = fromYaml(text.value ?? '');
    if (parsed.kind === 'error') {
      problem.value =
        parsed.line === undefined ? parsed.message : `Line ${parsed.line}: ${parsed.message}`;
      return undefined;
    }
    const [object, ...more] = parsed.objects;
    if (object === undefined || base === undefined || more.length > 0 || !isSame(object, base)) {
      problem.value = 'Kind, name and namespace have to stay: this changes one object.';
      return undefined;
    }
    return object;
  }

  async function put(isDryRun: boolean): Promise<KubeObject | undefined> {
    problem.value = '';
    isConflict.value = false;
    const object = edited();
    if (object === undefined) return undefined;
    isBusy.value = true;
    try {
      const resource = await resourceOf(client, object);
      const options = {
        dryRun: isDryRun,
        fieldValidation: 'Strict',
        fieldManager: 'flotilla',
      } as const;
      return await client.update(resource, object, options);
    } catch (error) {
      isConflict.value = hasReason(error, 'Conflict');
      problem.value = failureText(error);
      return undefined;
    } finally {
      isBusy.value = false;
    }
  }

  async function check(): Promise<void> {
    const made = await put(true);
    if (made === undefined || base === undefined) return;
    preview.value = { before: comparable(base), after: comparable(made) };
  }

  async function apply(): Promise<void> {
    if ((await put(false)) === undefined) return;
    cancel();
  }

  async function rebase(): Promise<void> {
    const now = live();
    const version = now?.metadata.resourceVersion;
    if (now === undefined || version === undefined) return;
    base = now;
    text.value = text.value?.replace(/^( +resourceVersion: ).*$/m, `$1"${version}"`);
    forget();
    await check();
  }

  function cancel(): void {
    text.value = undefined;
    forget();
  }

  return {
    text,
    preview,
    problem,
    isConflict,
    isBusy,
    begin,
    type: typeText,
    check,
    apply,
    rebase,
    cancel,
  };
}

function isSame(a: KubeObject, b: KubeObject): boolean {
  return (
    a.apiVersion === b.apiVersion &&
    a.kind === b.kind &&
    a.metadata.name === b.metadata.name &&
    (a.metadata.namespace ?? '') === (b.metadata.namespace ?? '')
  );
}

/** Without the counters that every write moves. */
function comparable({ metadata, ...rest }: KubeObject): string {
  const { resourceVersion: _version, generation: _generation, ...shown } = metadata;
  return toYaml([{ ...rest, metadata: shown }]);
}
