// The rules in a schema (x-kubernetes-validations), judged over a whole object: each where its schema
// stands, with `self` and, where the object was something before, `oldSelf`.
// Source: kubernetes apiextensions-apiserver pkg/apiserver/schema/cel/validation.go.
import { Optional, type Environment } from '@marcbachmann/cel-js';
import type { JSONSchemaProps, ValidationRule } from '#kube/api/apiextensions.ts';
import { deepEqual, isObject } from '#kube/machinery/equality.ts';
import { FieldPath, invalid, forbidden, required, type FieldError } from '#kube/machinery/field.ts';
import { childSchema, childSchemas } from '#kube/machinery/structural/structural.ts';
import { correlated, fieldOf } from '#kube/machinery/structural/values.ts';
import { Budget, BudgetError, objectBudget } from '../../cel/budget.ts';
import { createEnvironment } from '../../cel/environment.ts';
import type { Patterns } from '../../cel/patterns.ts';
import { check, compile, errorText, type Program } from '../../cel/program.ts';
import { estimateCost } from '../../cel/cost.ts';
import { sizedOf, sizeOnly } from '../../cel/sizes.ts';
import { resourceFields, TypeDeclarer } from '../../cel/types.ts';
import { escapedName } from '../../cel/field-names.ts';
import { celValue } from '../../cel/values.ts';

interface CompiledRule {
  readonly rule: ValidationRule;
  readonly program: Program;
  readonly message: Program | undefined;
}

/** It was stored, and can't be run all the same: every object fails it, in words. */
interface BrokenRule {
  readonly rule: ValidationRule;
  readonly broken: unknown;
}

/** What is known of an expression of a rule before it runs. Throws a CompileError. */
export type RuleChecker = (
  rule: Pick<ValidationRule, 'optionalOldSelf'>,
  text: string,
) => { readonly type: string; readonly cost: number };

interface Walk {
  readonly path: string;
  readonly value: unknown;
  readonly old: unknown;
  /** The same as expressions see them. */
  readonly self: unknown;
  readonly oldSelf: unknown;
  readonly errors: FieldError[];
}

export class CelRules {
  readonly #env: Environment;
  /** With no variables: what types are declared upon. */
  readonly #functions: Environment;
  readonly #budget = new Budget();
  readonly #compiled = new WeakMap<JSONSchemaProps, readonly (CompiledRule | BrokenRule)[]>();

  constructor(patterns: Patterns) {
    this.#env = createEnvironment(this.#budget, patterns, ['self', 'oldSelf']);
    this.#functions = createEnvironment(this.#budget, patterns, []);
  }

  checker(schema: JSONSchemaProps, isRoot: boolean): RuleChecker {
    const base = this.#functions;
    const declared = base.clone();
    const type = new TypeDeclarer(declared).declare(isRoot ? asResource(schema) : schema);
    declared.registerVariable('self', type);
    const always = declared.clone().registerVariable('oldSelf', type);
    const optional = declared.clone().registerVariable('oldSelf', `optional<${type}>`);
    const sized = sizedOf(isRoot ? asResource(schema) : schema) ?? sizeOnly(1);
    return ({ optionalOldSelf }, text) => {
      const { type: found, parsed } = check(optionalOldSelf === true ? optional : always, text);
      return { type: found, cost: estimateCost(parsed.ast, { self: sized, oldSelf: sized }) };
    };
  }

