// What holds whatever is applied: random configurations of a Deployment by random managers.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import apps from '../../../../resources/schema/apps.v1.json' with { type: 'json' };
import core from '../../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../../resources/schema/meta.v1.json' with { type: 'json' };
import type { KubeObject } from '../../api/object.ts';
import { deepEqual } from '../equality.ts';
import { SchemaRegistry } from '../schema.ts';
import { StatusError } from '../status.ts';
import { FieldManager, type Writer } from './field-manager.ts';
import { settledAlike } from './versions.ts';
import { difference, intersection, isEmptySet, union, type FieldSet } from './field-set.ts';
import { readOwners } from './manager-entries.ts';
import { Shapes } from './shapes.ts';
import { compare, fieldsOf } from './typed-value.ts';

const kind = 'apps/v1.Deployment';
const schemas = new SchemaRegistry([apps, core, meta]);
const schema = schemas.get(kind);
const shapes = new Shapes(schemas);
const fields = new FieldManager(schemas);
/** With all versions alike. */
const settled = {
  apply: (...given: Parameters<FieldManager['apply']>) =>
    settledAlike(fields.apply(...given), kind),
};
const runs = { numRuns: 60 };

function by(manager: string): Writer {
  const time = '2026-01-01T00:00:00Z';
  return { manager, apiVersion: 'apps/v1', subresource: '', resetFields: {}, time };
}

const optional = { requiredKeys: [] };
/** An empty list of items is nobody's field: it may be gone with the last item. */
const notEmpty = { minLength: 1 };
const text = fc.constantFrom('a', 'b', 'c');
const port = fc.record({
  containerPort: fc.constantFrom(80, 81),
  protocol: fc.constantFrom('TCP', 'UDP'),
});
const container = fc.record(
  {
    name: text,
    image: text,
    resources: fc.constantFrom({}, { limits: { cpu: '1' } }),
    ports: fc.uniqueArray(port, {
      minLength: 1,
      maxLength: 2,
      selector: (p) => `${p.containerPort}${p.protocol}`,
    }),
    args: fc.array(text, { maxLength: 2 }),
  },
  { requiredKeys: ['name'] },
);
const labels = fc.dictionary(text, text, { maxKeys: 3 });
const configuration = fc
  .record({
    metadata: fc.record(
      { labels, finalizers: fc.uniqueArray(fc.constantFrom('x/a', 'x/b', 'x/c'), notEmpty) },
      optional,
    ),
    spec: fc.record(
      {
        replicas: fc.nat(3),
        paused: fc.boolean(),
        selector: fc.record({ matchLabels: labels }, optional),
        strategy: fc.record(
          { type: text, rollingUpdate: fc.record({ maxSurge: fc.nat(2) }) },
          optional,
        ),
        template: fc.record(
          {
            metadata: fc.record({ labels }, optional),
            spec: fc.record(
              {
                containers: fc.uniqueArray(container, {
                  minLength: 1,
                  maxLength: 3,
                  selector: ({ name }) => name,
                }),
                nodeSelector: labels,
              },
              optional,
            ),
          },
          optional,
        ),
      },
      optional,
    ),
  })
  .map(({ metadata, spec }) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', ...metadata },
    spec,
  }));

type Config = ReturnType<typeof configuration.generate>['value'];

function apply(
  live: KubeObject | undefined,
  manager: string,
  config: Config,
  isForced = true,
): KubeObject {
  const result = settled.apply(kind, { live, config, isForced }, by(manager));
  const object = structuredClone(result.object) as unknown as KubeObject;
  object.metadata ??= { name: 'web' };
  if (result.managedFields !== undefined) object.metadata.managedFields = result.managedFields;
  return object;
}

const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), configuration), {
  minLength: 1,
  maxLength: 6,
});

function run(history: readonly [string, Config][]): KubeObject | undefined {
  let object: KubeObject | undefined;
  for (const [manager, config] of history) object = apply(object, manager, config);
  return object;
}

function ownedBy(object: KubeObject, manager: string): FieldSet {
  const owners = readOwners(object.metadata.managedFields) ?? new Map();
  return [...owners.values()]
    .filter((owner) => owner.manager === manager)
    .reduce((sum, owner) => union(sum, owner.fields), {} as FieldSet);
}

