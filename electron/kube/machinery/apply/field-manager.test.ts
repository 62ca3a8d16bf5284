import { describe, expect, it } from 'vitest';
import apps from '../../../../resources/schema/apps.v1.json' with { type: 'json' };
import core from '../../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../../resources/schema/meta.v1.json' with { type: 'json' };
import type { KubeObject } from '../../api/object.ts';
import { SchemaRegistry } from '../schema.ts';
import { StatusError } from '../status.ts';
import { FieldManager, type Writer } from './field-manager.ts';
import { fieldSet, pathsOf, pathText, readFieldSet } from './field-set.ts';
import { settledAlike, type Converting, type Versioned } from './versions.ts';

const fields = new FieldManager(new SchemaRegistry([apps, core, meta]));
const kind = 'apps/v1.Deployment';
/** With all versions alike. */
const settled = {
  apply: (...given: Parameters<FieldManager['apply']>) =>
    settledAlike(fields.apply(...given), kind),
  update: (...given: Parameters<FieldManager['update']>) =>
    settledAlike(fields.update(...given), kind),
};

function by(manager: string, more: Partial<Writer> = {}): Writer {
  const time = '2026-01-01T00:00:00Z';
  return { manager, apiVersion: 'apps/v1', subresource: '', resetFields: {}, time, ...more };
}

type Json = ReturnType<typeof JSON.parse>;

function config(spec: object, metadata: object = {}): Json {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'default', ...metadata },
    spec,
  };
}

/** What is stored after `manager` applied `given`; throws what a client would get. */
function apply(live: Json, manager: string, given: Json, isForced = false): Json {
  const writer = by(manager);
  const result = settled.apply(kind, { live, config: given, isForced }, writer);
  const object = structuredClone(result.object) as Json;
  object.metadata.managedFields = result.managedFields;
  return object;
}

function update(old: Json, manager: string, change: (object: Json) => void): Json {
  const next = structuredClone(old);
  change(next);
  next.metadata.managedFields = settled.update(kind, { old, next }, by(manager));
  return next;
}

/** `manager operation` → its fields as texts. */
function owned(object: KubeObject): Record<string, string[]> {
  const entries = object.metadata.managedFields ?? [];
  return Object.fromEntries(
    entries.map(({ manager = '', operation = '', fieldsV1 }) => [
      `${manager} ${operation}`,
      pathsOf(readFieldSet(fieldsV1) ?? {}).map(pathText),
    ]),
  );
}

function refusal(attempt: () => unknown): Json {
  try {
    attempt();
  } catch (error) {
    if (error instanceof StatusError) return error.status;
    throw error;
  }
  return undefined;
}

const container = (more: object = {}) => ({ name: 'nginx', image: 'nginx:1', ...more });
const template = (...containers: object[]) => ({ template: { spec: { containers } } });

