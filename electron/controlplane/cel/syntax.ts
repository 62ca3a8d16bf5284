// Syntax of CEL that the library's parser does not read: messages (`Object.spec{replicas: 1}`), and what is left
// out where it has no value (`[?x]`, `{?key: x}`, `Object{?spec: x}`). The parser's methods are those of all
// environments and are taught once; messages.test.ts fails should they move.
// Source: cel-spec doc/langdef.md (syntax), cel-go checker/checker.go (checkCreateStruct, checkCreateList).
import { Environment, Optional } from '@marcbachmann/cel-js';
import { celTypeName } from './compile-error.ts';
import { messageType, type MessageType } from './messages.ts';

/** Of the library's lexer. */
const token = {
  identifier: 5,
  leftBrace: 25,
  rightBrace: 26,
  comma: 28,
  colon: 29,
  question: 30,
} as const;

interface Type {
  readonly kind: string;
  readonly type: string;
  readonly valueType: Type;
  unify(registry: unknown, other: Type): Type | undefined;
}
interface Operator {
  readonly name: string;
  readonly check: (checker: Checker, node: AstNode, context: unknown) => Type;
  readonly evaluate: (evaluator: Evaluator, node: AstNode, context: unknown) => unknown;
}
interface AstNode {
  readonly op: string;
  readonly args: unknown;
  end: number;
  clone(op: Operator, args: unknown): AstNode;
  setMeta<Name extends 'check' | 'evaluate'>(name: Name, value: Operator[Name]): AstNode;
}
interface Checker {
  check(node: AstNode, context: unknown): Type;
  createError(code: string, summary: string, node: AstNode): Error;
  formatType(type: Type): string;
  getType(name: string): Type;
  readonly dynType: Type;
  readonly registry: { getListType(item: Type): Type; getMapType(key: Type, value: Type): Type };
  readonly objectTypes: { has(name: string): boolean };
}
interface Evaluator {
  run(node: AstNode, context: unknown): unknown;
}
type Property = readonly [AstNode, AstNode];
interface Parser {
  readonly value: unknown;
  readonly lexer: { readonly pos: number };
  match(type: number): boolean;
  consume(type: number): number;
  parseExpression(): AstNode;
  parsePostfix(): AstNode;
  parsePrimary(): AstNode;
  parseList(): AstNode;
  parseMap(): AstNode;
  parseProperty(): Property;
}

/** Values that are left out where their optional has none. */
const optionals = new WeakSet<AstNode>();
/** Whether what is parsed next is an item of a list. */
let isItem = false;
let isTaught = false;

export function teachSyntax(): void {
  if (isTaught) return;
  isTaught = true;
  const methods = parserMethods();
  const { parseExpression, parsePostfix, parseList, parseMap, parseProperty } = methods;
  Object.assign(methods, {
    parseExpression(this: Parser): AstNode {
      const wasItem = isItem;
      isItem = false;
      const isOptional = wasItem && takes(this, token.question);
      const node = parseExpression.call(this);
      if (isOptional) optionals.add(node);
      isItem = wasItem;
      return node;
    },
    parseList(this: Parser): AstNode {
      const wasItem = isItem;
      isItem = true;
      try {
        const node = parseList.call(this);
        if (!(node.args as readonly AstNode[]).some((item) => optionals.has(item))) return node;
        return node.setMeta('check', checkList).setMeta('evaluate', evaluateList);
      } finally {
        isItem = wasItem;
      }
    },
    parseProperty(this: Parser): Property {
      const isOptional = takes(this, token.question);
      const property = parseProperty.call(this);
      if (isOptional) optionals.add(property[1]);
      return property;
    },
    parseMap(this: Parser): AstNode {
      const node = parseMap.call(this);
      if (propertiesOf(node).some(([, value]) => optionals.has(value)))
        node.setMeta('check', checkMap);
      return node.setMeta('evaluate', evaluateMap);
    },
    parsePostfix(this: Parser): AstNode {
      const node = parsePostfix.call(this);
      const name = nameOf(node);
      if (name === undefined || !this.match(token.leftBrace)) return node;
      const message = readMessage(this, node, name);
      // What follows a message is read as if the message were a primary expression.
      this.parsePrimary = () => {
        delete (this as Partial<Parser>).parsePrimary;
        return message;
      };
      return parsePostfix.call(this);
    },
  });
}

/** The library gives its parser to macros, and to nobody else. */
function parserMethods(): Parser {
  const env = new Environment();
  let found: object | undefined;
  env.registerFunction('parserOf(ast): dyn', ((call: { readonly parser: object }) => {
    found = call.parser;
    return { typeCheck: () => undefined, evaluate: () => undefined };
  }) as unknown as () => unknown);
  env.parse('parserOf(1)');
  return Object.getPrototypeOf(found) as Parser;
}