  validate(schema: JSONSchemaProps, object: unknown, old: unknown): FieldError[] {
    const errors: FieldError[] = [];
    this.#budget.left = objectBudget;
    const { sizes } = this.#budget;
    try {
      this.#node(schema, {
        path: '',
        value: object,
        old,
        self: rootValue(schema, object, sizes),
        oldSelf: old === undefined ? undefined : rootValue(schema, old, sizes),
        errors,
      });
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error;
      errors.push(
        invalid(
          new FieldPath('<nil>'),
          '',
          'validation failed due to running out of cost budget, no further validation rules will be run',
        ),
      );
    }
    return errors;
  }

  #node(schema: JSONSchemaProps, walk: Walk): void {
    const { value, old, self, oldSelf, path } = walk;
    if (value === null || !hasRules(schema)) return;
    const isUnchanged = old !== undefined && deepEqual(value, old);
    for (const compiled of this.#rulesOf(schema))
      if ('broken' in compiled) walk.errors.push(evaluationError(schema, walk, compiled));
      else if (!isUnchanged || compiled.program.usesOldSelf) this.#judge(schema, compiled, walk);
    if (Array.isArray(value)) {
      const { items } = schema;
      if (items === undefined) return;
      const before = correlated(schema, old);
      for (const [index, item] of value.entries()) {
        const oldItem = before(item);
        const at = oldItem === undefined ? -1 : (old as unknown[]).indexOf(oldItem);
        this.#node(items, {
          ...walk,
          path: `${path}[${index}]`,
          value: item,
          old: oldItem,
          self: (self as unknown[])[index],
          oldSelf: at < 0 ? undefined : (oldSelf as unknown[])[at],
        });
      }
    } else if (isObject(value)) this.#fields(schema, walk, value);
  }

  #fields(schema: JSONSchemaProps, walk: Walk, value: Record<string, unknown>): void {
    const isMap = schema.additionalProperties !== undefined;
    for (const key of Object.keys(value)) {
      const child = childSchema(schema, key);
      if (child === undefined || child === true) continue;
      const name = isMap ? key : escapedName(key);
      if (name === undefined) continue;
      this.#node(child, {
        ...walk,
        path: walk.path === '' ? key : isMap ? `${walk.path}[${key}]` : `${walk.path}.${key}`,
        value: value[key],
        old: fieldOf(walk.old, key),
        self: walk.self instanceof Map ? walk.self.get(name) : undefined,
        oldSelf: walk.oldSelf instanceof Map ? walk.oldSelf.get(name) : undefined,
      });
    }
  }

  #rulesOf(schema: JSONSchemaProps): readonly (CompiledRule | BrokenRule)[] {
    const known = this.#compiled.get(schema);
    if (known !== undefined) return known;
    const left = this.#budget.left;
    const compiled = (schema['x-kubernetes-validations'] ?? []).map((rule) => this.#compile(rule));
    this.#budget.left = left;
    this.#compiled.set(schema, compiled);
    return compiled;
  }

  #compile(rule: ValidationRule): CompiledRule | BrokenRule {
    const { messageExpression } = rule;
    try {
      const program = compile(this.#env, this.#budget, rule.rule);
      const message =
        messageExpression === undefined
          ? undefined
          : compile(this.#env, this.#budget, messageExpression);
      return { rule, program, message };
    } catch (broken) {
      if (broken instanceof BudgetError) throw broken;
      return { rule, broken };
    }
  }

  #judge(schema: JSONSchemaProps, { rule, program, message }: CompiledRule, walk: Walk): void {
    const variables: Record<string, unknown> = { self: walk.self };
    if (program.usesOldSelf) {
      if (rule.optionalOldSelf === true)
        variables['oldSelf'] =
          walk.oldSelf === undefined ? Optional.none() : Optional.of(walk.oldSelf);
      else if (walk.oldSelf === undefined) return;
      else variables['oldSelf'] = walk.oldSelf;
    }
    const type = schema.type ?? 'object';
    let result: unknown;
    try {
      result = program.run(variables);
    } catch (error) {
      if (error instanceof BudgetError) throw error;
      walk.errors.push(evaluationError(schema, walk, { rule, broken: error }));
      return;
    }
    if (result === true) return;
    const text = this.#messageOf(rule, message, variables);
    walk.errors.push(failure(rule, fieldPath(walk.path, rule.fieldPath), type, text));
  }

  #messageOf(
    rule: ValidationRule,
    expression: Program | undefined,
    variables: Record<string, unknown>,
  ): string {
    if (expression === undefined) return defaultMessage(rule);
    try {
      const text = expression.run({ oldSelf: undefined, ...variables });
      if (typeof text === 'string' && text.trim() !== '' && !text.includes('\n'))
        return text.trim();
    } catch (error) {
      if (error instanceof BudgetError) throw error;
    }
    return defaultMessage(rule);
  }
}

function evaluationError(
  { type = 'object' }: JSONSchemaProps,
  { path }: Walk,
  { rule, broken }: BrokenRule,
): FieldError {
  const why = `${errorText(broken)} evaluating rule: ${defaultMessage(rule)}`;
  return invalid(new FieldPath(path === '' ? '<nil>' : path), type, why);
}

function asResource(schema: JSONSchemaProps): JSONSchemaProps {
  return { ...schema, properties: { ...schema.properties, ...resourceFields } };
}

/** The root has the fields of every object, whatever its schema says. */
function rootValue(
  schema: JSONSchemaProps,
  object: unknown,
  sizes: WeakMap<object, number>,
): unknown {
  const { apiVersion, kind, metadata, ...rest } = object as Record<string, unknown>;
  const declared = schema.properties ?? {};
  const known = Object.fromEntries(
    Object.entries(rest).filter(([key]) => Object.hasOwn(declared, key)),
  );
  const { name, generateName } = isObject(metadata) ? metadata : {};
  const shown = {
    ...(name === undefined ? {} : { name }),
    ...(generateName === undefined ? {} : { generateName }),
  };
  return celValue(schema, { ...known, apiVersion, kind, metadata: shown }, sizes);
}

function defaultMessage({ rule, message }: ValidationRule): string {
  const given = (message ?? '').trim();
  return given === '' ? `failed rule: ${rule.trim()}` : given;
}

function fieldPath(base: string, relative: string | undefined): FieldPath {
  const whole = `${base}${relative ?? ''}`.replace(/^\./, '').replaceAll(/\['([^']*)'\]/g, '[$1]');
  return new FieldPath(whole === '' ? '<nil>' : whole);
}

function failure(rule: ValidationRule, path: FieldPath, type: string, message: string): FieldError {
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return forbidden(path, message);
    case 'FieldValueRequired':
      return required(path, message);
    case 'FieldValueDuplicate':
      return {
        ...invalid(path, type, message),
        type: 'FieldValueDuplicate',
        message: `Duplicate value: ${JSON.stringify(type)}`,
      };
    default:
      return invalid(path, type, message);
  }
}

const ruled = new WeakMap<JSONSchemaProps, boolean>();

/** Whether there is a rule here or below. */
function hasRules(schema: JSONSchemaProps): boolean {
  const known = ruled.get(schema);
  if (known !== undefined) return known;
  const found =
    (schema['x-kubernetes-validations'] ?? []).length > 0 || childSchemas(schema).some(hasRules);
  ruled.set(schema, found);
  return found;
}
