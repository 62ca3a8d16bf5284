// Pure: `$(NAME)` references in environment values, commands and arguments. `$$(NAME)` stands for
// itself; a reference to nothing stays as it is.
// Source: kubernetes third_party/forked/golang/expansion/expand.go.

export function expandReferences(
  text: string,
  lookup: (name: string) => string | undefined,
): string {
  let result = '';
  let index = 0;
  while (index < text.length) {
    const dollar = text.indexOf('$', index);
    if (dollar < 0 || dollar === text.length - 1) return result + text.slice(index);
    result += text.slice(index, dollar);
    const next = text[dollar + 1];
    const close = next === '(' ? text.indexOf(')', dollar + 2) : -1;
    if (next === '$') {
      result += '$';
      index = dollar + 2;
    } else if (close > 0) {
      const name = text.slice(dollar + 2, close);
      result += lookup(name) ?? `$(${name})`;
      index = close + 1;
    } else {
      result += `$${next === '(' ? '(' : (next ?? '')}`;
      index = dollar + 2;
    }
  }
  return result;
}
