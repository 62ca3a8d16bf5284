// `sets.contains(…)`, `format.named(…)`: what such functions are members of has a type and nothing else.
import type { Environment } from '@marcbachmann/cel-js';

export function registerNamespace(env: Environment, name: string, type: string): void {
  class Namespace {
    readonly name = name;
  }
  env.registerType(type, Namespace);
  env.registerConstant(name, type, new Namespace());
}
