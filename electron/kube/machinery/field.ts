// Field paths and field errors: what a 422 Invalid answer is made of, in Kubernetes' wording.
// Source: kubernetes apimachinery pkg/util/validation/field/{path,errors}.go.

/** The path of a field as clients see it: `spec.containers[0].ports[http].name`. */
export class FieldPath {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  child(...names: readonly string[]): FieldPath {
    const tail = names.join('.');
    return new FieldPath(this.#text === '' ? tail : `${this.#text}.${tail}`);
  }

  index(index: number): FieldPath {
    return new FieldPath(`${this.#text}[${index}]`);
  }

  key(key: string): FieldPath {
    return new FieldPath(`${this.#text}[${key}]`);
  }

  toString(): string {
    return this.#text;
  }
}

export function field(...names: readonly string[]): FieldPath {
  return new FieldPath(names.join('.'));
}

export type FieldErrorType =
  | 'FieldValueNotFound'
  | 'FieldValueRequired'
  | 'FieldValueDuplicate'
  | 'FieldValueInvalid'
  | 'FieldValueNotSupported'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'FieldValueTypeInvalid'
  | 'InternalError';

export interface FieldError {
  readonly type: FieldErrorType;
  readonly field: string;
  /** Without the field: `Invalid value: -1: must be greater than or equal to 0`. */
  readonly message: string;
}

/** `<field>: <message>`, as it stands in Status.message. */
export function fieldErrorText(error: FieldError): string {
  return `${error.field}: ${error.message}`;
}

export function required(path: FieldPath, detail: string): FieldError {
  return make('FieldValueRequired', path, withDetail('Required value', detail));
}

export function invalid(path: FieldPath, value: unknown, detail: string): FieldError {
  return make('FieldValueInvalid', path, withDetail(`Invalid value: ${show(value)}`, detail));
}

/** For a value that is not worth showing: a whole object or list. */
export function invalidForm(path: FieldPath, detail: string): FieldError {
  return make('FieldValueInvalid', path, withDetail('Invalid value', detail));
}

export function typeInvalid(path: FieldPath, value: unknown, detail: string): FieldError {
  return make('FieldValueTypeInvalid', path, withDetail(`Invalid value: ${show(value)}`, detail));
}

export function duplicate(path: FieldPath, value: unknown): FieldError {
  return make('FieldValueDuplicate', path, `Duplicate value: ${show(value)}`);
}

export function forbidden(path: FieldPath, detail: string): FieldError {
  return make('FieldValueForbidden', path, withDetail('Forbidden', detail));
}

export function notFound(path: FieldPath, value: unknown): FieldError {
  return make('FieldValueNotFound', path, `Not found: ${show(value)}`);
}

export function notSupported(
  path: FieldPath,
  value: unknown,
  supported: readonly string[],
): FieldError {
  const list = supported.map((entry) => JSON.stringify(entry)).join(', ');
  const detail = supported.length === 0 ? '' : `supported values: ${list}`;
  return make(
    'FieldValueNotSupported',
    path,
    withDetail(`Unsupported value: ${show(value)}`, detail),
  );
}

export function tooLong(path: FieldPath, maxLength: number): FieldError {
  return make('FieldValueTooLong', path, `Too long: may not be more than ${maxLength} bytes`);
}

export function tooMany(path: FieldPath, actual: number, maxItems: number): FieldError {
  return make(
    'FieldValueTooMany',
    path,
    `Too many: ${actual}: must have at most ${maxItems} items`,
  );
}

function make(type: FieldErrorType, path: FieldPath, message: string): FieldError {
  return { type, field: path.toString(), message };
}

function withDetail(message: string, detail: string): string {
  return detail === '' ? message : `${message}: ${detail}`;
}

/** Go's `%#v`-like form: strings quoted, scalars bare, the rest as JSON. */
function show(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  return JSON.stringify(value);
}