describe('an applied configuration', () => {
  it('owns what it says and no more', () => {
    const object = apply(
      undefined,
      'a',
      config({
        replicas: 1,
        selector: { matchLabels: { app: 'web' } },
        ...template(container({ ports: [{ containerPort: 80 }], resources: {} })),
      }),
    );
    expect(object.metadata.managedFields).toEqual([
      {
        manager: 'a',
        operation: 'Apply',
        apiVersion: 'apps/v1',
        time: '2026-01-01T00:00:00Z',
        fieldsType: 'FieldsV1',
        fieldsV1: {
          'f:spec': {
            'f:replicas': {},
            'f:selector': {},
            'f:template': {
              'f:spec': {
                'f:containers': {
                  'k:{"name":"nginx"}': {
                    '.': {},
                    'f:image': {},
                    'f:name': {},
                    'f:ports': {
                      'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} },
                    },
                    'f:resources': {},
                  },
                },
              },
            },
          },
        },
      },
    ]);
  });

  it('takes away what it no longer says, with what nobody owns in it', () => {
    const first = apply(
      undefined,
      'a',
      config({ replicas: 1, strategy: { type: 'Recreate' }, ...template(container()) }),
    );
    // Defaults: nobody owns them.
    first.spec.revisionHistoryLimit = 10;
    first.spec.template.spec.containers[0].imagePullPolicy = 'Always';
    const second = apply(first, 'a', config({ replicas: 1, ...template({ name: 'b' }) }));
    expect(second.spec).toEqual({
      replicas: 1,
      revisionHistoryLimit: 10,
      template: { spec: { containers: [{ name: 'b' }] } },
    });
  });

  it('leaves what another owns as well, until that one lets go', () => {
    const one = apply(undefined, 'a', config({ replicas: 3, paused: true }));
    const two = apply(one, 'b', config({ replicas: 3 }));
    const three = apply(two, 'a', config({ paused: true }));
    expect(three.spec).toEqual({ replicas: 3, paused: true });
    expect(owned(three)).toEqual({ 'a Apply': ['.spec.paused'], 'b Apply': ['.spec.replicas'] });
    expect(apply(three, 'b', config({})).spec).toEqual({ paused: true });
  });

  it('that changes what others own is refused with a cause for each field', () => {
    const one = apply(undefined, 'a', config({ replicas: 1, ...template(container()) }));
    const two = update(one, 'scaler', (object) => {
      object.spec.replicas = 3;
    });
    expect(owned(two)['scaler Update']).toEqual(['.spec.replicas']);
    const next = config({ replicas: 5, ...template(container({ image: 'nginx:2' })) });
    expect(refusal(() => apply(two, 'b', next))).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      code: 409,
      reason: 'Conflict',
      message:
        'Apply failed with 2 conflicts: conflicts with "a":\n' +
        '- .spec.template.spec.containers[name="nginx"].image\n' +
        'conflicts with "scaler" using apps/v1:\n' +
        '- .spec.replicas',
      details: {
        causes: [
          {
            reason: 'FieldManagerConflict',
            message: 'conflict with "a"',
            field: '.spec.template.spec.containers[name="nginx"].image',
          },
          {
            reason: 'FieldManagerConflict',
            message: 'conflict with "scaler" using apps/v1',
            field: '.spec.replicas',
          },
        ],
      },
    });
    const forced = apply(two, 'b', next, true);
    expect(forced.spec.replicas).toBe(5);
    expect(owned(forced)['scaler Update']).toBeUndefined();
    expect(owned(forced)['a Apply']).toContain('.spec.template.spec.containers[name="nginx"].name');
    expect(owned(forced)['a Apply']).not.toContain('.spec.replicas');
  });

  it('names a single conflict in one line', () => {
    const one = apply(undefined, 'a', config({ replicas: 1 }));
    expect(refusal(() => apply(one, 'b', config({ replicas: 2 }))).message).toBe(
      'Apply failed with 1 conflict: conflict with "a": .spec.replicas',
    );
  });

  it('says the same as what is there: no conflict, one owner more', () => {
    const one = apply(undefined, 'a', config({ replicas: 1 }));
    expect(owned(apply(one, 'b', config({ replicas: 1 })))).toEqual({
      'a Apply': ['.spec.replicas'],
      'b Apply': ['.spec.replicas'],
    });
  });

  it('spells a quantity otherwise: still the same', () => {
    const cpu = (text: unknown) =>
      config(template(container({ resources: { limits: { cpu: text } } })));
    const one = apply(undefined, 'a', cpu('1'));
    expect(apply(one, 'b', cpu('1000m')).spec).toEqual(one.spec);
    expect(refusal(() => apply(one, 'b', cpu(2))).reason).toBe('Conflict');
    // What is none is refused when it is decoded.
    expect(apply(undefined, 'a', cpu('much')).spec).toEqual(cpu('much').spec);
  });

  it('keeps the order of its items; those of others stay where they were', () => {
    const names = (object: Json): string[] =>
      object.spec.template.spec.containers.map(({ name }: Json) => name);
    const one = apply(undefined, 'a', config(template({ name: 'x' }, { name: 'y' })));
    const two = apply(one, 'b', config(template({ name: 'z' }, { name: 'x' })));
    expect(names(two)).toEqual(['z', 'x', 'y']);
    expect(names(apply(two, 'a', config(template({ name: 'y' }, { name: 'x' }))))).toEqual([
      'z',
      'y',
      'x',
    ]);
  });

  it('removes by null, which it owns', () => {
    const one = apply(undefined, 'a', config({ replicas: 1, paused: true }));
    const two = apply(one, 'a', config({ replicas: 1, paused: null }));
    expect(two.spec).toEqual({ replicas: 1, paused: null });
    expect(owned(two)['a Apply']).toContain('.spec.paused');
  });

  it('on an object whose owners are unknown: they are before-first-apply', () => {
    const live = config({ replicas: 1, paused: true });
    const next = config({ replicas: 2 });
    expect(refusal(() => apply(live, 'a', next)).message).toBe(
      'Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas',
    );
    expect(owned(apply(live, 'a', next, true))).toEqual({
      'a Apply': ['.spec.replicas'],
      'before-first-apply Update': ['.spec.paused'],
    });
  });

  it("may change what kubectl's client-side apply has left, if kubectl applies it", () => {
    const annotations = (applied: object) => ({
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(applied) },
    });
    const before = config({ replicas: 1, ...template(container()) });
    const created = { ...before, metadata: { ...before.metadata, ...annotations(before) } };
    created.metadata.managedFields = settled.update(
      kind,
      { old: undefined, next: created },
      by('kubectl-client-side-apply'),
    );
    const next = config({ replicas: 2, ...template(container()) });
    expect(refusal(() => apply(created, 'other', next)).reason).toBe('Conflict');
    const applied = apply(created, 'kubectl', next);
    expect(applied.spec.replicas).toBe(2);
    const text = applied.metadata.annotations['kubectl.kubernetes.io/last-applied-configuration'];
    expect(JSON.parse(text)).toEqual(next);
    // What was changed since is not what client-side apply has left.
    const scaled = update(created, 'scaler', (object) => {
      object.spec.replicas = 7;
    });
    expect(refusal(() => apply(scaled, 'kubectl', next)).message).toBe(
      'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas',
    );
  });

  const wrong = [
    { name: 'an unknown field', spec: { foo: 1 }, want: '.spec.foo: field not declared in schema' },
    {
      name: 'a number for a text',
      spec: template({ name: 'a', image: 1 }),
      want: '.spec.template.spec.containers[name="a"].image: expected string, got &value.valueUnstructured{Value:1}',
    },
    {
      name: 'a text for a number',
      spec: { replicas: 'x' },
      want: '.spec.replicas: expected numeric (int or float), got string',
    },
    {
      name: 'an item twice',
      spec: template({ name: 'a' }, { name: 'a' }),
      want: '.spec.template.spec.containers: duplicate entries for key [name="a"]',
    },
    {
      name: 'an item without its key',
      spec: template({ image: 'x' }),
      want: `.spec.template.spec.containers: element 0: associative list with keys has an element that omits key field "name" (and doesn't have default value)`,
    },
    {
      name: 'a text for a list, and more',
      spec: { paused: 1, ...template(), selector: 'x' },
      want: 'errors:\n  .spec.paused: expected boolean, got 1\n  .spec.selector: expected map, got x',
    },
  ];
  it.each(wrong)('is refused with $name', ({ spec, want }) => {
    const { code, message } = refusal(() => apply(undefined, 'a', config(spec)));
    expect([code, message]).toEqual([
      400,
      `failed to create typed patch object (default/web; apps/v1, Kind=Deployment): ${want}`,
    ]);
  });

  it('must not say who owns what', () => {
    const given = config({}, { managedFields: [] });
    expect(refusal(() => apply(undefined, 'a', given)).message).toBe(
      'metadata.managedFields must be nil',
    );
  });
});