/** Every field that an object has, with containers. */
function presentIn(object: KubeObject): FieldSet {
  return compare(shapes, schema, { old: {}, next: object }).added;
}

describe('applying', () => {
  it('the same twice changes nothing', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom('a', 'b'), configuration, (history, manager, config) => {
        const once = apply(run(history), manager, config);
        expect(apply(once, manager, config, false)).toEqual(once);
      }),
      runs,
    );
  });

  it('makes nobody own what is not there', () => {
    fc.assert(
      fc.property(steps, (history) => {
        const object = run(history) as KubeObject;
        for (const manager of ['a', 'b', 'c'])
          expect(difference(ownedBy(object, manager), presentIn(object))).toEqual({});
      }),
      runs,
    );
  });

  it('gives what it says, whatever was there', () => {
    fc.assert(
      fc.property(steps, configuration, (history, config) => {
        const object = apply(run(history), 'a', config);
        const { added, modified } = compare(shapes, schema, { old: object, next: config });
        // An empty struct that is said next to one that is not empty adds nothing to it.
        expect([added, modified]).toEqual([{}, {}]);
      }),
      runs,
    );
  });

  it('what has no field in common with the others never conflicts', () => {
    fc.assert(
      fc.property(configuration, configuration, (one, other) => {
        const object = apply(undefined, 'a', one);
        const common = intersection(fieldsOf(shapes, schema, one), fieldsOf(shapes, schema, other));
        const values = { old: object, next: apply(object, 'b', other) };
        const { added, modified } = compare(shapes, schema, values);
        const isDisjoint = isEmptySet(intersection(common, union(added, modified)));
        let conflicted = false;
        try {
          apply(object, 'b', other, false);
        } catch (error) {
          if (!(error instanceof StatusError) || error.code !== 409) throw error;
          conflicted = true;
        }
        expect(conflicted).toBe(!isDisjoint);
      }),
      runs,
    );
  });

  it('without a field removes it if and only if nobody else owns it', () => {
    const leaves = ['replicas', 'paused'] as const;
    fc.assert(
      fc.property(steps, configuration, fc.constantFrom(...leaves), (history, config, leaf) => {
        const before = apply(run(history), 'a', config);
        const { [leaf]: _, ...spec } = config.spec;
        const after = apply(before, 'a', { ...config, spec });
        const path = (set: FieldSet) => set['f:spec']?.[`f:${leaf}`] !== undefined;
        const isOwned = path(ownedBy(before, 'b')) || path(ownedBy(before, 'c'));
        const value = (object: KubeObject) => (object as unknown as Config).spec?.[leaf];
        const wanted = path(ownedBy(before, 'a')) && !isOwned ? undefined : value(before);
        expect(value(after)).toBe(wanted);
      }),
      runs,
    );
  });

  it('nothing any more leaves what the others applied alone', () => {
    fc.assert(
      fc.property(configuration, configuration, (one, other) => {
        const empty = { ...one, metadata: { name: 'web' } } as Omit<Config, 'spec'>;
        delete (empty as Partial<Config>).spec;
        const alone = apply(undefined, 'a', one);
        const both = apply(alone, 'b', other);
        const again = apply(both, 'b', empty as Config);
        const rest = ownedBy(again, 'a');
        // What b had taken by force from a is gone with it; all that is still a's has stayed.
        expect(difference(rest, presentIn(again))).toEqual({});
        expect(isEmptySet(ownedBy(again, 'b'))).toBe(true);
      }),
      runs,
    );
  });
});

describe('field sets', () => {
  it('reckon as sets do', () => {
    fc.assert(
      fc.property(configuration, configuration, (one, other) => {
        const [a, b] = [fieldsOf(shapes, schema, one), fieldsOf(shapes, schema, other)];
        const whole = union(difference(a, b), intersection(a, b));
        expect(deepEqual(whole, a)).toBe(true);
        expect(deepEqual(union(a, b), union(b, a))).toBe(true);
        expect(isEmptySet(intersection(difference(a, b), b))).toBe(true);
      }),
      runs,
    );
  });
});
