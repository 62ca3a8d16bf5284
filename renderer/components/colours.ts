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

export function seriesColours(element: HTMLElement): ChartColours {
  const probe = document.createElement('span');
  // A transition, however short, would make each colour read as the one before.
  probe.style.setProperty('transition', 'none', 'important');
  element.append(probe);
  const resolve = (colour: string): string => {
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  };
  const colours = {
    lines: lineTokens.map(resolve),
    fill: resolve('color-mix(in srgb, var(--accent) 12%, transparent)'),
    grid: resolve('var(--line)'),
    text: resolve('var(--text-quiet)'),
    limit: resolve('var(--trouble)'),
  };
  probe.remove();
  return colours;
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