describe('an ordinary write', () => {
  it('owns all that it creates, but not what names the object or is always there', () => {
    const created = config(
      {
        replicas: 1,
        selector: { matchLabels: { app: 'web' } },
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } },
        ...template(container()),
      },
      { labels: { app: 'web' }, generation: 1, uid: 'u' },
    );
    const entries = settled.update(kind, { old: undefined, next: created }, by('kubectl-create'));
    expect(entries?.map(({ fieldsV1 }) => fieldsV1)).toEqual([
      {
        'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
        'f:spec': {
          'f:replicas': {},
          'f:selector': {},
          'f:strategy': { 'f:rollingUpdate': { '.': {}, 'f:maxSurge': {} }, 'f:type': {} },
          'f:template': {
            'f:spec': {
              'f:containers': { 'k:{"name":"nginx"}': { '.': {}, 'f:image': {}, 'f:name': {} } },
            },
          },
        },
      },
    ]);
  });

  it('takes over what it changes, adds to what it owned, and loses what it removes', () => {
    const one = apply(undefined, 'a', config({ replicas: 1, paused: true }));
    const two = update(one, 'b', ({ spec }) => {
      spec.replicas = 2;
      delete spec.paused;
    });
    expect(owned(two)).toEqual({ 'b Update': ['.spec.replicas'] });
    const three = update(two, 'b', ({ spec }) => {
      spec.minReadySeconds = 5;
    });
    expect(owned(three)).toEqual({ 'b Update': ['.spec.minReadySeconds', '.spec.replicas'] });
  });

  it('that changes nothing leaves times and owners alone', () => {
    const one = apply(undefined, 'a', config({ replicas: 1 }));
    const later = by('b', { time: '2027-01-01T00:00:00Z' });
    const entries = settled.update(kind, { old: one, next: structuredClone(one) }, later);
    expect(entries).toEqual(one.metadata.managedFields);
  });

  it('of an object nobody is tracked of does not begin to track it', () => {
    const live = config({ replicas: 1 });
    const next = config({ replicas: 2 });
    expect(settled.update(kind, { old: live, next }, by('a'))).toBeUndefined();
  });

  it.each([[[]], [[{}]]])('with managedFields %j lets go of all owners', (managedFields) => {
    const old = apply(undefined, 'a', config({ replicas: 1 }));
    const next = { ...old, metadata: { ...old.metadata, managedFields } };
    expect(settled.update(kind, { old, next }, by('b'))).toBeUndefined();
  });

  it('with managedFields that are none, or none at all, keeps the owners there are', () => {
    const old = apply(undefined, 'a', config({ replicas: 1 }));
    for (const managedFields of [undefined, [{ operation: 'Nonsense' }]]) {
      const next = { ...old, metadata: { ...old.metadata, managedFields } };
      expect(settled.update(kind, { old, next }, by('b'))).toEqual(old.metadata.managedFields);
    }
  });

  it('may say itself who owns what', () => {
    const old = apply(undefined, 'a', config({ replicas: 1 }));
    const [entry] = old.metadata.managedFields;
    const managedFields = [{ ...entry, manager: 'renamed' }];
    const next = { ...old, metadata: { ...old.metadata, managedFields } };
    expect(settled.update(kind, { old, next }, by('b'))).toEqual(managedFields);
    // Not through a subresource.
    const through = by('b', { subresource: 'status' });
    expect(settled.update(kind, { old, next }, through)).toEqual(old.metadata.managedFields);
  });

  it('through a subresource has an entry of its own, without what it can not change', () => {
    const old = apply(undefined, 'a', config({ replicas: 1 }));
    const next = structuredClone(old);
    next.status = { replicas: 1 };
    next.spec.replicas = 9;
    const writer = by('b', { subresource: 'status', resetFields: fieldSet(['f:spec']) });
    expect(settled.update(kind, { old, next }, writer)?.at(-1)).toEqual({
      manager: 'b',
      operation: 'Update',
      apiVersion: 'apps/v1',
      time: '2026-01-01T00:00:00Z',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:status': { '.': {}, 'f:replicas': {} } },
      subresource: 'status',
    });
  });

  it('by the eleventh updater puts the oldest ones together', () => {
    let object = apply(undefined, 'a', config({ replicas: 1 }));
    for (let index = 0; index < 12; index++) {
      const next = structuredClone(object);
      next.metadata.annotations = { ...next.metadata.annotations, [`key-${index}`]: 'x' };
      const time = `2026-01-01T00:00:${String(10 + index)}Z`;
      const entries = settled.update(kind, { old: object, next }, by(`m${index}`, { time }));
      next.metadata.managedFields = entries;
      object = next;
    }
    const all = owned(object);
    expect(Object.keys(all)).toEqual([
      'a Apply',
      'ancient-changes Update',
      ...[3, 4, 5, 6, 7, 8, 9, 10, 11].map((index) => `m${index} Update`),
    ]);
    expect(all['ancient-changes Update']).toEqual([
      '.metadata.annotations',
      '.metadata.annotations.key-0',
      '.metadata.annotations.key-1',
      '.metadata.annotations.key-2',
    ]);
  });
});

