// YAML (and JSON, which is part of it) as plain values.
import { parseAllDocuments } from 'yaml';

/** Every document that holds something. Throws an Error that says where the text is wrong. */
export function parseYamlDocuments(text: string): readonly unknown[] {
  const documents = parseAllDocuments(text);
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value: unknown = document.toJS();
    return value === null ? [] : [value];
  });
}
