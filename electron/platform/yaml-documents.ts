// YAML (and JSON, which is part of it) as plain values.

/** Every document that holds something. Rejects with an Error that says where the text is wrong. */
export async function parseYamlDocuments(text: string): Promise<readonly unknown[]> {
  // Seven megabytes, which most agents never need.
  const { parseAllDocuments } = await import('yaml');
  const documents = parseAllDocuments(text);
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value: unknown = document.toJS();
    return value === null ? [] : [value];
  });
}