function takes(parser: Parser, type: number): boolean {
  if (!parser.match(type)) return false;
  parser.consume(type);
  return true;
}

/** `Object.spec`; undefined for what is no name. */
function nameOf({ op, args }: AstNode): string | undefined {
  if (op === 'id') return String(args);
  if (op !== '.') return undefined;
  const [left, field] = args as readonly [AstNode, string];
  const outer = nameOf(left);
  return outer === undefined ? undefined : `${outer}.${field}`;
}

type Field = readonly [name: string, value: AstNode];

function readMessage(parser: Parser, node: AstNode, name: string): AstNode {
  const fields: Field[] = [];
  parser.consume(token.leftBrace);
  while (!parser.match(token.rightBrace)) {
    const isOptional = takes(parser, token.question);
    const field = String(parser.value);
    parser.consume(token.identifier);
    parser.consume(token.colon);
    const value = parser.parseExpression();
    if (isOptional) optionals.add(value);
    fields.push([field, value]);
    if (!takes(parser, token.comma)) break;
  }
  const { pos } = parser.lexer;
  parser.consume(token.rightBrace);
  const message = node.clone(messageOperator(name), fields);
  message.end = pos;
  return message;
}

function messageOperator(name: string): Operator {
  const type = messageType(name);
  return {
    name: 'message',
    check(checker, node, context) {
      if (type === undefined || !checker.objectTypes.has(type.name))
        throw checker.createError(
          'unknown_type',
          `undeclared reference to '${name}' (in container '')`,
          node,
        );
      for (const field of node.args as readonly Field[])
        checkField(checker, type, { field, context });
      return checker.getType(type.name);
    },
    evaluate(evaluator, node, context) {
      const fields = new Map<string, unknown>();
      for (const [field, value] of node.args as readonly Field[])
        fill(evaluator, value, context, (given) => fields.set(field, given));
      return type?.make(name, fields);
    },
  };
}

function checkField(
  checker: Checker,
  { fields }: MessageType,
  { field: [name, value], context }: { readonly field: Field; readonly context: unknown },
): void {
  const declared = fields === undefined ? 'dyn' : fields[name];
  if (declared === undefined)
    throw checker.createError('unknown_message_field', `undefined field '${name}'`, value);
  const given = valueType(checker, value, context);
  if (declared !== 'dyn' && given.kind !== 'dyn' && given.type !== declared)
    throw checker.createError(
      'wrong_message_field',
      `expected type of field '${name}' is '${declared}' but provided type is '${shown(checker, given)}'`,
      value,
    );
}

/** Of what the optional holds, where it is one that may be left out. */
function valueType(checker: Checker, value: AstNode, context: unknown): Type {
  const type = checker.check(value, context);
  if (!optionals.has(value) || type.kind === 'dyn') return type;
  if (type.kind === 'optional') return type.valueType;
  throw checker.createError(
    'optional_expected',
    `expected type 'optional_type(${shown(checker, type)})' but found '${shown(checker, type)}'`,
    value,
  );
}

function shown(checker: Checker, type: Type): string {
  return celTypeName(checker.formatType(type));
}

function common(checker: Checker, types: readonly Type[]): Type {
  return types.reduce((all, type) => all.unify(checker.registry, type) ?? checker.dynType);
}

function checkList(checker: Checker, node: AstNode, context: unknown): Type {
  const types = (node.args as readonly AstNode[]).map((item) => valueType(checker, item, context));
  return checker.registry.getListType(common(checker, types));
}

function checkMap(checker: Checker, node: AstNode, context: unknown): Type {
  const properties = propertiesOf(node);
  const keys = properties.map(([key]) => checker.check(key, context));
  const values = properties.map(([, value]) => valueType(checker, value, context));
  return checker.registry.getMapType(common(checker, keys), common(checker, values));
}

function propertiesOf({ args }: AstNode): readonly Property[] {
  return args as readonly Property[];
}

function evaluateList(evaluator: Evaluator, node: AstNode, context: unknown): unknown[] {
  const list: unknown[] = [];
  for (const item of node.args as readonly AstNode[])
    fill(evaluator, item, context, (value) => list.push(value));
  return list;
}

/** The library makes objects of maps, whose keys are texts only. */
function evaluateMap(evaluator: Evaluator, node: AstNode, context: unknown): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  for (const [key, value] of propertiesOf(node)) {
    const name = evaluator.run(key, context);
    fill(evaluator, value, context, (given) => map.set(name, given));
  }
  return map;
}

/** Not at all, where nothing is there. */
function fill(
  evaluator: Evaluator,
  node: AstNode,
  context: unknown,
  put: (value: unknown) => void,
): void {
  const value = evaluator.run(node, context);
  if (!optionals.has(node)) return put(value);
  if (!(value instanceof Optional)) throw new Error('no such overload');
  if (value.hasValue()) put(value.value());
}
