// Token colours as a canvas needs them: resolved, and told again when the theme turns.

export interface ChartColours {
  readonly lines: readonly string[];
  readonly fill: string;
  readonly grid: string;
  readonly text: string;
  readonly limit: string;
}

/** Lines of copies, told apart in both themes. */
const lineTokens = [
  'var(--accent)',
  'light-dark(oklch(0.48 0.13 265), oklch(0.78 0.1 265))',
  'light-dark(oklch(0.47 0.11 60), oklch(0.8 0.1 70))',
  'light-dark(oklch(0.5 0.14 330), oklch(0.78 0.1 330))',
  'light-dark(oklch(0.45 0.1 130), oklch(0.8 0.11 130))',
  'light-dark(oklch(0.5 0.12 25), oklch(0.78 0.1 25))',
] as const;

/** A CSS colour for the copy at `index`, for texts and dots. */
export function copyColour(index: number): string {
  return lineTokens[index % lineTokens.length] ?? lineTokens[0];
}

/** Calls `read` with what makes a colour of the page's one that a canvas knows. */
function withColours<T>(element: HTMLElement, read: (resolve: Resolve) => T): T {
  const probe = document.createElement('span');
  // A transition, however short, would make each colour read as the one before.
  probe.style.setProperty('transition', 'none', 'important');
  element.append(probe);
  const colours = read((colour) => {
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return colours;
}

type Resolve = (colour: string) => string;

export function seriesColours(element: HTMLElement): ChartColours {
  return withColours(element, (resolve) => ({
    lines: lineTokens.map(resolve),
    fill: resolve('color-mix(in srgb, var(--accent) 12%, transparent)'),
    grid: resolve('var(--line)'),
    text: resolve('var(--text-quiet)'),
    limit: resolve('var(--trouble)'),
  }));
}

/** A terminal's sixteen colours, readable on `--surface-sunken` in both themes. */
const terminalTokens = {
  background: 'var(--surface-sunken)',
  foreground: 'var(--text)',
  cursor: 'var(--accent)',
  cursorAccent: 'var(--surface-sunken)',
  selectionBackground: 'light-dark(rgb(13 104 106 / 25%), rgb(98 200 193 / 30%))',
  black: 'light-dark(#1b2423, #3d4b4c)',
  red: 'light-dark(#a33526, #f2907f)',
  green: 'light-dark(#246b41, #74d29c)',
  yellow: 'light-dark(#855300, #efbb62)',
  blue: 'light-dark(#2f5db0, #8fb4f5)',
  magenta: 'light-dark(#8a3a86, #dd9fd8)',
  cyan: 'light-dark(#0d686a, #62c8c1)',
  white: 'light-dark(#58625f, #e9edec)',
  brightBlack: 'light-dark(#58625f, #a0acab)',
  brightRed: 'light-dark(#8c2415, #ffb0a2)',
  brightGreen: 'light-dark(#17532f, #9be6bb)',
  brightYellow: 'light-dark(#6b4200, #ffd591)',
  brightBlue: 'light-dark(#1f4a99, #b4cffb)',
  brightMagenta: 'light-dark(#6f276b, #efc0eb)',
  brightCyan: 'light-dark(#094f51, #9be6e0)',
  brightWhite: 'light-dark(#1b2423, #ffffff)',
} as const;

export function terminalColours(
  element: HTMLElement,
): Readonly<Record<keyof typeof terminalTokens, string>> {
  return withColours(element, (resolve) => {
    const entries = Object.entries(terminalTokens).map(([name, token]) => [name, resolve(token)]);
    return Object.fromEntries(entries) as Record<keyof typeof terminalTokens, string>;
  });
}

/** Calls `onChange` when the system or the person turns the theme; answers how to stop. */
export function watchTheme(onChange: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)');
  const observer = new MutationObserver(onChange);
  media.addEventListener('change', onChange);
  observer.observe(document.documentElement, { attributeFilter: ['data-theme'] });
  return () => {
    media.removeEventListener('change', onChange);
    observer.disconnect();
  };
}