describe('an owner in another version', () => {
  const other = 'apps/v0';
  /** There `paused` is `stopped`; minReadySeconds there is none. */
  function settle<T>(work: Converting<T>, isServed = true): T {
    let step = work.next();
    while (step.done !== true) {
      const { object, apiVersion } = step.value;
      step = work.next(isServed ? inVersion(object, apiVersion) : undefined);
    }
    return step.value;
  }
  function inVersion(object: object, apiVersion: string): Versioned {
    const made = structuredClone(object) as Json;
    const [from, to] =
      apiVersion === other
        ? ['paused', 'progressDeadlineSeconds']
        : ['progressDeadlineSeconds', 'paused'];
    if (made.apiVersion !== apiVersion && made.spec?.[from] !== undefined) {
      made.spec[to] = apiVersion === other ? Number(made.spec[from]) : made.spec[from] === 1;
      delete made.spec[from];
    }
    return { object: { ...made, apiVersion }, schema: kind };
  }
  const entry = (manager: string, operation: string, path: string) => ({
    manager,
    operation,
    apiVersion: other,
    fieldsType: 'FieldsV1',
    fieldsV1: { 'f:spec': { [`f:${path}`]: {} } },
  });
  const stored = (...managedFields: object[]): Json =>
    config({ paused: true, replicas: 3 }, { managedFields });
  const applyAs = (live: Json, spec: object, given = {}, isServed = true) =>
    settle(
      fields.apply(kind, { live, config: config(spec), isForced: false, ...given }, by('b')),
      isServed,
    );

  it('is in conflict about what its fields are here, by their names there', () => {
    const live = stored(entry('a', 'Update', 'progressDeadlineSeconds'));
    expect(refusal(() => applyAs(live, { paused: false })).details.causes).toEqual([
      {
        reason: 'FieldManagerConflict',
        message: 'conflict with "a" using apps/v0',
        field: '.spec.progressDeadlineSeconds',
      },
    ]);
    expect(applyAs(live, { paused: true, replicas: 4 }).managedFields).toHaveLength(2);
  });

  it('loses what is taken from it', () => {
    const live = stored(
      entry('a', 'Update', 'progressDeadlineSeconds'),
      entry('c', 'Update', 'replicas'),
    );
    const { managedFields = [] } = applyAs(live, { paused: false }, { isForced: true });
    expect(new Set(managedFields.map(({ manager }) => manager))).toEqual(new Set(['b', 'c']));
    const next = structuredClone(live);
    next.spec.paused = false;
    const entries = settle(fields.update(kind, { old: live, next }, by('b'))) ?? [];
    expect(new Set(entries.map(({ manager }) => manager))).toEqual(new Set(['b', 'c']));
  });

  it('takes away here what it applied there and no longer applies', () => {
    const live = stored(entry('b', 'Apply', 'progressDeadlineSeconds'));
    const { object } = applyAs(live, { replicas: 3 }) as Json;
    expect(object.spec).toEqual({ replicas: 3 });
    const shared = stored(
      entry('b', 'Apply', 'progressDeadlineSeconds'),
      entry('a', 'Update', 'progressDeadlineSeconds'),
    );
    expect((applyAs(shared, { replicas: 3 }).object as Json).spec).toEqual({
      paused: true,
      replicas: 3,
    });
  });

  it('is forgotten with its version', () => {
    const live = stored(entry('a', 'Update', 'progressDeadlineSeconds'));
    const { managedFields = [] } = applyAs(live, { paused: false }, {}, false);
    expect(managedFields.map(({ manager }) => manager)).toEqual(['b']);
  });
});
